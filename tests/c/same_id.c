/* The first process of a container forks into a new container: parent and child have one process ID,
 * and yet the old handles answer FORKED in the child, and the keys of the two are different. */
#define _GNU_SOURCE
#include "story.h"

#include <sched.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>

static struct person alice;
static matrixe2ee_outbound_megolm_session *sending;

/* A child of the C library, and one that the C library knows nothing of. */
static pid_t by_fork(void) { return fork(); }
static pid_t by_clone(void) { return (pid_t)syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, NULL); }

static void wait_for(pid_t process) {
    int status;
    CHECK(process > 0 && waitpid(process, &status, 0) == process && status == 0);
}

static void create_session(void) {
    OK(matrixe2ee_outbound_megolm_session_create(alice.account, ROOM, NULL, &sending, &error));
}

static char *encrypted(void) {
    char *content;
    OK(matrixe2ee_outbound_megolm_session_encrypt(sending, "m", "{}", &content, &error));
    return content;
}

/* Takes new handles for the old ones, and sends the new identity key through the pipe. */
static void begin_anew(int pipe_end) {
    matrixe2ee_outbound_megolm_session_free(sending);
    matrixe2ee_account_free(alice.account);
    matrixe2ee_store_free(alice.store);
    matrixe2ee_string_free(alice.device_keys);
    matrixe2ee_string_free(alice.identity_key);
    alice = person_open(NULL, "@alice:example.org", "ALICE");
    create_session();
    matrixe2ee_string_free(encrypted());
    CHECK(write(pipe_end, alice.identity_key, 43) == 43);
}

static void child(int pipe_end) {
    CHECK(getpid() == 1);
    char *out;
    FAILS(FORKED, matrixe2ee_outbound_megolm_session_encrypt(sending, "m", "{}", &out, &error));
    FAILS(FORKED, matrixe2ee_account_user_id(alice.account, &out, &error));
    FAILS(FORKED, matrixe2ee_store_shut_down(alice.store, &error));
    begin_anew(pipe_end);
    _exit(0);
}

/* The container's first process. */
static void parent(pid_t (*make_child)(void)) {
    CHECK(getpid() == 1);
    alice = person_open(NULL, "@alice:example.org", "ALICE");
    create_session();
    matrixe2ee_string_free(encrypted());

    CHECK(unshare(CLONE_NEWPID) == 0);
    int ends[2];
    CHECK(pipe(ends) == 0);
    pid_t process = make_child();
    if (process == 0) child(ends[1]);
    wait_for(process);
    /* The parent goes on. */
    char *content = encrypted();
    CHECK(strstr(content, alice.device_id) != NULL);
    matrixe2ee_string_free(content);
    begin_anew(ends[1]);

    char keys[2][43];
    CHECK(read(ends[0], keys, sizeof keys) == sizeof keys);
    CHECK(memcmp(keys[0], keys[1], sizeof *keys) != 0);
    _exit(0);
}

int main(void) {
    pid_t (*const ways[])(void) = {by_fork, by_clone};
    for (size_t way = 0; way < sizeof ways / sizeof *ways; way++) {
        /* What unshares cannot make threads any more, as leak checkers do at the end: it is a child. */
        pid_t process = fork();
        if (process == 0) {
            if (unshare(CLONE_NEWPID) != 0 && unshare(CLONE_NEWUSER | CLONE_NEWPID) != 0) _exit(77);
            pid_t first = fork();
            if (first == 0) parent(ways[way]);
            wait_for(first);
            _exit(0);
        }
        int status;
        CHECK(process > 0 && waitpid(process, &status, 0) == process);
        if (WIFEXITED(status) && WEXITSTATUS(status) == 77) {
            puts("SKIPPED: two processes with one ID: making a process namespace is not allowed here");
            return 0;
        }
        CHECK(status == 0);
    }
    return 0;
}

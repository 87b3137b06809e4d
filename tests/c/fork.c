/* After fork() the old handles answer FORKED, and the child's own keys are its own. */
#include "story.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/stat.h>
#include <sys/wait.h>

static struct person alice, bob;
static matrixe2ee_olm_channel *channel;
static matrixe2ee_outbound_megolm_session *sending;
static matrixe2ee_inbound_megolm_session *receiving;
static char *path;

static void old_handles_are_refused(void) {
    char *out = (char *)1;
    uint32_t number;
    matrixe2ee_account *account;
    FAILS(FORKED, matrixe2ee_account_open(alice.store, "@c:d", "C", &account, &error));
    FAILS(FORKED, matrixe2ee_store_shut_down(alice.store, &error));
    FAILS(FORKED, matrixe2ee_account_user_id(alice.account, &out, &error));
    CHECK(out == NULL);
    FAILS(FORKED, matrixe2ee_olm_channel_session_count(channel, &number, &error));
    FAILS(FORKED, matrixe2ee_olm_channel_encrypt(channel, "a", "{}", &out, &error));
    FAILS(FORKED, matrixe2ee_outbound_megolm_session_encrypt(sending, "a", "{}", &out, &error));
    FAILS(FORKED, matrixe2ee_inbound_megolm_session_session_id(receiving, &out, &error));
}

static void free_handles(void) {
    matrixe2ee_inbound_megolm_session_free(receiving);
    matrixe2ee_outbound_megolm_session_free(sending);
    matrixe2ee_olm_channel_free(channel);
    matrixe2ee_account_free(alice.account);
    matrixe2ee_store_free(alice.store);
}

/* A child opens a store and sends the new account's identity key through the pipe. */
static void child(int pipe_end) {
    old_handles_are_refused();
    struct person own = person_open(NULL, "@own:example.org", "OWN");
    size_t length = strlen(own.identity_key);
    CHECK(write(pipe_end, own.identity_key, length) == (ssize_t)length);
    person_close(&own);
    free_handles();
    char *out;
    FAILS(STALE_HANDLE, matrixe2ee_account_user_id(alice.account, &out, &error));
    matrixe2ee_store *store;
    FAILS(STORE_IN_USE, matrixe2ee_store_open_sqlite(path, KEY, sizeof KEY, &store, &error));
    _exit(0);
}

static void key_of_a_child(char *key, size_t size) {
    int ends[2], status;
    CHECK(pipe(ends) == 0);
    pid_t process = fork();
    CHECK(process >= 0);
    if (process == 0) child(ends[1]);
    close(ends[1]);
    ssize_t length = read(ends[0], key, size - 1);
    CHECK(waitpid(process, &status, 0) == process && status == 0);
    CHECK(length == 43);
    key[length] = '\0';
    close(ends[0]);
}

/* Keeps the library busy, so that a fork meets every possible moment. */
static atomic_bool stop;

static void *busy(void *argument) {
    while (!stop) {
        matrixe2ee_account *account;
        OK(matrixe2ee_account_open(bob.store, bob.user_id, bob.device_id, &account, &error));
        matrixe2ee_account_free(account);
    }
    return argument;
}

/* The sanitizer's own allocator lock may be held at the fork, and its child then waits for it for
 * ever: such a build forks beside no threads; valgrind's does. */
#if defined(__SANITIZE_ADDRESS__)
#define ADDRESS_SANITIZER 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define ADDRESS_SANITIZER 1
#endif
#endif
#ifndef ADDRESS_SANITIZER
#define ADDRESS_SANITIZER 0
#endif

/* A child's calls never wait for a thread that was not forked. */
static void forks_beside_busy_threads(void) {
    pthread_t threads[2];
    for (int i = 0; i < 2; i++) CHECK(pthread_create(&threads[i], NULL, busy, NULL) == 0);
    for (int round = 0; round < 30; round++) {
        int status;
        pid_t process = fork();
        CHECK(process >= 0);
        if (process == 0) {
            alarm(60);
            old_handles_are_refused();
            matrixe2ee_store *store;
            OK(matrixe2ee_store_in_memory(KEY, sizeof KEY, &store, &error));
            matrixe2ee_store_free(store);
            free_handles();
            /* What the other threads had on their stacks is lost here, which is no leak of ours. */
            execl("/bin/true", "true", (char *)NULL);
            _exit(1);
        }
        CHECK(waitpid(process, &status, 0) == process && status == 0);
    }
    stop = true;
    for (int i = 0; i < 2; i++) CHECK(pthread_join(threads[i], NULL) == 0);
}

/* When the store's log was last written. */
static struct timespec last_write(void) {
    struct stat status;
    char *log = text("%s-wal", path);
    CHECK(stat(log, &status) == 0);
    free(log);
    return status.st_mtim;
}

int main(void) {
    char *folder = new_folder();
    path = text("%s/alice", folder);
    alice = person_open(path, "@alice:example.org", "ALICE");
    bob = person_open(NULL, "@bob:example.org", "BOB");
    channel = channel_to(&alice, &bob);
    OK(matrixe2ee_outbound_megolm_session_create(alice.account, ROOM, NULL, &sending, &error));
    OK(matrixe2ee_inbound_megolm_session_from_outbound_session(sending, &receiving, &error));

    /* The session has reserved message indices: they are the parent's, which gives them back. */
    char *event = say(&alice, sending, "$before", "words");
    hear(receiving, event, "words");
    free(event);
    struct timespec before = last_write();

    char one[64], other[64];
    key_of_a_child(one, sizeof one);
    key_of_a_child(other, sizeof other);
    CHECK(strcmp(one, other) != 0);
    struct person own = person_open(NULL, "@own:example.org", "OWN");
    CHECK(strcmp(one, own.identity_key) != 0 && strcmp(other, own.identity_key) != 0);
    person_close(&own);
    if (!ADDRESS_SANITIZER) forks_beside_busy_threads();

    /* The children have changed nothing here. */
    struct timespec after = last_write();
    CHECK(before.tv_sec == after.tv_sec && before.tv_nsec == after.tv_nsec);
    event = say(&alice, sending, "$e", "words");
    hear(receiving, event, "words");
    free(event);
    OK(matrixe2ee_store_shut_down(alice.store, &error));
    free_handles();
    matrixe2ee_store *store;
    matrixe2ee_account *account;
    uint32_t index;
    OK(matrixe2ee_store_open_sqlite(path, KEY, sizeof KEY, &store, &error));
    OK(matrixe2ee_account_open(store, alice.user_id, alice.device_id, &account, &error));
    OK(matrixe2ee_outbound_megolm_session_create_from_storage(account, ROOM, NULL, &sending, &error));
    OK(matrixe2ee_outbound_megolm_session_message_index(sending, &index, &error));
    CHECK(index == 2);
    matrixe2ee_outbound_megolm_session_free(sending);
    matrixe2ee_account_free(account);
    matrixe2ee_store_free(store);
    matrixe2ee_string_free(alice.device_keys);
    matrixe2ee_string_free(alice.identity_key);
    person_close(&bob);
    free(path);
    remove_folder(folder, (const char *const[]){"alice"}, 1);
    return 0;
}

/* A plugin that uses the library: it is loaded, works, is unloaded; and nothing of it is called by
 * the forks, threads and exits that follow. The argument is the library's path; a second one makes the
 * kernel look like one that cannot empty a page at a fork, where a handler of fork() does it. */
#define _GNU_SOURCE
#include "../test.h"

#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>

static const uint8_t KEY[32] = {7};
static void *library;
static int is_old_kernel, refusals;

/* What the library calls: a program's function is found before the C library's. */
int madvise(void *start, size_t length, int advice) {
    if (is_old_kernel && advice == MADV_WIPEONFORK) {
        refusals++;
        errno = EINVAL;
        return -1;
    }
    return (int)syscall(SYS_madvise, start, length, advice);
}

static int is_loaded(void) {
    char line[4096];
    FILE *maps = fopen("/proc/self/maps", "r");
    CHECK(maps != NULL);
    int found = 0;
    while (fgets(line, sizeof line, maps)) found |= strstr(line, "libmatrixe2ee") != NULL;
    fclose(maps);
    return found;
}

/* POSIX has it so: ISO C knows no way from a pointer to a function. */
#define FUNCTION(name) \
    __typeof__(&name) name##_; \
    *(void **)&name##_ = dlsym(library, #name)

/* In a thread of its own: what a thread has for itself keeps the library loaded until its end. */
static void *use(void *argument) {
    FUNCTION(matrixe2ee_store_in_memory);
    FUNCTION(matrixe2ee_account_open);
    FUNCTION(matrixe2ee_account_free);
    FUNCTION(matrixe2ee_store_free);
    matrixe2ee_store *store;
    matrixe2ee_account *account;
    CHECK(matrixe2ee_store_in_memory_(KEY, sizeof KEY, &store, NULL) == 0);
    CHECK(matrixe2ee_account_open_(store, "@a:b", "A", &account, NULL) == 0);
    pid_t child = fork();
    int status;
    if (child == 0) {
        matrixe2ee_account *other;
        _exit(matrixe2ee_account_open_(store, "@a:b", "A", &other, NULL) != MATRIXE2EE_STATUS_FORKED);
    }
    CHECK(child > 0 && waitpid(child, &status, 0) == child && status == 0);
    matrixe2ee_account_free_(account);
    matrixe2ee_store_free_(store);
    return argument;
}

int main(int count, char **arguments) {
    CHECK(count == 2 || count == 3);
    is_old_kernel = count == 3;
    for (int round = 0; round < 3; round++) {
        pthread_t thread;
        library = dlopen(arguments[1], RTLD_NOW | RTLD_LOCAL);
        CHECK(library != NULL && is_loaded());
        CHECK(pthread_create(&thread, NULL, use, NULL) == 0 && pthread_join(thread, NULL) == 0);
        CHECK(dlclose(library) == 0 && !is_loaded());
        int status;
        pid_t child = fork();
        if (child == 0) _exit(0);
        CHECK(child > 0 && waitpid(child, &status, 0) == child && status == 0);
    }
    CHECK(refusals == (is_old_kernel ? 3 : 0));
    return 0;
}

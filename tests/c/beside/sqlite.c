/* The program's own SQLite, of an old version: it must not be what the library calls. */
#include <stdlib.h>

int sqlite3_open_v2(const char *path, void **database, int flags, const char *vfs) {
    (void)path, (void)database, (void)flags, (void)vfs;
    abort();
}
int sqlite3_initialize(void) { abort(); }
int sqlite3_prepare_v3(void *database, const char *sql, int length, unsigned flags, void **statement,
                       const char **rest) {
    (void)database, (void)sql, (void)length, (void)flags, (void)statement, (void)rest;
    abort();
}
int sqlite3_step(void *statement) { (void)statement; abort(); }
int sqlite3_libversion_number(void) { return 3000000; }

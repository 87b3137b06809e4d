/* A program with an SQLite of its own: it gets that one, and the library the one inside it. */
#include "../story.h"

int sqlite3_libversion_number(void);

int main(void) {
    char *folder = new_folder();
    char *path = text("%s/alice", folder);
    for (int round = 0; round < 2; round++) {
        struct person alice = person_open(path, "@alice:example.org", "ALICE");
        person_close(&alice);
        CHECK(sqlite3_libversion_number() == 3000000);
    }
    free(path);
    remove_folder(folder, (const char *const[]){"alice"}, 1);
    return 0;
}

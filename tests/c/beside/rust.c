/* A program with two libraries in Rust: both work, with their panics, too. */
#include "../story.h"

uint32_t other_work(uint32_t number);

int main(void) {
    CHECK(other_work(12) == 2 && other_work(3) == 99);
    struct person alice = person_open(NULL, "@alice:example.org", "ALICE");
    CHECK(strlen(alice.identity_key) == 43);
    person_close(&alice);
    CHECK(other_work(123) == 3 && other_work(3) == 99);
    return 0;
}

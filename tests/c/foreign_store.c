/* Stores of the program's own, in memory and in a file: they keep the rules, carry the whole story,
 * and are destroyed once. What a bad one does is in misbehaving_store.c. */
#include "own_store.h"
#include "store_contract.h"
#include "story.h"

#include <sys/wait.h>

static matrixe2ee_store *open_store(struct place *place) {
    matrixe2ee_store_backend backend = own_open(place);
    matrixe2ee_store *store;
    OK(matrixe2ee_store_foreign(&backend, KEY, sizeof KEY, &store, &error));
    return store;
}

static void both_stores_keep_the_contract(void) {
    char *folder = new_folder();
    char *path = text("%s/records", folder);
    struct place memory = NEW_PLACE(NULL), file = NEW_PLACE(path);
    CHECK(store_contract(own_open, &memory) == 0);
    CHECK(store_contract(own_open, &file) == 0);
    own_free(&memory.rows);
    free(path);
    remove_folder(folder, (const char *const[]){"records"}, 1);
}

/* The suite notices a store that does not keep them. */
static int32_t forgets_deletions(void *userdata, const matrixe2ee_store_change *changes, size_t count) {
    for (size_t i = 0; i < count; i++) {
        int32_t status = changes[i].value ? own_commit(userdata, &changes[i], 1) : 0;
        if (status != 0) return status;
    }
    return 0;
}

static matrixe2ee_store_backend open_forgetful(void *context) {
    matrixe2ee_store_backend backend = own_open(context);
    backend.commit = forgets_deletions;
    return backend;
}

static void a_store_that_forgets_deletions_breaks_it(void) {
    struct place place = NEW_PLACE(NULL);
    CHECK(freopen("/dev/null", "w", stderr) != NULL);
    CHECK(store_contract(open_forgetful, &place) == 5);
    own_free(&place.rows);
}

static struct person person_on(struct place *place, const char *user_id, const char *device_id) {
    struct person person = {user_id, device_id, open_store(place), NULL, NULL, NULL};
    OK(matrixe2ee_account_open(person.store, user_id, device_id, &person.account, &error));
    OK(matrixe2ee_account_device_keys(person.account, &person.device_keys, &error));
    OK(matrixe2ee_account_identity_key(person.account, &person.identity_key, &error));
    return person;
}

/* Alice on a store of her own, Bob in memory; then again from what the store has kept. */
static void the_story(struct place *place) {
    struct person alice = person_on(place, "@alice:example.org", "ALICE");
    struct person bob = person_open(NULL, "@bob:example.org", "BOB");
    matrixe2ee_olm_channel *to_bob = channel_to(&alice, &bob), *again, *from_alice;
    matrixe2ee_outbound_megolm_session *session;
    matrixe2ee_inbound_megolm_session *own;
    char *content, *event, *keys = alice.device_keys;
    OK(matrixe2ee_olm_channel_encrypt(to_bob, "m.dummy", "{}", &content, &error));
    from_alice = channel_from(&bob, &alice, content);
    matrixe2ee_string_free(content);
    OK(matrixe2ee_outbound_megolm_session_create(alice.account, ROOM, NULL, &session, &error));
    OK(matrixe2ee_inbound_megolm_session_from_outbound_session(session, &own, &error));
    char *first = say(&alice, session, "$1", "before");
    hear(own, first, "before");

    alice.device_keys = NULL;
    OK(matrixe2ee_store_shut_down(alice.store, &error));
    CHECK(place->destroyed == 1);
    FAILS(STORE_CLOSED, matrixe2ee_olm_channel_encrypt(to_bob, "m.dummy", "{}", &content, &error));
    matrixe2ee_olm_channel_free(to_bob);
    matrixe2ee_outbound_megolm_session_free(session);
    matrixe2ee_inbound_megolm_session_free(own);
    person_close(&alice);

    alice = person_on(place, "@alice:example.org", "ALICE");
    CHECK(strcmp(keys, alice.device_keys) == 0);
    OK(matrixe2ee_olm_channel_create_from_storage(alice.account, bob.user_id, bob.identity_key, &again, &error));
    OK(matrixe2ee_olm_channel_encrypt(again, "m.dummy", "{}", &content, &error));
    OK(matrixe2ee_olm_channel_decrypt(from_alice, content, &event, &error));
    OK(matrixe2ee_outbound_megolm_session_create_from_storage(alice.account, ROOM, NULL, &session, &error));
    char *session_id;
    OK(matrixe2ee_outbound_megolm_session_session_id(session, &session_id, &error));
    OK(matrixe2ee_inbound_megolm_session_from_storage(alice.account, ROOM, session_id, NULL, &own, &error));
    char *second = say(&alice, session, "$2", "after");
    hear(own, first, "before");
    hear(own, second, "after");

    /* The last handle, here a session, lets go of the store. */
    matrixe2ee_account_free(alice.account);
    matrixe2ee_store_free(alice.store);
    matrixe2ee_outbound_megolm_session_free(session);
    matrixe2ee_olm_channel_free(again);
    CHECK(place->destroyed == 1);
    matrixe2ee_inbound_megolm_session_free(own);
    CHECK(place->destroyed == 2);
    matrixe2ee_olm_channel_free(from_alice);
    person_close(&bob);
    matrixe2ee_string_free(alice.device_keys);
    matrixe2ee_string_free(alice.identity_key);
    matrixe2ee_string_free(keys);
    matrixe2ee_string_free(content);
    matrixe2ee_string_free(event);
    matrixe2ee_string_free(session_id);
    free(first);
    free(second);
}

/* The size of the first version's table, up to its last function; it never changes. */
#define FIRST_SIZE (offsetof(matrixe2ee_store_backend, commit) + sizeof(void *))
_Static_assert(FIRST_SIZE == 6 * sizeof(void *), "the first version's table");

static void later_function(void) { CHECK(0); }

/* A refused table is not destroyed; an accepted one is, whatever happens then. */
static void tables(void) {
    struct place place = NEW_PLACE(NULL);
    matrixe2ee_store_backend good = own_open(&place), bad = good;
    matrixe2ee_store *store = (matrixe2ee_store *)1;
    const size_t sizes[] = {0, FIRST_SIZE - 8, FIRST_SIZE - 1, FIRST_SIZE + 1, SIZE_MAX};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        bad.struct_size = sizes[i];
        FAILS(INVALID_LENGTH, matrixe2ee_store_foreign(&bad, KEY, sizeof KEY, &store, &error));
        CHECK(store == NULL);
    }
    bad = good, bad.get = NULL;
    FAILS(NULL_POINTER, matrixe2ee_store_foreign(&bad, KEY, sizeof KEY, &store, &error));
    bad = good, bad.scan = NULL;
    FAILS(NULL_POINTER, matrixe2ee_store_foreign(&bad, KEY, sizeof KEY, &store, &error));
    bad = good, bad.commit = NULL;
    FAILS(NULL_POINTER, matrixe2ee_store_foreign(&bad, KEY, sizeof KEY, &store, &error));
    FAILS(NULL_POINTER, matrixe2ee_store_foreign(NULL, KEY, sizeof KEY, &store, &error));
    FAILS(NULL_POINTER, matrixe2ee_store_foreign(&good, KEY, sizeof KEY, NULL, &error));
    CHECK(place.destroyed == 0);
    FAILS(NULL_POINTER, matrixe2ee_store_foreign(&good, NULL, 32, &store, &error));
    CHECK(place.destroyed == 1);
    FAILS(INVALID_LENGTH, matrixe2ee_store_foreign(&good, KEY, 31, &store, &error));
    CHECK(place.destroyed == 2 && place.rows.count == 0);

    static const uint8_t other_key[32] = {9};
    matrixe2ee_store_free(open_store(&place));
    CHECK(place.destroyed == 3 && place.rows.count > 0);
    FAILS(WRONG_KEY, matrixe2ee_store_foreign(&good, other_key, sizeof other_key, &store, &error));
    CHECK(place.destroyed == 4);
    /* A program of the first version has a table of this size, and no byte more. */
    matrixe2ee_store_backend *first = malloc(FIRST_SIZE);
    CHECK(first != NULL);
    memcpy(first, &good, FIRST_SIZE);
    first->struct_size = FIRST_SIZE;
    OK(matrixe2ee_store_foreign(first, KEY, sizeof KEY, &store, &error));
    free(first);
    matrixe2ee_store_free(store);
    CHECK(place.destroyed == 5);
    /* One of a later version has more, which is not called; without destroy, nothing is called. */
    struct { matrixe2ee_store_backend table; void (*more[8])(void); } larger = {good, {later_function}};
    larger.table.struct_size = sizeof larger;
    larger.table.destroy = NULL;
    OK(matrixe2ee_store_foreign(&larger.table, KEY, sizeof KEY, &store, &error));
    matrixe2ee_store_free(store);
    CHECK(place.destroyed == 5);
    own_free(&place.rows);
}

/* The child leaves its parent's store alone. */
static void forks(void) {
    struct place place = NEW_PLACE(NULL);
    matrixe2ee_store *store = open_store(&place);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        FAILS(FORKED, matrixe2ee_store_shut_down(store, &error));
        matrixe2ee_store_free(store);
        _exit(place.destroyed);
    }
    int status;
    CHECK(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0);
    matrixe2ee_store_free(store);
    CHECK(place.destroyed == 1);
    own_free(&place.rows);
}

int main(void) {
    char *folder = new_folder();
    char *path = text("%s/records", folder);
    struct place memory = NEW_PLACE(NULL), file = NEW_PLACE(path);
    both_stores_keep_the_contract();
    the_story(&memory);
    the_story(&file);
    tables();
    forks();
    own_free(&memory.rows);
    free(path);
    remove_folder(folder, (const char *const[]){"records"}, 1);
    a_store_that_forgets_deletions_breaks_it();
    return 0;
}

/* What a program may do wrong is an error code. (For fork() see fork.c.) */
#include "story.h"

#include <time.h>

static struct person alice, bob;
static matrixe2ee_olm_channel *channel;
static matrixe2ee_outbound_megolm_session *sending;
static matrixe2ee_inbound_megolm_session *receiving;

/* One call on every kind of handle. */
#define EVERY_KIND(name, store, account, channel, sending, receiving) \
    do { \
        char *out = (char *)1; \
        uint32_t sessions = 1; \
        matrixe2ee_account *opened = (matrixe2ee_account *)1; \
        FAILS(name, matrixe2ee_account_open(store, "@c:d", "C", &opened, &error)); \
        CHECK(opened == NULL); \
        FAILS(name, matrixe2ee_account_user_id(account, &out, &error)); \
        CHECK(out == NULL); \
        FAILS(name, matrixe2ee_olm_channel_session_count(channel, &sessions, &error)); \
        CHECK(sessions == 0); \
        FAILS(name, matrixe2ee_outbound_megolm_session_encrypt(sending, "a", "{}", &out, &error)); \
        FAILS(name, matrixe2ee_inbound_megolm_session_session_id(receiving, &out, &error)); \
    } while (0)

static void open_everything(void) {
    alice = person_open(NULL, "@alice:example.org", "ALICE");
    bob = person_open(NULL, "@bob:example.org", "BOB");
    channel = channel_to(&alice, &bob);
    OK(matrixe2ee_outbound_megolm_session_create(alice.account, ROOM, NULL, &sending, &error));
    OK(matrixe2ee_inbound_megolm_session_from_outbound_session(sending, &receiving, &error));
}

static void close_everything(void) {
    matrixe2ee_inbound_megolm_session_free(receiving);
    matrixe2ee_outbound_megolm_session_free(sending);
    matrixe2ee_olm_channel_free(channel);
    person_close(&alice);
    person_close(&bob);
}

static void stale_handles(void) {
    open_everything();
    close_everything();
    EVERY_KIND(STALE_HANDLE, alice.store, alice.account, channel, sending, receiving);
    /* Freed twice, while other objects have taken the places. */
    matrixe2ee_store *store = alice.store;
    matrixe2ee_account *account = alice.account;
    open_everything();
    matrixe2ee_store_free(store);
    matrixe2ee_account_free(account);
    OK(matrixe2ee_olm_channel_erase(channel, &error));
    uint32_t count;
    FAILS(NOT_FOUND, matrixe2ee_olm_channel_session_count(channel, &count, &error));
    close_everything();
}

/* The C compiler keeps the kinds apart; a cast does not get past the library. */
static void wrong_kinds(void) {
    EVERY_KIND(WRONG_HANDLE, (matrixe2ee_store *)alice.account, (matrixe2ee_account *)alice.store,
               (matrixe2ee_olm_channel *)sending, (matrixe2ee_outbound_megolm_session *)receiving,
               (matrixe2ee_inbound_megolm_session *)channel);
    matrixe2ee_store_free((matrixe2ee_store *)alice.account);
    matrixe2ee_account_free((matrixe2ee_account *)channel);
    matrixe2ee_olm_channel_free((matrixe2ee_olm_channel *)alice.store);
    matrixe2ee_outbound_megolm_session_free((matrixe2ee_outbound_megolm_session *)receiving);
    matrixe2ee_inbound_megolm_session_free((matrixe2ee_inbound_megolm_session *)sending);
}

static void made_up(uintptr_t number) {
    EVERY_KIND(STALE_HANDLE, (matrixe2ee_store *)number, (matrixe2ee_account *)number,
               (matrixe2ee_olm_channel *)number, (matrixe2ee_outbound_megolm_session *)number,
               (matrixe2ee_inbound_megolm_session *)number);
    matrixe2ee_store_free((matrixe2ee_store *)number);
    matrixe2ee_account_free((matrixe2ee_account *)number);
    matrixe2ee_olm_channel_free((matrixe2ee_olm_channel *)number);
    matrixe2ee_outbound_megolm_session_free((matrixe2ee_outbound_megolm_session *)number);
    matrixe2ee_inbound_megolm_session_free((matrixe2ee_inbound_megolm_session *)number);
}

static void made_up_handles(void) {
    int local = 0;
    made_up(1);
    made_up(UINTPTR_MAX);
    made_up((uintptr_t)&local);
    made_up((uintptr_t)stdout);
    for (int bit = 0; bit < 64; bit++) made_up((uintptr_t)alice.account ^ (uintptr_t)1 << bit);
    uintptr_t random = 88172645463325252;
    for (int round = 0; round < 2000; round++) {
        random ^= random << 13, random ^= random >> 7, random ^= random << 17;
        made_up((uintptr_t)0xe2ee << 48 | random >> 16);
    }
}

static void bad_arguments(void) {
    const char *not_utf8 = "\xff\xfe";
    char *out = (char *)1;
    matrixe2ee_account *account;
    matrixe2ee_store *store = (matrixe2ee_store *)1;
    FAILS(INVALID_UTF8, matrixe2ee_account_open(alice.store, not_utf8, "C", &account, &error));
    FAILS(INVALID_UTF8,
          matrixe2ee_account_list_sessions(alice.account, not_utf8, NULL, -1, &out, &error));
    CHECK(out == NULL);
    FAILS(INVALID_UTF8,
          matrixe2ee_account_list_sessions(alice.account, NULL, not_utf8, -1, &out, &error));
    FAILS(INVALID_UTF8, matrixe2ee_account_list_channels(alice.account, not_utf8, -1, &out, &error));
    static const int64_t no_limits[] = {0, -2, 10001, INT64_MAX, INT64_MIN};
    for (size_t at = 0; at < sizeof no_limits / sizeof *no_limits; at++) {
        FAILS(INVALID_FIELD, matrixe2ee_account_list_sessions(alice.account, NULL, NULL,
                                                              no_limits[at], &out, &error));
        FAILS(INVALID_FIELD, matrixe2ee_account_list_channels(alice.account, NULL, no_limits[at],
                                                              &out, &error));
    }
    FAILS(INVALID_JSON, matrixe2ee_account_sign_json(alice.account, "{", &out, &error));
    FAILS(INVALID_FIELD, matrixe2ee_account_open(alice.store, "nobody", "C", &account, &error));
    FAILS(INVALID_LENGTH, matrixe2ee_store_in_memory(NULL, 0, &store, &error));
    CHECK(store == NULL);
    FAILS(INVALID_LENGTH, matrixe2ee_store_in_memory(KEY, 31, &store, &error));
    FAILS(INVALID_LENGTH, matrixe2ee_store_in_memory(KEY, SIZE_MAX, &store, &error));
    FAILS(INVALID_LENGTH, matrixe2ee_account_from_vodozemac_pickle(alice.store, "@c:d", "C", "p", KEY, 5,
                                                                   &account, &error));
    FAILS(INVALID_FIELD, matrixe2ee_inbound_megolm_session_export_at(receiving, -2, &out, &error));
    FAILS(INVALID_FIELD,
          matrixe2ee_inbound_megolm_session_export_at(receiving, (int64_t)1 << 32, &out, &error));
    FAILS(INVALID_FIELD, matrixe2ee_keys_claim_request("{}", -2, &out, &error));
    /* The error object is optional. */
    CHECK(matrixe2ee_canonical_json("[1", &out, NULL) == MATRIXE2EE_STATUS_INVALID_JSON);
    CHECK(strcmp(matrixe2ee_status_name(MATRIXE2EE_STATUS_REPLAY), "REPLAY") == 0);
    CHECK(strcmp(matrixe2ee_status_name(12345), "UNKNOWN") == 0);
}

static void error_objects(void) {
    matrixe2ee_error *error = NULL;
    char *out;
    char *event = say(&alice, sending, "$e", "words");
    char *exported;
    matrixe2ee_inbound_megolm_session *later;
    OK(matrixe2ee_inbound_megolm_session_export_at(receiving, 1, &exported, &error));
    OK(matrixe2ee_account_open(bob.store, "@bob:example.org", "BOB", &bob.account, &error));
    OK(matrixe2ee_inbound_megolm_session_from_export(bob.account, exported, NULL, &later, &error));
    matrixe2ee_status status = matrixe2ee_inbound_megolm_session_decrypt(later, event, &out, &error);
    CHECK(status == MATRIXE2EE_STATUS_UNKNOWN_INDEX && matrixe2ee_error_code(error) == status);
    CHECK(strstr(matrixe2ee_error_json(error), "\"name\":\"UNKNOWN_INDEX\""));
    CHECK(strstr(matrixe2ee_error_json(error), "\"first_known\":1,\"got\":0"));
    CHECK(strlen(matrixe2ee_error_message(error)) > 0);
    matrixe2ee_error_free(error);
    /* Success overwrites the pointer with NULL. */
    CHECK(matrixe2ee_canonical_json("{}", &out, &error) == MATRIXE2EE_STATUS_OK && error == NULL);
    out[1] = '\0'; /* A text may be shortened, and is released whole. */
    matrixe2ee_string_free(out);
    matrixe2ee_string_free(exported);
    matrixe2ee_inbound_megolm_session_free(later);
    free(event);
}

struct clock_state {
    int64_t answer;
    int calls, destroyed;
    const matrixe2ee_account *account; /* used inside the callback, if not NULL */
    matrixe2ee_inbound_megolm_session *to_free;
};

static int64_t clock_now(void *userdata) {
    struct clock_state *state = userdata;
    char *out;
    state->calls++;
    if (state->account) FAILS(BUSY, matrixe2ee_account_user_id(state->account, &out, &error));
    matrixe2ee_inbound_megolm_session_free(state->to_free);
    return state->answer;
}

static void clock_destroy(void *userdata) {
    ((struct clock_state *)userdata)->destroyed++;
}

/* A call that needs the time. */
static matrixe2ee_status tell_time(matrixe2ee_error **err) {
    char *out;
    matrixe2ee_status status = matrixe2ee_outbound_megolm_session_encrypt(sending, "a", "{}", &out, err);
    matrixe2ee_string_free(out);
    return status;
}

static void later_function(void) { CHECK(0); }

static void clocks(void) {
    int64_t now = ((int64_t)time(NULL) + 1) * 1000;
    struct clock_state first = {now, 0, 0, alice.account, NULL}, second = first, third = first;
    matrixe2ee_clock clock = {sizeof clock, &first, clock_destroy, clock_now};
    OK(matrixe2ee_inbound_megolm_session_from_outbound_session(sending, &first.to_free, &error));
    OK(matrixe2ee_store_set_clock(alice.store, &clock, &error));
    OK(tell_time(&error));
    CHECK(first.calls > 0 && first.destroyed == 0);
    char *out;
    FAILS(STALE_HANDLE, matrixe2ee_inbound_megolm_session_session_id(first.to_free, &out, &error));

    /* A clock of a later version has more functions, which this one does not call. */
    struct { matrixe2ee_clock table; void (*more[8])(void); } larger = {clock, {later_function}};
    larger.table.struct_size = sizeof larger;
    larger.table.userdata = &second;
    OK(matrixe2ee_store_set_clock(alice.store, &larger.table, &error));
    CHECK(first.destroyed == 1 && second.destroyed == 0);
    second.answer = -1;
    FAILS(CLOCK_FAILED, tell_time(&error));
    second.answer = now;
    OK(tell_time(&error));

    /* Refused tables are not destroyed; accepted ones are, whatever happens then. */
    clock.userdata = &third;
    /* The first version's size, up to its last function, never changes. */
    const size_t first_size = offsetof(matrixe2ee_clock, now_ms) + sizeof(void *);
    CHECK(first_size == 4 * sizeof(void *));
    const size_t sizes[] = {0, first_size - 8, first_size - 1, first_size + 1, SIZE_MAX};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        clock.struct_size = sizes[i];
        FAILS(INVALID_LENGTH, matrixe2ee_store_set_clock(alice.store, &clock, &error));
    }
    clock.struct_size = sizeof clock;
    clock.now_ms = NULL;
    FAILS(NULL_POINTER, matrixe2ee_store_set_clock(alice.store, &clock, &error));
    CHECK(third.destroyed == 0);
    clock.now_ms = clock_now;
    FAILS(WRONG_HANDLE, matrixe2ee_store_set_clock((matrixe2ee_store *)alice.account, &clock, &error));
    CHECK(third.destroyed == 1);
    FAILS(NULL_POINTER, matrixe2ee_store_set_clock(NULL, &clock, &error));
    CHECK(third.destroyed == 2);

    close_everything();
    CHECK(first.destroyed == 1 && second.destroyed == 1 && third.calls == 0);
}

static void after_shut_down(void) {
    struct clock_state state = {0, 0, 0, NULL, NULL};
    matrixe2ee_clock clock = {sizeof clock, &state, clock_destroy, clock_now};
    OK(matrixe2ee_store_shut_down(alice.store, &error));
    EVERY_KIND(STORE_CLOSED, alice.store, alice.account, channel, sending, receiving);
    FAILS(STORE_CLOSED, matrixe2ee_store_set_clock(alice.store, &clock, &error));
    CHECK(state.destroyed == 1);
    OK(matrixe2ee_store_shut_down(alice.store, &error));
}

static void store_files(void) {
    char *folder = new_folder();
    char *path = text("%s/store", folder);
    static const uint8_t other_key[32] = {9};
    matrixe2ee_store *store, *second;
    matrixe2ee_account *account;
    char *user_id;
    OK(matrixe2ee_store_open_sqlite(path, KEY, sizeof KEY, &store, &error));
    FAILS(STORE_IN_USE, matrixe2ee_store_open_sqlite(path, KEY, sizeof KEY, &second, &error));
    FAILS(NOT_FOUND, matrixe2ee_account_open_existing(store, "@a:b", "A", &account, &error));
    CHECK(account == NULL);
    OK(matrixe2ee_account_open(store, "@a:b", "A", &account, &error));
    matrixe2ee_account_free(account);
    OK(matrixe2ee_account_open_existing(store, "@a:b", "A", &account, &error));
    /* An account keeps its store open; the last handle closes it. */
    matrixe2ee_store_free(store);
    OK(matrixe2ee_account_user_id(account, &user_id, &error));
    FAILS(STORE_IN_USE, matrixe2ee_store_open_sqlite(path, KEY, sizeof KEY, &second, &error));
    matrixe2ee_account_free(account);
    FAILS(WRONG_KEY, matrixe2ee_store_open_sqlite(path, other_key, sizeof other_key, &second, &error));
    OK(matrixe2ee_store_open_sqlite(path, KEY, sizeof KEY, &second, &error));
    matrixe2ee_store_free(second);
    FAILS(STORE_IO, matrixe2ee_store_open_sqlite("/nonexistent/store", KEY, sizeof KEY, &second, &error));
    matrixe2ee_string_free(user_id);
    free(path);
    remove_folder(folder, (const char *const[]){"store"}, 1);
}

int main(void) {
    CHECK(matrixe2ee_abi_version() == MATRIXE2EE_ABI_VERSION);
    stale_handles();
    open_everything();
    wrong_kinds();
    made_up_handles();
    bad_arguments();
    after_shut_down();
    close_everything();
    open_everything();
    matrixe2ee_account_free(bob.account);
    error_objects();
    clocks();
    store_files();

    uint8_t secret[4] = {1, 2, 3, 4};
    matrixe2ee_wipe(secret, sizeof secret);
    CHECK(memcmp(secret, "\0\0\0\0", 4) == 0);
    return 0;
}

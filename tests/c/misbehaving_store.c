/* A store of the program's own that does everything wrong that a C function can: the library answers
 * with an error, never crashes, and uses no key twice. Bob, on a store of his own, is the judge: a
 * message whose key was used before does not decrypt. */
#include "own_store.h"
#include "story.h"

#include <stdatomic.h>

enum mischief {
    NONE, FAIL_BEFORE, FAIL_AFTER,
    TWO_RECORDS, OTHER_KEY, EMPTY_KEY, LONG_KEY, NULL_KEY, NULL_VALUE, ENDLESS_VALUE, /* in get */
    REVERSED, REPEATED, FROM_THE_START, BEYOND_LIMIT,                                 /* in scan */
    SHORT_VALUE, NO_VALUE, ALTERED_VALUE, EXCHANGED_VALUES,                           /* in both */
    CALL_BACK, LATE_SINK, SINK_IN_THREAD
};

struct bad {
    struct place *place;
    enum mischief mischief;
    int calls, at, sticky; /* which call goes wrong, and whether all after it do */
    int every;             /* or every so manieth */
    matrixe2ee_store *store;
    matrixe2ee_account *account;
    matrixe2ee_outbound_megolm_session *to_free;
    matrixe2ee_emit emit; /* of the last call */
    void *sink;
    int refused; /* answers of emit that were not 0 */
    pthread_mutex_t lock;
};

static int goes_wrong(struct bad *bad) {
    pthread_mutex_lock(&bad->lock);
    int call = bad->calls++;
    pthread_mutex_unlock(&bad->lock);
    if (bad->mischief == NONE) return 0;
    return bad->every ? call % bad->every == 0 : call == bad->at || (bad->sticky && call > bad->at);
}

/* The library from inside a callback. */
static void call_back(struct bad *bad) {
    char *out;
    matrixe2ee_store *store;
    struct place place = NEW_PLACE(NULL);
    matrixe2ee_store_backend backend = own_open(&place);
    FAILS(BUSY, matrixe2ee_account_device_keys(bad->account, &out, &error));
    FAILS(BUSY, matrixe2ee_store_shut_down(bad->store, &error));
    FAILS(BUSY, matrixe2ee_store_foreign(&backend, KEY, sizeof KEY, &store, &error));
    CHECK(place.destroyed == 1 && place.rows.count == 0);
    matrixe2ee_outbound_megolm_session_free(bad->to_free);
}

static void *emit_in_thread(void *argument) {
    struct bad *bad = argument;
    uint8_t byte = 1;
    bad->refused += bad->emit(bad->sink, &byte, 1, &byte, 1) != 0;
    return NULL;
}

/* Hands one record on, changed. A refusal is not passed on: the library must remember it. */
static void emit_changed(struct bad *bad, matrixe2ee_emit emit, void *sink, const struct row *row,
                         const struct row *other) {
    uint8_t *value = own_copy(row->value, row->value_len);
    uint8_t key[256] = {0};
    size_t key_len = row->key_len, value_len = row->value_len;
    memcpy(key, row->key, key_len);
    const uint8_t *key_pointer = key, *value_pointer = value;
    switch (bad->mischief) {
    case OTHER_KEY: key[0] ^= 1; break;
    case EMPTY_KEY: key_len = 0; break;
    case LONG_KEY: key_len = 256; break;
    case NULL_KEY: key_pointer = NULL; break;
    case NULL_VALUE: value_pointer = NULL; break;
    case ENDLESS_VALUE: value_len = SIZE_MAX; break;
    case SHORT_VALUE: value_len--; break;
    case NO_VALUE: value_pointer = NULL, value_len = 0; break;
    case ALTERED_VALUE: value[value_len / 2] ^= 1; break;
    case EXCHANGED_VALUES: value_pointer = other->value, value_len = other->value_len; break;
    default: break;
    }
    bad->refused += emit(sink, key_pointer, key_len, value_pointer, value_len) != 0;
    if (bad->mischief == TWO_RECORDS) {
        bad->refused += emit(sink, key_pointer, key_len, value_pointer, value_len) != 0;
    }
    free(value);
}

/* What happens in get and scan before anything is emitted. */
static void before(struct bad *bad, matrixe2ee_emit emit, void *sink) {
    pthread_t thread;
    if (bad->mischief == CALL_BACK) call_back(bad);
    if (bad->mischief != LATE_SINK && bad->mischief != SINK_IN_THREAD) return;
    if (bad->mischief == LATE_SINK && bad->emit) emit_in_thread(bad); /* the sink of the call before */
    bad->emit = emit;
    bad->sink = sink;
    if (bad->mischief == SINK_IN_THREAD) {
        CHECK(pthread_create(&thread, NULL, emit_in_thread, bad) == 0);
        CHECK(pthread_join(thread, NULL) == 0);
    }
}

static int32_t bad_get(void *userdata, const char *collection, const uint8_t *key, size_t key_len,
                       matrixe2ee_emit emit, void *sink) {
    struct bad *bad = userdata;
    if (!goes_wrong(bad)) return own_get(bad->place, collection, key, key_len, emit, sink);
    if (bad->mischief == FAIL_BEFORE) return 7;
    before(bad, emit, sink);
    pthread_mutex_lock(&bad->place->lock);
    const struct rows *rows = &bad->place->rows;
    size_t at = own_find(rows, collection, key, key_len);
    if (own_is(rows, at, collection, key, key_len)) {
        emit_changed(bad, emit, sink, &rows->at[at], &rows->at[at ? at - 1 : at + 1]);
    }
    pthread_mutex_unlock(&bad->place->lock);
    return bad->mischief == FAIL_AFTER ? 7 : 0;
}

static int32_t bad_scan(void *userdata, const char *collection, const uint8_t *after, size_t after_len,
                        uint32_t limit, matrixe2ee_emit emit, void *sink) {
    struct bad *bad = userdata;
    const uint8_t none = 0;
    if (!goes_wrong(bad)) return own_scan(bad->place, collection, after, after_len, limit, emit, sink);
    if (bad->mischief == FAIL_BEFORE) return 7;
    before(bad, emit, sink);
    if (bad->mischief == FROM_THE_START) after_len = 0;
    pthread_mutex_lock(&bad->place->lock);
    const struct rows *rows = &bad->place->rows;
    size_t first = own_find(rows, collection, after ? after : &none, after_len);
    if (after_len && own_is(rows, first, collection, after, after_len)) first++;
    size_t end = first;
    while (end < rows->count && strcmp(rows->at[end].collection, collection) == 0 &&
           (end - first < limit || bad->mischief == BEYOND_LIMIT)) end++;
    for (size_t i = 0; i < end - first; i++) {
        size_t at = bad->mischief == REVERSED ? end - 1 - i : first + i;
        emit_changed(bad, emit, sink, &rows->at[at], &rows->at[at > first ? at - 1 : at + 1]);
        if (bad->mischief == REPEATED && i == 0) emit_changed(bad, emit, sink, &rows->at[at], &rows->at[at]);
    }
    pthread_mutex_unlock(&bad->place->lock);
    return bad->mischief == FAIL_AFTER ? 7 : 0;
}

static int32_t bad_commit(void *userdata, const matrixe2ee_store_change *changes, size_t count) {
    struct bad *bad = userdata;
    int wrong = goes_wrong(bad);
    if (wrong && bad->mischief == FAIL_BEFORE) return 7;
    if (wrong && bad->mischief == CALL_BACK) call_back(bad);
    int32_t status = own_commit(bad->place, changes, count);
    return wrong && bad->mischief == FAIL_AFTER ? 7 : status;
}

static matrixe2ee_store_backend bad_open(struct bad *bad) {
    return (matrixe2ee_store_backend){sizeof(matrixe2ee_store_backend), bad, NULL, bad_get, bad_scan, bad_commit};
}

/* Alice on the bad store and Bob on a good one, with a channel and a room between them. */
static struct bad bad;
static struct place place;
static struct person bob;
static matrixe2ee_olm_channel *to_bob, *from_alice;
static matrixe2ee_outbound_megolm_session *sending;
static matrixe2ee_inbound_megolm_session *receiving;
static char *plain;

static matrixe2ee_status open_handles(matrixe2ee_error **err) {
    matrixe2ee_store_backend backend = bad_open(&bad);
    matrixe2ee_status status = matrixe2ee_store_foreign(&backend, KEY, sizeof KEY, &bad.store, err);
    if (!status) status = matrixe2ee_account_open(bad.store, "@alice:example.org", "ALICE", &bad.account, err);
    if (!status && bob.account) {
        status = matrixe2ee_olm_channel_create_from_storage(bad.account, bob.user_id, bob.identity_key,
                                                            &to_bob, err);
    }
    if (!status && bob.account) {
        status = matrixe2ee_outbound_megolm_session_create_from_storage(bad.account, ROOM, NULL, &sending, err);
    }
    return status;
}

static void close_handles(void) {
    matrixe2ee_olm_channel_free(to_bob);
    matrixe2ee_outbound_megolm_session_free(sending);
    matrixe2ee_account_free(bad.account);
    matrixe2ee_store_free(bad.store);
    to_bob = NULL, sending = NULL, bad.account = NULL, bad.store = NULL;
}

static void start(void) {
    place = (struct place)NEW_PLACE(NULL);
    bad = (struct bad){.place = &place, .lock = PTHREAD_MUTEX_INITIALIZER};
    bob = (struct person){0};
    OK(open_handles(&error));
    struct person alice = {"@alice:example.org", "ALICE", bad.store, bad.account, NULL, NULL};
    OK(matrixe2ee_account_device_keys(bad.account, &alice.device_keys, &error));
    OK(matrixe2ee_account_identity_key(bad.account, &alice.identity_key, &error));
    bob = person_open(NULL, "@bob:example.org", "BOB");
    to_bob = channel_to(&alice, &bob);
    /* Without the room's settings the session ends after 100 messages: give it larger ones. */
    char *who = text("{\"encryption\":{\"algorithm\":\"" MEGOLM "\",\"rotation_period_msgs\":10000},"
                     "\"members\":{\"%s\":\"join\"},\"device_keys\":{\"%s\":{\"BOB\":%s}}}",
                     bob.user_id, bob.user_id, bob.device_keys);
    char *content, *entries;
    OK(matrixe2ee_outbound_megolm_session_create(
        bad.account, ROOM, "{\"maximum_rotation_period_msgs\":10000}", &sending, &error));
    OK(matrixe2ee_outbound_megolm_session_get_session_key_for_sending(sending, who, &entries, &error));
    char *room_key = json_value(entries, "content");
    OK(matrixe2ee_olm_channel_encrypt(to_bob, "m.room_key", room_key, &content, &error));
    from_alice = channel_from(&bob, &alice, content);
    OK(matrixe2ee_inbound_megolm_session_from_room_key(bob.account, alice.user_id, alice.identity_key,
                                                       room_key, &receiving, &error));
    plain = text("{\"recipient_key\":\"%s\"}", bob.identity_key);
    matrixe2ee_string_free(content);
    matrixe2ee_string_free(entries);
    matrixe2ee_string_free(alice.device_keys);
    matrixe2ee_string_free(alice.identity_key);
    free(who);
    free(room_key);
}

static void end(void) {
    close_handles();
    matrixe2ee_olm_channel_free(from_alice);
    matrixe2ee_inbound_megolm_session_free(receiving);
    person_close(&bob);
    own_free(&place.rows);
    free(plain);
}

/* Each message that comes out of the library reaches Bob, who decrypts each key once. */
static matrixe2ee_status say_to_bob(matrixe2ee_error **err) {
    char *content, *event;
    matrixe2ee_status status = matrixe2ee_olm_channel_encrypt(to_bob, "m.note", plain, &content, err);
    if (status) return status;
    OK(matrixe2ee_olm_channel_decrypt(from_alice, content, &event, &error));
    matrixe2ee_string_free(content);
    matrixe2ee_string_free(event);
    return status;
}

static matrixe2ee_status say_to_room(matrixe2ee_error **err) {
    static atomic_int number;
    char *content, *event;
    matrixe2ee_status status = matrixe2ee_outbound_megolm_session_encrypt(sending, "m.note", plain, &content, err);
    if (status) return status;
    struct person alice = {"@alice:example.org", "ALICE", NULL, NULL, NULL, NULL};
    char *event_id = text("$%d", atomic_fetch_add(&number, 1));
    char *message = room_event(&alice, event_id, content);
    OK(matrixe2ee_inbound_megolm_session_decrypt(receiving, message, &event, &error));
    matrixe2ee_string_free(content);
    matrixe2ee_string_free(event);
    free(event_id);
    free(message);
    return status;
}

static matrixe2ee_status create_another(matrixe2ee_error **err) {
    matrixe2ee_outbound_megolm_session *session;
    matrixe2ee_status status =
        matrixe2ee_outbound_megolm_session_create(bad.account, "!another", NULL, &session, err);
    matrixe2ee_outbound_megolm_session_free(session);
    return status;
}

static matrixe2ee_status list(matrixe2ee_error **err) {
    char *sessions;
    matrixe2ee_status status =
        matrixe2ee_account_list_sessions(bad.account, NULL, NULL, -1, &sessions, err);
    matrixe2ee_string_free(sessions);
    return status;
}

/* Nothing else reads everything. */
static matrixe2ee_status look_for_problems(matrixe2ee_error **err) {
    char *problems;
    matrixe2ee_status status = matrixe2ee_store_problems(bad.store, &problems, err);
    matrixe2ee_string_free(problems);
    return status;
}

/* OK, or STORE_IO with the number that the backend answered. */
static int fine(matrixe2ee_status (*call)(matrixe2ee_error **err)) {
    matrixe2ee_error *error;
    matrixe2ee_status status = call(&error);
    if (status == MATRIXE2EE_STATUS_OK) return 1;
    CHECK(status == MATRIXE2EE_STATUS_STORE_IO && strstr(matrixe2ee_error_message(error), "it answered 7"));
    matrixe2ee_error_free(error);
    return 0;
}

/* A failure at every call in turn, of get, scan and commit; first none, to count them. */
static void every_call_fails_in_turn(enum mischief mischief, int sticky) {
    int calls = 0, struck = 0;
    for (int at = -1; at < calls; at++) {
        close_handles();
        bad.mischief = at < 0 ? NONE : mischief, bad.at = at, bad.sticky = sticky, bad.calls = 0;
        int all = fine(open_handles);
        if (all) all &= fine(say_to_bob) & fine(say_to_room) & fine(list) & fine(create_another);
        if (all) all &= fine(look_for_problems);
        if (all) all &= fine(say_to_bob) & fine(say_to_room);
        if (at < 0) calls = bad.calls;
        /* There may be a call less than the first time: what was read before is not read again. */
        int fails = at >= 0 && bad.calls > at;
        struck += fails;
        CHECK(calls > 10 && all == !fails);
        /* What has failed works again, with the same handles if there are any, and with new ones. */
        bad.mischief = NONE;
        for (int round = 0; round < 2; round++) {
            if (bad.account == NULL || sending == NULL || round == 1) {
                close_handles();
                OK(open_handles(&error));
            }
            OK(say_to_bob(&error));
            OK(say_to_room(&error));
            OK(create_another(&error));
        }
    }
    CHECK(struck > 10 && struck > calls / 2);
}

/* A list leaves out what is damaged, if it is not the index that is. */
static void list_damaged(void) {
    char *sessions;
    matrixe2ee_status status =
        matrixe2ee_account_list_sessions(bad.account, NULL, NULL, -1, &sessions, NULL);
    CHECK(status == MATRIXE2EE_STATUS_CORRUPT ||
          (status == MATRIXE2EE_STATUS_OK && strcmp(sessions, "[]") == 0));
    matrixe2ee_string_free(sessions);
}

/* An answer that is wrong is noticed when it is read. */
static void wrong_answers(void) {
    static const struct { enum mischief mischief; matrixe2ee_status answer; } cases[] = {
        {TWO_RECORDS, MATRIXE2EE_STATUS_STORE_IO}, {OTHER_KEY, MATRIXE2EE_STATUS_STORE_IO},
        {EMPTY_KEY, MATRIXE2EE_STATUS_STORE_IO}, {LONG_KEY, MATRIXE2EE_STATUS_STORE_IO},
        {NULL_KEY, MATRIXE2EE_STATUS_STORE_IO}, {NULL_VALUE, MATRIXE2EE_STATUS_STORE_IO},
        {ENDLESS_VALUE, MATRIXE2EE_STATUS_STORE_IO}, {SHORT_VALUE, MATRIXE2EE_STATUS_CORRUPT},
        {NO_VALUE, MATRIXE2EE_STATUS_CORRUPT}, {ALTERED_VALUE, MATRIXE2EE_STATUS_CORRUPT},
        {EXCHANGED_VALUES, MATRIXE2EE_STATUS_CORRUPT}, {REVERSED, MATRIXE2EE_STATUS_STORE_IO},
        {REPEATED, MATRIXE2EE_STATUS_STORE_IO}, {FROM_THE_START, MATRIXE2EE_STATUS_STORE_IO},
        {BEYOND_LIMIT, MATRIXE2EE_STATUS_STORE_IO},
    };
    start();
    for (int i = 0; i < 20; i++) { /* more than a first page of a scan */
        matrixe2ee_outbound_megolm_session *more;
        matrixe2ee_inbound_megolm_session *stored;
        OK(matrixe2ee_outbound_megolm_session_create(bad.account, "!other", NULL, &more, &error));
        OK(matrixe2ee_inbound_megolm_session_from_outbound_session(more, &stored, &error));
        matrixe2ee_inbound_megolm_session_free(stored);
        matrixe2ee_outbound_megolm_session_free(more);
    }
    bad.at = 0, bad.sticky = 1;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int in_scan = cases[i].mischief >= REVERSED;
        int in_get = cases[i].mischief < REVERSED || cases[i].mischief > BEYOND_LIMIT;
        close_handles();
        OK(open_handles(&error)); /* The account is read, but nothing is listed yet. */
        bad.mischief = cases[i].mischief;
        if (cases[i].answer == MATRIXE2EE_STATUS_CORRUPT) list_damaged();
        else if (in_scan) EXPECT(cases[i].answer, look_for_problems(&error));
        bad.mischief = NONE;
        close_handles();
        bad.mischief = cases[i].mischief;
        /* The first record of all is the vault's, which has errors of its own for a damaged one. */
        if (in_get) {
            bad.calls = -1;
            EXPECT(cases[i].answer, open_handles(&error));
        }
        bad.mischief = NONE, bad.calls = 0;
        close_handles();
        OK(open_handles(&error));
        OK(say_to_bob(&error));
    }
    end();
}

/* A sink is good for its own call only, in its own thread. */
static void sinks(enum mischief mischief) {
    start();
    close_handles();
    bad.mischief = mischief, bad.sticky = 1, bad.at = 0, bad.calls = 0;
    OK(open_handles(&error));
    OK(list(&error));
    OK(look_for_problems(&error));
    CHECK(bad.refused > 3);
    int refused = bad.refused;
    emit_in_thread(&bad); /* outside of any call */
    CHECK(bad.refused == refused + 1);
    OK(say_to_room(&error));
    end();
}

static void calls_back(void) {
    matrixe2ee_outbound_megolm_session *none;
    char *out;
    start();
    OK(matrixe2ee_outbound_megolm_session_create(bad.account, "!other", NULL, &bad.to_free, &error));
    bad.mischief = CALL_BACK, bad.sticky = 1, bad.at = 0, bad.calls = 0;
    OK(say_to_bob(&error));
    OK(say_to_room(&error));
    OK(list(&error));
    OK(look_for_problems(&error));
    FAILS(NOT_FOUND, matrixe2ee_outbound_megolm_session_create_from_storage(bad.account, "!none", NULL,
                                                                            &none, &error));
    CHECK(bad.calls >= 4);
    FAILS(STALE_HANDLE, matrixe2ee_outbound_megolm_session_session_id(bad.to_free, &out, &error));
    end();
}

/* Four threads, and every third call of the backend fails: Bob hears every message once. */
static void *talk(void *argument) {
    (void)argument;
    for (int round = 0; round < 20; round++) (void)fine(round % 2 ? say_to_bob : say_to_room);
    return NULL;
}

static void threads(void) {
    pthread_t threads[4];
    start();
    bad.mischief = FAIL_AFTER, bad.every = 3;
    for (size_t i = 0; i < 4; i++) CHECK(pthread_create(&threads[i], NULL, talk, NULL) == 0);
    for (size_t i = 0; i < 4; i++) CHECK(pthread_join(threads[i], NULL) == 0);
    bad.mischief = NONE;
    OK(say_to_bob(&error));
    OK(say_to_room(&error));
    end();
}

int main(void) {
    start();
    every_call_fails_in_turn(FAIL_BEFORE, 0);
    every_call_fails_in_turn(FAIL_BEFORE, 1);
    every_call_fails_in_turn(FAIL_AFTER, 0);
    every_call_fails_in_turn(FAIL_AFTER, 1);
    end();
    wrong_answers();
    sinks(LATE_SINK);
    sinks(SINK_IN_THREAD);
    calls_back();
    threads();
    return 0;
}

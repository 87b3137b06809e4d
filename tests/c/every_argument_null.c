/* Every pointer argument of every function, NULL in turn, is refused and nothing crashes. */
#include "story.h"

#define REFUSED(call) FAILS(NULL_POINTER, call)
#define NULL_1(f, a) REFUSED(f(NULL, &error))
#define NULL_2(f, a, b) \
    REFUSED(f(NULL, b, &error)); \
    REFUSED(f(a, NULL, &error)); \
    CHECK(f(NULL, NULL, NULL) == MATRIXE2EE_STATUS_NULL_POINTER)
#define NULL_3(f, a, b, c) \
    REFUSED(f(NULL, b, c, &error)); \
    REFUSED(f(a, NULL, c, &error)); \
    REFUSED(f(a, b, NULL, &error)); \
    CHECK(f(NULL, NULL, NULL, NULL) == MATRIXE2EE_STATUS_NULL_POINTER)
#define NULL_4(f, a, b, c, d) \
    REFUSED(f(NULL, b, c, d, &error)); \
    REFUSED(f(a, NULL, c, d, &error)); \
    REFUSED(f(a, b, NULL, d, &error)); \
    REFUSED(f(a, b, c, NULL, &error)); \
    CHECK(f(NULL, NULL, NULL, NULL, NULL) == MATRIXE2EE_STATUS_NULL_POINTER)
#define NULL_5(f, a, b, c, d, e) \
    REFUSED(f(NULL, b, c, d, e, &error)); \
    REFUSED(f(a, NULL, c, d, e, &error)); \
    REFUSED(f(a, b, NULL, d, e, &error)); \
    REFUSED(f(a, b, c, NULL, e, &error)); \
    REFUSED(f(a, b, c, d, NULL, &error)); \
    CHECK(f(NULL, NULL, NULL, NULL, NULL, NULL) == MATRIXE2EE_STATUS_NULL_POINTER)

static char *string_out;
static uint32_t number_out;
static bool flag_out;
static matrixe2ee_store *store_out;
static matrixe2ee_account *account_out;
static matrixe2ee_olm_channel *channel_out;
static matrixe2ee_outbound_megolm_session *outbound_out;
static matrixe2ee_inbound_megolm_session *inbound_out;

static void free_functions(void) {
    REFUSED(matrixe2ee_keys_claim_request(NULL, -1, &string_out, &error));
    REFUSED(matrixe2ee_keys_claim_request("{}", -1, NULL, &error));
    NULL_3(matrixe2ee_read_keys_claim_response, "{}", "{}", &string_out);
    NULL_4(matrixe2ee_verify_signed_json, "{}", "@a:b", "ed25519:A", "key");
    NULL_2(matrixe2ee_canonical_json, "{}", &string_out);
    CHECK(matrixe2ee_error_code(NULL) == MATRIXE2EE_STATUS_OK);
    CHECK(matrixe2ee_error_message(NULL) == NULL);
    CHECK(matrixe2ee_error_json(NULL) == NULL);
    matrixe2ee_error_free(NULL);
    matrixe2ee_string_free(NULL);
    matrixe2ee_wipe(NULL, 5);
    matrixe2ee_store_free(NULL);
    matrixe2ee_account_free(NULL);
    matrixe2ee_olm_channel_free(NULL);
    matrixe2ee_outbound_megolm_session_free(NULL);
    matrixe2ee_inbound_megolm_session_free(NULL);
}

static int64_t now_ms(void *userdata) {
    (void)userdata;
    return 1700000000000;
}

static int32_t get(void *userdata, const char *collection, const uint8_t *key, size_t key_len,
                   matrixe2ee_emit emit, void *sink) {
    (void)userdata, (void)collection, (void)key, (void)key_len, (void)emit, (void)sink;
    return 0;
}

static int32_t scan(void *userdata, const char *collection, const uint8_t *after_key,
                    size_t after_key_len, uint32_t limit, matrixe2ee_emit emit, void *sink) {
    (void)limit;
    return get(userdata, collection, after_key, after_key_len, emit, sink);
}

static int32_t commit(void *userdata, const matrixe2ee_store_change *changes, size_t count) {
    (void)userdata, (void)changes, (void)count;
    return 0;
}

static void store_foreign(void) {
    matrixe2ee_store_backend backend = {sizeof backend, NULL, NULL, get, scan, commit};
    matrixe2ee_store_backend no_function = {sizeof backend, NULL, NULL, NULL, NULL, NULL};
    REFUSED(matrixe2ee_store_foreign(NULL, KEY, 32, &store_out, &error));
    REFUSED(matrixe2ee_store_foreign(&no_function, KEY, 32, &store_out, &error));
    REFUSED(matrixe2ee_store_foreign(&backend, NULL, 32, &store_out, &error));
    REFUSED(matrixe2ee_store_foreign(&backend, KEY, 32, NULL, &error));
    CHECK(matrixe2ee_store_foreign(NULL, NULL, 32, NULL, NULL) == MATRIXE2EE_STATUS_NULL_POINTER);
    /* NULL for userdata and destroy is fine. */
    OK(matrixe2ee_store_foreign(&backend, KEY, 32, &store_out, &error));
    matrixe2ee_store_free(store_out);
}

static void store(const matrixe2ee_store *store) {
    matrixe2ee_clock clock = {sizeof clock, NULL, NULL, now_ms};
    matrixe2ee_clock no_function = {sizeof clock, NULL, NULL, NULL};
    REFUSED(matrixe2ee_store_in_memory(NULL, 32, &store_out, &error));
    REFUSED(matrixe2ee_store_in_memory(KEY, 32, NULL, &error));
    REFUSED(matrixe2ee_store_open_sqlite(NULL, KEY, 32, &store_out, &error));
    REFUSED(matrixe2ee_store_open_sqlite("/nonexistent/s", NULL, 32, &store_out, &error));
    REFUSED(matrixe2ee_store_open_sqlite("/nonexistent/s", KEY, 32, NULL, &error));
    REFUSED(matrixe2ee_store_open_sqlite_with_passphrase(NULL, KEY, 32, &store_out, &error));
    REFUSED(matrixe2ee_store_open_sqlite_with_passphrase("/nonexistent/s", NULL, 32, &store_out, &error));
    REFUSED(matrixe2ee_store_open_sqlite_with_passphrase("/nonexistent/s", KEY, 32, NULL, &error));
    REFUSED(matrixe2ee_store_rekey(NULL, KEY, 32, &error));
    REFUSED(matrixe2ee_store_rekey(store, NULL, 32, &error));
    REFUSED(matrixe2ee_store_rekey_with_passphrase(NULL, KEY, 32, &error));
    REFUSED(matrixe2ee_store_rekey_with_passphrase(store, NULL, 32, &error));
    REFUSED(matrixe2ee_store_problems(NULL, &string_out, &error));
    REFUSED(matrixe2ee_store_problems(store, NULL, &error));
    REFUSED(matrixe2ee_store_salvage(NULL, "/nonexistent/s", KEY, 32, &error));
    REFUSED(matrixe2ee_store_salvage(store, NULL, KEY, 32, &error));
    REFUSED(matrixe2ee_store_salvage(store, "/nonexistent/s", NULL, 32, &error));
    NULL_2(matrixe2ee_store_set_clock, store, &clock);
    REFUSED(matrixe2ee_store_set_clock(store, &no_function, &error));
    NULL_1(matrixe2ee_store_shut_down, store);
}

typedef matrixe2ee_status from_pickle(const matrixe2ee_store *, const char *, const char *, const char *,
                                      const uint8_t *, size_t, matrixe2ee_account **,
                                      matrixe2ee_error **);

static void account_from_pickle(const matrixe2ee_store *store, from_pickle *f) {
    REFUSED(f(NULL, "@c:d", "C", "p", KEY, 32, &account_out, &error));
    REFUSED(f(store, NULL, "C", "p", KEY, 32, &account_out, &error));
    REFUSED(f(store, "@c:d", NULL, "p", KEY, 32, &account_out, &error));
    REFUSED(f(store, "@c:d", "C", NULL, KEY, 32, &account_out, &error));
    REFUSED(f(store, "@c:d", "C", "p", NULL, 32, &account_out, &error));
    REFUSED(f(store, "@c:d", "C", "p", KEY, 32, NULL, &error));
}

static void account(const matrixe2ee_store *store, const matrixe2ee_account *account) {
    NULL_4(matrixe2ee_account_open, store, "@c:d", "C", &account_out);
    NULL_4(matrixe2ee_account_open_existing, store, "@c:d", "C", &account_out);
    account_from_pickle(store, matrixe2ee_account_from_libolm_pickle);
    account_from_pickle(store, matrixe2ee_account_from_vodozemac_pickle);
    NULL_2(matrixe2ee_account_user_id, account, &string_out);
    NULL_2(matrixe2ee_account_device_id, account, &string_out);
    NULL_2(matrixe2ee_account_identity_key, account, &string_out);
    NULL_2(matrixe2ee_account_fingerprint_key, account, &string_out);
    NULL_2(matrixe2ee_account_device_keys, account, &string_out);
    NULL_2(matrixe2ee_account_keys_upload_request, account, &string_out);
    REFUSED(matrixe2ee_account_receive_keys_upload_response(NULL, 200, "{}", &error));
    REFUSED(matrixe2ee_account_receive_keys_upload_response(account, 200, NULL, &error));
    REFUSED(matrixe2ee_account_receive_key_counts(NULL, "{}", NULL, &error));
    REFUSED(matrixe2ee_account_receive_key_counts(account, NULL, NULL, &error));
    NULL_3(matrixe2ee_account_sign_json, account, "{}", &string_out);
    NULL_3(matrixe2ee_account_encrypt_for_devices, account, "[]", &string_out);
    NULL_3(matrixe2ee_account_decrypt_room_events, account, "[]", &string_out);
    REFUSED(matrixe2ee_account_list_sessions(NULL, NULL, NULL, -1, &string_out, &error));
    REFUSED(matrixe2ee_account_list_sessions(account, NULL, NULL, -1, NULL, &error));
    REFUSED(matrixe2ee_account_list_channels(NULL, NULL, -1, &string_out, &error));
    REFUSED(matrixe2ee_account_list_channels(account, NULL, -1, NULL, &error));
    REFUSED(matrixe2ee_account_import_libolm_sessions(NULL, "[]", KEY, 32, &string_out, &error));
    REFUSED(matrixe2ee_account_import_libolm_sessions(account, NULL, KEY, 32, &string_out, &error));
    REFUSED(matrixe2ee_account_import_libolm_sessions(account, "[]", NULL, 32, &string_out, &error));
    REFUSED(matrixe2ee_account_import_libolm_sessions(account, "[]", KEY, 32, NULL, &error));
    REFUSED(matrixe2ee_account_import_sessions(NULL, "[]", &string_out, &error));
    REFUSED(matrixe2ee_account_import_sessions(account, NULL, &string_out, &error));
    REFUSED(matrixe2ee_account_import_sessions(account, "[]", NULL, &error));
    NULL_1(matrixe2ee_account_erase, account);
}

typedef matrixe2ee_status from_pickles(const matrixe2ee_account *, const char *, const char *,
                                       const char *, const uint8_t *, size_t, matrixe2ee_olm_channel **,
                                       matrixe2ee_error **);

static void channel_from_pickles(const matrixe2ee_account *account, from_pickles *f) {
    REFUSED(f(NULL, "@c:d", "k", "[]", KEY, 32, &channel_out, &error));
    REFUSED(f(account, NULL, "k", "[]", KEY, 32, &channel_out, &error));
    REFUSED(f(account, "@c:d", NULL, "[]", KEY, 32, &channel_out, &error));
    REFUSED(f(account, "@c:d", "k", NULL, KEY, 32, &channel_out, &error));
    REFUSED(f(account, "@c:d", "k", "[]", NULL, 32, &channel_out, &error));
    REFUSED(f(account, "@c:d", "k", "[]", KEY, 32, NULL, &error));
}

static void create_channels(const matrixe2ee_account *account) {
    NULL_4(matrixe2ee_olm_channel_create_outbound_channel, account, "{}", "{}", &channel_out);
    REFUSED(matrixe2ee_olm_channel_create_from_encrypted_message(NULL, "@c:d", "k", "{}", NULL, NULL,
                                                                 &channel_out, &error));
    REFUSED(matrixe2ee_olm_channel_create_from_encrypted_message(account, NULL, "k", "{}", NULL, NULL,
                                                                 &channel_out, &error));
    REFUSED(matrixe2ee_olm_channel_create_from_encrypted_message(account, "@c:d", NULL, "{}", NULL, NULL,
                                                                 &channel_out, &error));
    REFUSED(matrixe2ee_olm_channel_create_from_encrypted_message(account, "@c:d", "k", NULL, NULL, NULL,
                                                                 &channel_out, &error));
    REFUSED(matrixe2ee_olm_channel_create_from_encrypted_message(account, "@c:d", "k", "{}", NULL, NULL,
                                                                 NULL, &error));
    NULL_4(matrixe2ee_olm_channel_create_from_storage, account, "@c:d", "k", &channel_out);
    channel_from_pickles(account, matrixe2ee_olm_channel_from_libolm_pickles);
    channel_from_pickles(account, matrixe2ee_olm_channel_from_vodozemac_pickles);
}

static void channel(const matrixe2ee_olm_channel *channel) {
    NULL_2(matrixe2ee_olm_channel_first_event, channel, &string_out);
    NULL_2(matrixe2ee_olm_channel_add_outbound_olm_session, channel, "{}");
    NULL_4(matrixe2ee_olm_channel_encrypt, channel, "m.dummy", "{}", &string_out);
    NULL_3(matrixe2ee_olm_channel_decrypt, channel, "{}", &string_out);
    NULL_2(matrixe2ee_olm_channel_session_count, channel, &number_out);
    NULL_2(matrixe2ee_olm_channel_set_partner_device_keys, channel, "{}");
    NULL_2(matrixe2ee_olm_channel_partner, channel, &string_out);
    NULL_2(matrixe2ee_olm_channel_should_create_new_session, channel, &flag_out);
    NULL_1(matrixe2ee_olm_channel_erase, channel);
}

static void outbound(const matrixe2ee_account *account,
                     const matrixe2ee_outbound_megolm_session *session) {
    REFUSED(matrixe2ee_outbound_megolm_session_create(NULL, ROOM, NULL, &outbound_out, &error));
    REFUSED(matrixe2ee_outbound_megolm_session_create(account, NULL, NULL, &outbound_out, &error));
    REFUSED(matrixe2ee_outbound_megolm_session_create(account, ROOM, NULL, NULL, &error));
    REFUSED(matrixe2ee_outbound_megolm_session_create_from_storage(NULL, ROOM, NULL, &outbound_out,
                                                                   &error));
    REFUSED(matrixe2ee_outbound_megolm_session_create_from_storage(account, NULL, NULL, &outbound_out,
                                                                   &error));
    REFUSED(matrixe2ee_outbound_megolm_session_create_from_storage(account, ROOM, NULL, NULL, &error));
    REFUSED(matrixe2ee_outbound_megolm_session_from_libolm_pickle(NULL, ROOM, "p", KEY, 32,
                                                                  &outbound_out, &error));
    REFUSED(matrixe2ee_outbound_megolm_session_from_libolm_pickle(account, NULL, "p", KEY, 32,
                                                                  &outbound_out, &error));
    REFUSED(matrixe2ee_outbound_megolm_session_from_libolm_pickle(account, ROOM, NULL, KEY, 32,
                                                                  &outbound_out, &error));
    REFUSED(matrixe2ee_outbound_megolm_session_from_libolm_pickle(account, ROOM, "p", NULL, 32,
                                                                  &outbound_out, &error));
    REFUSED(matrixe2ee_outbound_megolm_session_from_libolm_pickle(account, ROOM, "p", KEY, 32, NULL,
                                                                  &error));
    NULL_2(matrixe2ee_outbound_megolm_session_session_id, session, &string_out);
    NULL_2(matrixe2ee_outbound_megolm_session_message_index, session, &number_out);
    NULL_3(matrixe2ee_outbound_megolm_session_get_session_key_for_sending, session, "{}", &string_out);
    NULL_2(matrixe2ee_outbound_megolm_session_mark_as_sent, session, "[]");
    NULL_4(matrixe2ee_outbound_megolm_session_encrypt, session, "m.dummy", "{}", &string_out);
    NULL_1(matrixe2ee_outbound_megolm_session_invalidate, session);
    NULL_1(matrixe2ee_outbound_megolm_session_erase, session);
}

static void inbound_from_pickle(const matrixe2ee_account *account) {
    REFUSED(matrixe2ee_inbound_megolm_session_from_libolm_pickle(NULL, ROOM, "k", "p", KEY, 32, NULL,
                                                                 &inbound_out, &error));
    REFUSED(matrixe2ee_inbound_megolm_session_from_libolm_pickle(account, NULL, "k", "p", KEY, 32, NULL,
                                                                 &inbound_out, &error));
    REFUSED(matrixe2ee_inbound_megolm_session_from_libolm_pickle(account, ROOM, NULL, "p", KEY, 32, NULL,
                                                                 &inbound_out, &error));
    REFUSED(matrixe2ee_inbound_megolm_session_from_libolm_pickle(account, ROOM, "k", NULL, KEY, 32, NULL,
                                                                 &inbound_out, &error));
    REFUSED(matrixe2ee_inbound_megolm_session_from_libolm_pickle(account, ROOM, "k", "p", NULL, 32, NULL,
                                                                 &inbound_out, &error));
    REFUSED(matrixe2ee_inbound_megolm_session_from_libolm_pickle(account, ROOM, "k", "p", KEY, 32, NULL,
                                                                 NULL, &error));
}

static void inbound(const matrixe2ee_account *account,
                    const matrixe2ee_outbound_megolm_session *outbound,
                    const matrixe2ee_inbound_megolm_session *session) {
    NULL_2(matrixe2ee_inbound_megolm_session_from_outbound_session, outbound, &inbound_out);
    NULL_5(matrixe2ee_inbound_megolm_session_from_room_key, account, "@c:d", "k", "{}", &inbound_out);
    REFUSED(matrixe2ee_inbound_megolm_session_from_export(NULL, "{}", NULL, &inbound_out, &error));
    REFUSED(matrixe2ee_inbound_megolm_session_from_export(account, NULL, NULL, &inbound_out, &error));
    REFUSED(matrixe2ee_inbound_megolm_session_from_export(account, "{}", NULL, NULL, &error));
    REFUSED(matrixe2ee_inbound_megolm_session_from_storage(NULL, ROOM, "s", NULL, &inbound_out, &error));
    REFUSED(matrixe2ee_inbound_megolm_session_from_storage(account, NULL, "s", NULL, &inbound_out,
                                                           &error));
    REFUSED(matrixe2ee_inbound_megolm_session_from_storage(account, ROOM, NULL, NULL, &inbound_out,
                                                           &error));
    REFUSED(matrixe2ee_inbound_megolm_session_from_storage(account, ROOM, "s", NULL, NULL, &error));
    NULL_3(matrixe2ee_inbound_megolm_session_decrypt, session, "{}", &string_out);
    NULL_3(matrixe2ee_inbound_megolm_session_decrypt_many, session, "[]", &string_out);
    NULL_2(matrixe2ee_inbound_megolm_session_session_id, session, &string_out);
    NULL_2(matrixe2ee_inbound_megolm_session_sender_key, session, &string_out);
    NULL_2(matrixe2ee_inbound_megolm_session_authenticated, session, &flag_out);
    NULL_2(matrixe2ee_inbound_megolm_session_first_known_index, session, &number_out);
    REFUSED(matrixe2ee_inbound_megolm_session_export_at(NULL, -1, &string_out, &error));
    REFUSED(matrixe2ee_inbound_megolm_session_export_at(session, -1, NULL, &error));
    NULL_1(matrixe2ee_inbound_megolm_session_erase, session);
}

int main(void) {
    struct person alice = person_open(NULL, "@alice:example.org", "ALICE");
    struct person bob = person_open(NULL, "@bob:example.org", "BOB");
    matrixe2ee_olm_channel *to_bob = channel_to(&alice, &bob);
    matrixe2ee_outbound_megolm_session *sending;
    matrixe2ee_inbound_megolm_session *receiving;
    OK(matrixe2ee_outbound_megolm_session_create(alice.account, ROOM, NULL, &sending, &error));
    OK(matrixe2ee_inbound_megolm_session_from_outbound_session(sending, &receiving, &error));

    free_functions();
    store_foreign();
    store(alice.store);
    account(alice.store, alice.account);
    create_channels(alice.account);
    channel(to_bob);
    outbound(alice.account, sending);
    inbound_from_pickle(alice.account);
    inbound(alice.account, sending, receiving);

    /* Nothing above has changed or closed anything. */
    OK(matrixe2ee_account_user_id(alice.account, &string_out, &error));
    matrixe2ee_string_free(string_out);
    matrixe2ee_inbound_megolm_session_free(receiving);
    matrixe2ee_outbound_megolm_session_free(sending);
    matrixe2ee_olm_channel_free(to_bob);
    person_close(&alice);
    person_close(&bob);
    return 0;
}

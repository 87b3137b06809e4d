/* The whole story on files: keys, a channel, a room key through it, messages, and opening again. */
#include "story.h"

static char *folder;

/* Opens a person's account on the file of that name in the folder. */
static struct person open_file(const char *name, const char *user_id, const char *device_id) {
    char *path = text("%s/%s", folder, name);
    struct person person = person_open(path, user_id, device_id);
    free(path);
    return person;
}

/* Sends the room key to the devices that lack it; each copy arrives at Bob. */
static matrixe2ee_inbound_megolm_session *share_key(
    const struct person *alice, const matrixe2ee_outbound_megolm_session *session,
    const matrixe2ee_olm_channel *to_bob, const struct person *bob, matrixe2ee_olm_channel **from_alice) {
    char *who = recipients(alice, bob);
    char *entries, *content, *event;
    OK(matrixe2ee_outbound_megolm_session_get_session_key_for_sending(session, who, &entries, &error));
    char *room_key = json_value(entries, "content");
    char *device = json_value(entries, "device");
    CHECK(room_key && device && strstr(device, bob->identity_key));
    OK(matrixe2ee_olm_channel_encrypt(to_bob, "m.room_key", room_key, &content, &error));

    *from_alice = channel_from(bob, alice, content);
    OK(matrixe2ee_olm_channel_first_event(*from_alice, &event, &error));
    char *received = json_value(event, "content");
    matrixe2ee_inbound_megolm_session *inbound;
    OK(matrixe2ee_inbound_megolm_session_from_room_key(bob->account, alice->user_id, alice->identity_key,
                                                       received, &inbound, &error));

    char *devices = text("[%s]", device);
    OK(matrixe2ee_outbound_megolm_session_mark_as_sent(session, devices, &error));
    char *nothing;
    OK(matrixe2ee_outbound_megolm_session_get_session_key_for_sending(session, who, &nothing, &error));
    CHECK(strcmp(nothing, "[]") == 0);

    matrixe2ee_string_free(entries);
    matrixe2ee_string_free(content);
    matrixe2ee_string_free(event);
    matrixe2ee_string_free(nothing);
    free(who);
    free(room_key);
    free(device);
    free(received);
    free(devices);
    return inbound;
}

/* An answer through the channel makes it a normal one, in both directions. */
static void chat(const matrixe2ee_olm_channel *from, const matrixe2ee_olm_channel *to, const char *words) {
    char *plain = text("{\"words\":\"%s\"}", words);
    char *content, *event;
    OK(matrixe2ee_olm_channel_encrypt(from, "org.example.words", plain, &content, &error));
    OK(matrixe2ee_olm_channel_decrypt(to, content, &event, &error));
    char *heard = json_string(event, "words");
    CHECK(strcmp(heard, words) == 0);
    matrixe2ee_string_free(content);
    matrixe2ee_string_free(event);
    free(plain);
    free(heard);
}

static void check_partner(const matrixe2ee_olm_channel *channel, const struct person *partner,
                          const char *fingerprint) {
    char *json;
    uint32_t count;
    bool create_new;
    OK(matrixe2ee_olm_channel_partner(channel, &json, &error));
    char *user_id = json_string(json, "user_id");
    char *known = json_string(json, "fingerprint");
    CHECK(strcmp(user_id, partner->user_id) == 0);
    CHECK(strcmp(known, fingerprint) == 0);
    OK(matrixe2ee_olm_channel_session_count(channel, &count, &error));
    CHECK(count == 1);
    OK(matrixe2ee_olm_channel_should_create_new_session(channel, &create_new, &error));
    CHECK(!create_new);
    matrixe2ee_string_free(json);
    free(user_id);
    free(known);
}

/* What decryption says of an event under this name. */
static void check_fact(const matrixe2ee_inbound_megolm_session *session, const char *event,
                       const char *name, const char *expected) {
    char *out;
    OK(matrixe2ee_inbound_megolm_session_decrypt(session, event, &out, &error));
    char *fact = json_string(out, name);
    CHECK(strcmp(fact, expected) == 0);
    matrixe2ee_string_free(out);
    free(fact);
}

/* The session leaves as an export and comes in again in another account. */
static void export_and_import(const matrixe2ee_inbound_megolm_session *session, const char *event) {
    char *exported, *sessions;
    bool authenticated = true;
    uint32_t first;
    struct person carol = open_file("carol", "@carol:example.org", "CAROL");
    OK(matrixe2ee_inbound_megolm_session_export_at(session, -1, &exported, &error));
    matrixe2ee_inbound_megolm_session *imported;
    OK(matrixe2ee_inbound_megolm_session_from_export(carol.account, exported, NULL, &imported, &error));
    OK(matrixe2ee_inbound_megolm_session_authenticated(imported, &authenticated, &error));
    CHECK(!authenticated);
    OK(matrixe2ee_inbound_megolm_session_first_known_index(imported, &first, &error));
    CHECK(first == 0);
    hear(imported, event, "one");
    OK(matrixe2ee_account_list_sessions(carol.account, ROOM, NULL, -1, &sessions, &error));
    CHECK(strstr(sessions, "\"authenticated\":false"));
    check_fact(imported, event, "owner", "unknown");
    matrixe2ee_inbound_megolm_session_free(imported);
    OK(matrixe2ee_inbound_megolm_session_from_export(carol.account, exported, "@alice:example.org",
                                                     &imported, &error));
    check_fact(imported, event, "owner", "known");
    matrixe2ee_inbound_megolm_session_free(imported);
    matrixe2ee_string_free(exported);
    matrixe2ee_string_free(sessions);
    person_close(&carol);
}

static void decrypt_many(const matrixe2ee_inbound_megolm_session *session, const char *good,
                         const char *replayed) {
    char *events = text("[%s,%s]", good, replayed);
    char *list;
    OK(matrixe2ee_inbound_megolm_session_decrypt_many(session, events, &list, &error));
    CHECK(strstr(list, "\"event\":{") && strstr(list, "\"name\":\"REPLAY\""));
    matrixe2ee_string_free(list);
    free(events);
}

/* Two devices in one call, one of which there is no channel to. */
static void encrypt_for_devices(const struct person *from, const struct person *to,
                                const matrixe2ee_olm_channel *from_alice) {
    char *items = text("[{\"user_id\":\"%s\",\"identity_key\":\"%s\",\"type\":\"org.example.words\","
                       "\"content\":{\"words\":\"to many\"}},"
                       "{\"user_id\":\"%s\",\"identity_key\":\"%s\",\"type\":\"org.example.words\","
                       "\"content\":{}}]",
                       to->user_id, to->identity_key, from->user_id, from->identity_key);
    char *list, *event;
    OK(matrixe2ee_account_encrypt_for_devices(from->account, items, &list, &error));
    CHECK(strncmp(list, "[{\"content\":{", 13) == 0 && strstr(list, "\"name\":\"NOT_FOUND\""));
    char *content = json_value(list, "content");
    OK(matrixe2ee_olm_channel_decrypt(from_alice, content, &event, &error));
    char *heard = json_string(event, "words");
    CHECK(strcmp(heard, "to many") == 0);
    matrixe2ee_string_free(list);
    FAILS(INVALID_JSON, matrixe2ee_account_encrypt_for_devices(from->account, "[", &list, &error));
    CHECK(list == NULL);
    matrixe2ee_string_free(event);
    free(items);
    free(content);
    free(heard);
}

/* A good event, one that is replayed, and one whose room key is not there. */
static void decrypt_room_events(const struct person *to, const char *good, const char *replayed) {
    char *unknown = room_event(to, "$unknown", "{\"algorithm\":\"" MEGOLM "\",\"session_id\":\"none\","
                                               "\"ciphertext\":\"none\"}");
    char *events = text("[%s,%s,%s]", good, replayed, unknown);
    char *list;
    OK(matrixe2ee_account_decrypt_room_events(to->account, events, &list, &error));
    const char *first = strstr(list, "\"event\":{"), *second = strstr(list, "\"name\":\"REPLAY\"");
    const char *third = strstr(list, "\"name\":\"NO_SESSION\"");
    CHECK(first && first < second && second < third);
    matrixe2ee_string_free(list);
    FAILS(INVALID_FIELD, matrixe2ee_account_decrypt_room_events(to->account, "{}", &list, &error));
    CHECK(list == NULL);
    free(unknown);
    free(events);
}

static void keys_are_uploaded_once(const struct person *person) {
    char *body = (char *)1;
    OK(matrixe2ee_account_receive_key_counts(person->account, "{\"signed_curve25519\":50}",
                                             "[\"signed_curve25519\"]", &error));
    OK(matrixe2ee_account_keys_upload_request(person->account, &body, &error));
    CHECK(body == NULL);
}

int main(void) {
    folder = new_folder();
    struct person alice = open_file("alice", "@alice:example.org", "ALICE");
    struct person bob = open_file("bob", "@bob:example.org", "BOB");
    char *first_identity_key = text("%s", alice.identity_key);

    matrixe2ee_olm_channel *to_bob = channel_to(&alice, &bob), *from_alice;
    keys_are_uploaded_once(&bob);
    matrixe2ee_outbound_megolm_session *sending;
    OK(matrixe2ee_outbound_megolm_session_create(alice.account, ROOM, NULL, &sending, &error));
    matrixe2ee_inbound_megolm_session *receiving = share_key(&alice, sending, to_bob, &bob, &from_alice);
    chat(from_alice, to_bob, "hello");
    chat(to_bob, from_alice, "hello yourself");
    check_partner(to_bob, &bob, "device_keys");
    check_partner(from_alice, &alice, "learned");

    char *one = say(&alice, sending, "$one", "one");
    char *two = say(&alice, sending, "$two", "two");
    hear(receiving, one, "one");
    hear(receiving, one, "one");
    check_fact(receiving, one, "sender_key", alice.identity_key);
    check_fact(receiving, one, "sender_fingerprint", "learned");
    char *device_keys;
    OK(matrixe2ee_account_device_keys(alice.account, &device_keys, &error));
    OK(matrixe2ee_olm_channel_set_partner_device_keys(from_alice, device_keys, &error));
    check_fact(receiving, one, "sender_fingerprint", "device_keys");
    matrixe2ee_string_free(device_keys);
    char *content = json_value(one, "content");
    char *again = room_event(&alice, "$other", content);
    char *out;
    FAILS(REPLAY, matrixe2ee_inbound_megolm_session_decrypt(receiving, again, &out, &error));
    CHECK(out == NULL);
    decrypt_many(receiving, two, again);
    decrypt_room_events(&bob, two, again);
    encrypt_for_devices(&alice, &bob, from_alice);
    export_and_import(receiving, one);

    char *session_id;
    OK(matrixe2ee_outbound_megolm_session_session_id(sending, &session_id, &error));
    matrixe2ee_inbound_megolm_session_free(receiving);
    matrixe2ee_outbound_megolm_session_free(sending);
    matrixe2ee_olm_channel_free(to_bob);
    matrixe2ee_olm_channel_free(from_alice);
    person_close(&alice);
    person_close(&bob);

    /* Another day: everything is where it was. */
    alice = open_file("alice", "@alice:example.org", "ALICE");
    bob = open_file("bob", "@bob:example.org", "BOB");
    CHECK(strcmp(alice.identity_key, first_identity_key) == 0);
    OK(matrixe2ee_olm_channel_create_from_storage(alice.account, bob.user_id, bob.identity_key, &to_bob,
                                                  &error));
    OK(matrixe2ee_olm_channel_create_from_storage(bob.account, alice.user_id, alice.identity_key,
                                                  &from_alice, &error));
    OK(matrixe2ee_outbound_megolm_session_create_from_storage(alice.account, ROOM, NULL, &sending,
                                                              &error));
    OK(matrixe2ee_inbound_megolm_session_from_storage(bob.account, ROOM, session_id, alice.user_id,
                                                      &receiving, &error));
    chat(to_bob, from_alice, "good morning");
    uint32_t index;
    OK(matrixe2ee_outbound_megolm_session_message_index(sending, &index, &error));
    CHECK(index == 2);
    char *three = say(&alice, sending, "$three", "three");
    hear(receiving, three, "three");
    hear(receiving, two, "two");
    FAILS(REPLAY, matrixe2ee_inbound_megolm_session_decrypt(receiving, again, &out, &error));

    matrixe2ee_inbound_megolm_session_free(receiving);
    matrixe2ee_outbound_megolm_session_free(sending);
    matrixe2ee_olm_channel_free(to_bob);
    matrixe2ee_olm_channel_free(from_alice);
    person_close(&alice);
    person_close(&bob);
    matrixe2ee_string_free(session_id);
    free(first_identity_key);
    free(one);
    free(two);
    free(three);
    free(content);
    free(again);
    remove_folder(folder, (const char *const[]){"alice", "bob", "carol"}, 3);
    return 0;
}

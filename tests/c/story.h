/* Alice and Bob: accounts, keys on an imaginary server, a channel and a room. */
#ifndef STORY_H
#define STORY_H

#include "test.h"

#define ROOM "!room:example.org"
#define MEGOLM "m.megolm.v1.aes-sha2"

static const uint8_t KEY[32] = {7, 1, 2, 3};

struct person {
    const char *user_id, *device_id;
    matrixe2ee_store *store;
    matrixe2ee_account *account;
    char *device_keys;  /* as the server gives them */
    char *identity_key;
};

/* Opens the account on a store in this file, or in memory if the path is NULL. */
static inline struct person person_open(const char *path, const char *user_id, const char *device_id) {
    struct person person = {user_id, device_id, NULL, NULL, NULL, NULL};
    if (path) OK(matrixe2ee_store_open_sqlite(path, KEY, sizeof KEY, &person.store, &error));
    else OK(matrixe2ee_store_in_memory(KEY, sizeof KEY, &person.store, &error));
    OK(matrixe2ee_account_open(person.store, user_id, device_id, &person.account, &error));
    OK(matrixe2ee_account_device_keys(person.account, &person.device_keys, &error));
    OK(matrixe2ee_account_identity_key(person.account, &person.identity_key, &error));
    return person;
}

/* Releases the handles; shut_down releases the file even if others are still open. */
static inline void person_close(struct person *person) {
    OK(matrixe2ee_store_shut_down(person->store, &error));
    matrixe2ee_account_free(person->account);
    matrixe2ee_store_free(person->store);
    matrixe2ee_string_free(person->device_keys);
    matrixe2ee_string_free(person->identity_key);
}

/* Uploads what the account wants to upload, and gives one of its one-time keys. */
static inline char *upload_keys(const struct person *person) {
    char *body;
    OK(matrixe2ee_account_keys_upload_request(person->account, &body, &error));
    CHECK(body != NULL);
    char *keys = json_value(body, "one_time_keys");
    char *one = json_first_entry(keys);
    OK(matrixe2ee_account_receive_keys_upload_response(
        person->account, 200, "{\"one_time_key_counts\":{\"signed_curve25519\":50}}", &error));
    matrixe2ee_string_free(body);
    free(keys);
    return one;
}

/* Claims a key as over the network: {key_id: key}. */
static inline char *claim_key(const struct person *owner, const char *one_time_key) {
    char *devices = text("{\"%s\":[\"%s\"]}", owner->user_id, owner->device_id);
    char *request, *claimed;
    OK(matrixe2ee_keys_claim_request(devices, 10000, &request, &error));
    char *response = text("{\"failures\":{},\"one_time_keys\":{\"%s\":{\"%s\":%s}}}", owner->user_id,
                          owner->device_id, one_time_key);
    OK(matrixe2ee_read_keys_claim_response(request, response, &claimed, &error));
    char *key = json_value(claimed, owner->device_id);
    CHECK(key != NULL);
    matrixe2ee_string_free(request);
    matrixe2ee_string_free(claimed);
    free(devices);
    free(response);
    return key;
}

/* A new channel from one to the other. */
static inline matrixe2ee_olm_channel *channel_to(const struct person *from, const struct person *to) {
    char *uploaded = upload_keys(to);
    char *key = claim_key(to, uploaded);
    matrixe2ee_olm_channel *channel;
    OK(matrixe2ee_olm_channel_create_outbound_channel(from->account, to->device_keys, key, &channel,
                                                      &error));
    free(uploaded);
    free(key);
    return channel;
}

/* The other end of a channel, from its first message. */
static inline matrixe2ee_olm_channel *channel_from(const struct person *to, const struct person *from,
                                                   const char *content) {
    matrixe2ee_olm_channel *channel;
    OK(matrixe2ee_olm_channel_create_from_encrypted_message(
        to->account, from->user_id, from->identity_key, content, NULL, NULL, &channel, &error));
    return channel;
}

/* The argument of get_session_key_for_sending for a room of these two. */
static inline char *recipients(const struct person *one, const struct person *other) {
    return text("{\"encryption\":{\"algorithm\":\"" MEGOLM "\"},\"history_visibility\":\"shared\","
                "\"members\":{\"%s\":\"join\",\"%s\":\"join\"},"
                "\"device_keys\":{\"%s\":{\"%s\":%s},\"%s\":{\"%s\":%s}}}",
                one->user_id, other->user_id, one->user_id, one->device_id, one->device_keys,
                other->user_id, other->device_id, other->device_keys);
}

/* A room event around the content that a session encrypted. */
static inline char *room_event(const struct person *sender, const char *event_id, const char *content) {
    return text("{\"type\":\"m.room.encrypted\",\"event_id\":\"%s\",\"sender\":\"%s\","
                "\"room_id\":\"" ROOM "\",\"origin_server_ts\":1700000000000,\"content\":%s}",
                event_id, sender->user_id, content);
}

/* Encrypts a message for the room, as an event. */
static inline char *say(const struct person *sender, const matrixe2ee_outbound_megolm_session *session,
                        const char *event_id, const char *words) {
    char *plain = text("{\"msgtype\":\"m.text\",\"body\":\"%s\"}", words);
    char *content;
    OK(matrixe2ee_outbound_megolm_session_encrypt(session, "m.room.message", plain, &content, &error));
    char *event = room_event(sender, event_id, content);
    matrixe2ee_string_free(content);
    free(plain);
    return event;
}

/* Decrypts an event and compares its words. */
static inline void hear(const matrixe2ee_inbound_megolm_session *session, const char *event,
                        const char *words) {
    char *plain;
    OK(matrixe2ee_inbound_megolm_session_decrypt(session, event, &plain, &error));
    char *body = json_string(plain, "body");
    CHECK(strcmp(body, words) == 0);
    matrixe2ee_string_free(plain);
    free(body);
}

#endif

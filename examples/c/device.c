#include "device.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MEGOLM "m.megolm.v1.aes-sha2"

matrixe2ee_error *failure;

void expect(matrixe2ee_status expected, matrixe2ee_status got, const char *call)
{
    if (got != expected) {
        tell("%s answered %s, not %s: %s\n", call, matrixe2ee_status_name(got),
             matrixe2ee_status_name(expected), got ? matrixe2ee_error_message(failure) : "");
        fail(matrixe2ee_status_name(got));
    }
    if (got != MATRIXE2EE_STATUS_OK)
        tell("   refused: %s (%d), \"%s\"\n", matrixe2ee_status_name(got),
             matrixe2ee_error_code(failure), matrixe2ee_error_message(failure));
    matrixe2ee_error_free(failure);
    failure = NULL;
}

void check(int holds, const char *what)
{
    if (!holds) fail(what);
}

json_t *from_text(const char *text)
{
    json_t *value = json_loads(text, 0, NULL);
    check(value != NULL, "the text is JSON");
    return value;
}

json_t *from_library(char *text)
{
    json_t *value = from_text(text);
    matrixe2ee_string_free(text);
    return value;
}

json_t *from_server(char *text)
{
    json_t *value = from_text(text);
    free(text);
    return value;
}

char *to_text(const json_t *value)
{
    /* What is absent is null. */
    char *text = json_dumps(value ? value : json_null(), JSON_COMPACT | JSON_ENCODE_ANY);
    check(text != NULL, "JSON has a text");
    return text;
}

char *used_up(json_t *value)
{
    char *text = to_text(value);
    json_decref(value);
    return text;
}

/* What comes from the server or from another device may be any JSON: it is taken apart with jansson's
 * functions, which give NULL where there is nothing, and the library refuses what does not fit. One
 * bad event is left out; the others are read. */

/* Whether a call went well. If not, says what is left out because of it. */
static int usable(const struct device *device, const char *what, matrixe2ee_status status)
{
    if (status == MATRIXE2EE_STATUS_OK) return 1;
    tell("   %s leaves out %s: %s, \"%s\"\n", device->name, what, matrixe2ee_status_name(status),
         matrixe2ee_error_message(failure));
    matrixe2ee_error_free(failure);
    failure = NULL;
    return 0;
}

/* The text of a field, NULL if there is none. */
static const char *field(const json_t *object, const char *name)
{
    return json_string_value(json_object_get(object, name));
}

const char *string_in(const json_t *object, const char *name)
{
    const char *string = json_string_value(json_object_get(object, name));
    check(string != NULL, name);
    return string;
}

void open_device(struct device *device)
{
    OK(matrixe2ee_store_open_sqlite(device->path, device->store_key, sizeof device->store_key,
                                    &device->store, &failure));
    OK(matrixe2ee_account_open(device->store, device->user_id, device->device_id, &device->account,
                               &failure));
}

void close_device(struct device *device)
{
    OK(matrixe2ee_store_shut_down(device->store, &failure));
    matrixe2ee_account_free(device->account);
    matrixe2ee_store_free(device->store);
    device->account = NULL;
    device->store = NULL;
}

void upload_keys(homeserver *server, const struct device *device)
{
    char *body;
    OK(matrixe2ee_account_keys_upload_request(device->account, &body, &failure));
    if (!body) return;
    char *answer = homeserver_keys_upload(server, device->user_id, device->device_id, body);
    json_t *request = from_library(body);
    matrixe2ee_status taken = matrixe2ee_account_receive_keys_upload_response(device->account, 200,
                                                                              answer, &failure);
    if (usable(device, "the answer to an upload", taken)) /* else the next sync uploads again */
        tell("   %s uploads %sone-time keys: %zu\n", device->name,
             json_object_get(request, "device_keys") ? "the keys of the device, and " : "",
             json_object_size(json_object_get(request, "one_time_keys")));
    json_decref(request);
    free(answer);
}

/* Who is in the room: {user: value}, with the same value for each. */
static json_t *members(homeserver *server, json_t *value)
{
    json_t *answer = from_server(homeserver_joined_members(server));
    json_t *found = json_object();
    const char *user_id;
    json_t *ignored;
    json_object_foreach(json_object_get(answer, "joined"), user_id, ignored) {
        json_object_set(found, user_id, value);
    }
    json_decref(answer);
    json_decref(value);
    return found;
}

json_t *query_devices(homeserver *server)
{
    char *body = used_up(json_pack("{s:o}", "device_keys", members(server, json_array())));
    json_t *answer = from_server(homeserver_keys_query(server, body));
    json_t *devices = json_incref(json_object_get(answer, "device_keys"));
    json_decref(answer);
    free(body);
    return devices ? devices : json_object();
}

char *claim_key(homeserver *server, const struct device *from, const char *user_id,
                const char *device_id)
{
    char *devices = used_up(json_pack("{s:[s]}", user_id, device_id));
    char *request, *read;
    OK(matrixe2ee_keys_claim_request(devices, 10000, &request, &failure));
    char *answer = homeserver_keys_claim(server, request);
    char *text = NULL;
    if (usable(from, "the answer to a claim",
               matrixe2ee_read_keys_claim_response(request, answer, &read, &failure))) {
        json_t *claimed = from_library(read);
        json_t *of_user = json_object_get(json_object_get(claimed, "one_time_keys"), user_id);
        text = to_text(json_object_get(of_user, device_id));
        json_decref(claimed);
    }
    matrixe2ee_string_free(request);
    free(answer);
    free(devices);
    return text;
}

matrixe2ee_olm_channel *channel_to(homeserver *server, const struct device *from,
                                   const json_t *device_keys)
{
    const char *user_id = string_in(device_keys, "user_id");
    const char *device_id = string_in(device_keys, "device_id");
    char key_id[300];
    snprintf(key_id, sizeof key_id, "curve25519:%s", device_id);
    const char *identity_key = string_in(json_object_get(device_keys, "keys"), key_id);
    char *signed_keys = to_text(device_keys);

    matrixe2ee_olm_channel *channel;
    matrixe2ee_status status = matrixe2ee_olm_channel_create_from_storage(
        from->account, user_id, identity_key, &channel, &failure);
    if (status == MATRIXE2EE_STATUS_OK) {
        status = matrixe2ee_olm_channel_set_partner_device_keys(channel, signed_keys, &failure);
    } else if (status == MATRIXE2EE_STATUS_NOT_FOUND) {
        matrixe2ee_error_free(failure);
        char *key = claim_key(server, from, user_id, device_id);
        status = matrixe2ee_olm_channel_create_outbound_channel(from->account, signed_keys, key,
                                                                &channel, &failure);
        if (status == MATRIXE2EE_STATUS_OK)
            tell("   %s claims a one-time key of %s and opens a channel\n", from->name, device_id);
        free(key);
    }
    free(signed_keys);
    if (usable(from, device_id, status)) return channel;
    matrixe2ee_olm_channel_free(channel);
    return NULL;
}

matrixe2ee_outbound_megolm_session *room_session(const struct device *device)
{
    matrixe2ee_outbound_megolm_session *session;
    matrixe2ee_status status = matrixe2ee_outbound_megolm_session_create_from_storage(
        device->account, ROOM, NULL, &session, &failure);
    if (status == MATRIXE2EE_STATUS_OK) return session;
    check(status == MATRIXE2EE_STATUS_NOT_FOUND, "there is no session yet");
    matrixe2ee_error_free(failure);
    OK(matrixe2ee_outbound_megolm_session_create(device->account, ROOM, NULL, &session, &failure));
    tell("   %s makes a session for the room\n", device->name);
    /* The other half, so that the device can read what it has sent itself. */
    matrixe2ee_inbound_megolm_session *own;
    OK(matrixe2ee_inbound_megolm_session_from_outbound_session(session, &own, &failure));
    matrixe2ee_inbound_megolm_session_free(own);
    return session;
}

void share_room_key(homeserver *server, const struct device *device,
                    const matrixe2ee_outbound_megolm_session *session)
{
    char *recipients = used_up(json_pack(
        "{s:{s:s}, s:s, s:o, s:o}", "encryption", "algorithm", MEGOLM, "history_visibility",
        "shared", "members", members(server, json_string("join")), "device_keys",
        query_devices(server)));
    char *text;
    OK(matrixe2ee_outbound_megolm_session_get_session_key_for_sending(session, recipients, &text,
                                                                      &failure));
    json_t *list = from_library(text);
    size_t index;
    json_t *item;
    json_array_foreach(list, index, item) {
        json_t *keys = json_object_get(item, "device");
        const char *user_id = string_in(keys, "user_id");
        /* Absent if nothing that is listed under the user can be read. */
        const char *device_id = json_string_value(json_object_get(keys, "device_id"));
        if (!json_object_get(item, "content")) {
            tell("   %s sends no room key to %s of %s: %s\n", device->name,
                 device_id ? device_id : "any device", user_id,
                 string_in(json_object_get(item, "error"), "detail"));
            continue;
        }
        matrixe2ee_olm_channel *channel = channel_to(server, device, keys);
        if (!channel) continue;
        char *room_key = to_text(json_object_get(item, "content"));
        char *encrypted;
        OK(matrixe2ee_olm_channel_encrypt(channel, "m.room_key", room_key, &encrypted, &failure));
        char *body = used_up(json_pack("{s:{s:{s:o}}}", "messages", user_id, device_id,
                                       from_library(encrypted)));
        homeserver_send_to_device(server, device->user_id, "m.room.encrypted", body);
        char *sent = used_up(json_pack("[O]", keys));
        OK(matrixe2ee_outbound_megolm_session_mark_as_sent(session, sent, &failure));
        tell("   %s sends the room key to %s\n", device->name, device_id);
        matrixe2ee_olm_channel_free(channel);
        matrixe2ee_wipe(room_key, strlen(room_key));
        free(room_key);
        free(body);
        free(sent);
    }
    json_decref(list);
    free(recipients);
}

char *say(homeserver *server, const struct device *device, const char *words)
{
    matrixe2ee_outbound_megolm_session *session = room_session(device);
    share_room_key(server, device, session);
    char *content = used_up(json_pack("{s:s, s:s}", "msgtype", "m.text", "body", words));
    char *encrypted;
    OK(matrixe2ee_outbound_megolm_session_encrypt(session, "m.room.message", content, &encrypted,
                                                  &failure));
    json_t *answer = from_server(
        homeserver_send(server, device->user_id, "m.room.encrypted", encrypted));
    char *event_id = strdup(string_in(answer, "event_id"));
    tell("   %s says in %s: %s\n", device->name, event_id, words);
    json_decref(answer);
    matrixe2ee_string_free(encrypted);
    matrixe2ee_outbound_megolm_session_free(session);
    free(content);
    return event_id;
}

/* Decrypts over the stored channel, or over the one that a first message makes. */
static matrixe2ee_status decrypt_to_device(const struct device *device, const char *sender,
                                           const char *sender_key, const char *encrypted,
                                           char **text)
{
    matrixe2ee_olm_channel *channel;
    matrixe2ee_status status = matrixe2ee_olm_channel_create_from_storage(
        device->account, sender, sender_key, &channel, &failure);
    if (status == MATRIXE2EE_STATUS_OK) {
        status = matrixe2ee_olm_channel_decrypt(channel, encrypted, text, &failure);
    } else if (status == MATRIXE2EE_STATUS_NOT_FOUND) {
        matrixe2ee_error_free(failure);
        status = matrixe2ee_olm_channel_create_from_encrypted_message(
            device->account, sender, sender_key, encrypted, NULL, NULL, &channel, &failure);
        if (status == MATRIXE2EE_STATUS_OK)
            status = matrixe2ee_olm_channel_first_event(channel, text, &failure);
    }
    matrixe2ee_olm_channel_free(channel);
    return status;
}

void receive_to_device(const struct device *device, const json_t *event)
{
    const json_t *content = json_object_get(event, "content");
    const char *sender = field(event, "sender");
    const char *sender_key = field(content, "sender_key");
    char *encrypted = to_text(content);
    char *text;
    if (usable(device, "a to-device event",
               decrypt_to_device(device, sender, sender_key, encrypted, &text))) {
        json_t *plain = from_library(text);
        const char *type = field(plain, "type");
        if (type && strcmp(type, "m.room_key") == 0) {
            char *room_key = to_text(json_object_get(plain, "content"));
            matrixe2ee_inbound_megolm_session *session;
            if (usable(device, "a room key",
                       matrixe2ee_inbound_megolm_session_from_room_key(
                           device->account, sender, sender_key, room_key, &session, &failure)))
                tell("   %s receives a room key from %s\n", device->name, sender);
            matrixe2ee_inbound_megolm_session_free(session);
            matrixe2ee_wipe(room_key, strlen(room_key));
            free(room_key);
        }
        json_decref(plain);
    }
    free(encrypted);
}

matrixe2ee_status session_of(const struct device *device, const json_t *event,
                             matrixe2ee_inbound_megolm_session **session)
{
    const char *session_id = field(json_object_get(event, "content"), "session_id");
    return matrixe2ee_inbound_megolm_session_from_storage(
        device->account, ROOM, session_id, field(event, "sender"), session, &failure);
}

/* Decrypts an event of the room. */
static matrixe2ee_status decrypt(const struct device *device, const json_t *event, char **decrypted)
{
    matrixe2ee_inbound_megolm_session *session;
    matrixe2ee_status status = session_of(device, event, &session);
    if (status != MATRIXE2EE_STATUS_OK) return status;
    char *text = to_text(event);
    status = matrixe2ee_inbound_megolm_session_decrypt(session, text, decrypted, &failure);
    matrixe2ee_inbound_megolm_session_free(session);
    free(text);
    return status;
}

json_t *receive(homeserver *server, const struct device *device)
{
    json_t *answer = from_server(homeserver_sync(server, device->user_id, device->device_id));
    json_t *read = json_array();
    size_t index;
    json_t *event;
    json_array_foreach(json_object_get(json_object_get(answer, "to_device"), "events"), index,
                       event) {
        receive_to_device(device, event);
    }
    json_t *room = json_object_get(
        json_object_get(json_object_get(answer, "rooms"), "join"), ROOM);
    json_array_foreach(json_object_get(json_object_get(room, "timeline"), "events"), index, event) {
        /* A /sync answer leaves the room out of its events. */
        json_object_set_new(event, "room_id", json_string(ROOM));
        char *decrypted;
        if (!usable(device, "an event", decrypt(device, event, &decrypted))) continue;
        json_t *plain = from_library(decrypted);
        const char *words = field(json_object_get(plain, "content"), "body");
        if (words) {
            tell("   %s reads from %s: %s\n", device->name, string_in(event, "sender"), words);
            json_array_append_new(read, json_pack("{s:s, s:s}", "sender",
                                                  string_in(event, "sender"), "words", words));
        }
        json_decref(plain);
    }
    /* How many keys the server still has, so that the account tops them up. */
    json_t *counted = json_object_get(answer, "device_one_time_keys_count");
    json_t *types = json_object_get(answer, "device_unused_fallback_key_types");
    char *counts = counted ? to_text(counted) : strdup("{}");
    char *unused = types ? to_text(types) : NULL;
    usable(device, "the counts of keys",
           matrixe2ee_account_receive_key_counts(device->account, counts, unused, &failure));
    upload_keys(server, device);
    json_decref(answer);
    free(counts);
    free(unused);
    return read;
}

void refuse(const struct device *device, const json_t *event, matrixe2ee_status expected)
{
    matrixe2ee_inbound_megolm_session *session;
    OK(session_of(device, event, &session));
    char *text = to_text(event);
    char *decrypted;
    expect(expected, matrixe2ee_inbound_megolm_session_decrypt(session, text, &decrypted, &failure),
           "decrypt");
    check(decrypted == NULL, "nothing comes out");
    matrixe2ee_inbound_megolm_session_free(session);
    free(text);
}

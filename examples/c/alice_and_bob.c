/*
 * Alice and Bob talk in an encrypted room, each with one device on one SQLite file. The homeserver
 * is a stand-in inside this program (homeserver.h). examples/alice_and_bob.rs is the same program
 * in Rust, line by line.
 *
 *     gcc alice_and_bob.c homeserver.c $(pkg-config --cflags --libs matrixe2ee jansson)
 *
 * The program checks each answer, and ends with 1 if anything is not as it should be.
 */
#include "homeserver.h"

#include <jansson.h>
#include <matrixe2ee.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ROOM HOMESERVER_ROOM
#define MEGOLM "m.megolm.v1.aes-sha2"

struct device {
    const char *name;
    const char *user_id;
    const char *device_id;
    char path[200];
    uint8_t store_key[32]; /* a real program keeps it in the system's key store */
    matrixe2ee_store *store;
    matrixe2ee_account *account;
};

/* Checks: each call of the library stands in OK() or in REFUSED(). */

static matrixe2ee_error *error; /* of the last call */

static void expect(matrixe2ee_status expected, matrixe2ee_status got, const char *call)
{
    if (got != expected) {
        printf("FAILED: %s answered %s, not %s: %s\n", call, matrixe2ee_status_name(got),
               matrixe2ee_status_name(expected), got ? matrixe2ee_error_message(error) : "");
        exit(1);
    }
    if (got != MATRIXE2EE_STATUS_OK)
        printf("   refused: %s (%d), \"%s\"\n", matrixe2ee_status_name(got),
               matrixe2ee_error_code(error), matrixe2ee_error_message(error));
    matrixe2ee_error_free(error);
    error = NULL;
}

#define OK(call) expect(MATRIXE2EE_STATUS_OK, call, #call)
#define REFUSED(status, call) expect(MATRIXE2EE_STATUS_##status, call, #call)

static void check(int holds, const char *what)
{
    if (!holds) {
        printf("FAILED: %s\n", what);
        exit(1);
    }
}

static void step(const char *what)
{
    static int number;
    printf("\n%d. %s\n", ++number, what);
}

/* JSON: text of the library is released with matrixe2ee_string_free(), all other with free(). */

static json_t *from_text(const char *text)
{
    json_t *value = json_loads(text, 0, NULL);
    check(value != NULL, "the text is JSON");
    return value;
}

static json_t *from_library(char *text)
{
    json_t *value = from_text(text);
    matrixe2ee_string_free(text);
    return value;
}

static json_t *from_server(char *text)
{
    json_t *value = from_text(text);
    free(text);
    return value;
}

static char *to_text(const json_t *value)
{
    char *text = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);
    check(text != NULL, "JSON has a text");
    return text;
}

/* The same, for a value that was made for it and is used up. */
static char *used_up(json_t *value)
{
    char *text = to_text(value);
    json_decref(value);
    return text;
}

static const char *string_in(const json_t *object, const char *name)
{
    const char *string = json_string_value(json_object_get(object, name));
    check(string != NULL, name);
    return string;
}

/* Opens the store and the account in it; the first time, both are made. */
static void open_device(struct device *device)
{
    OK(matrixe2ee_store_open_sqlite(device->path, device->store_key, sizeof device->store_key,
                                    &device->store, &error));
    OK(matrixe2ee_account_open(device->store, device->user_id, device->device_id, &device->account,
                               &error));
}

static void close_device(struct device *device)
{
    OK(matrixe2ee_store_shut_down(device->store, &error));
    matrixe2ee_account_free(device->account);
    matrixe2ee_store_free(device->store);
    device->account = NULL;
    device->store = NULL;
}

/* Uploads what the account has to upload, if anything. */
static void upload_keys(homeserver *server, const struct device *device)
{
    char *body;
    OK(matrixe2ee_account_keys_upload_request(device->account, &body, &error));
    if (!body) return;
    char *answer = homeserver_keys_upload(server, device->user_id, device->device_id, body);
    OK(matrixe2ee_account_receive_keys_upload_response(device->account, 200, answer, &error));
    json_t *request = from_library(body);
    printf("   %s uploads %sone-time keys: %zu\n", device->name,
           json_object_get(request, "device_keys") ? "the keys of the device, and " : "",
           json_object_size(json_object_get(request, "one_time_keys")));
    json_decref(request);
    free(answer);
}

/* The devices of both users: {user: {device: device keys}}. */
static json_t *query_devices(homeserver *server)
{
    json_t *answer = from_server(homeserver_keys_query(
        server, "{\"device_keys\": {\"@alice:example.org\": [], \"@bob:example.org\": []}}"));
    json_t *devices = json_incref(json_object_get(answer, "device_keys"));
    json_decref(answer);
    return devices;
}

/* Claims a one-time key of a device: {key_id: key}. */
static char *claim_key(homeserver *server, const char *user_id, const char *device_id)
{
    char *devices = used_up(json_pack("{s:[s]}", user_id, device_id));
    char *request, *read;
    OK(matrixe2ee_keys_claim_request(devices, 10000, &request, &error));
    char *answer = homeserver_keys_claim(server, request);
    OK(matrixe2ee_read_keys_claim_response(request, answer, &read, &error));
    json_t *claimed = from_library(read);
    json_t *of_user = json_object_get(json_object_get(claimed, "one_time_keys"), user_id);
    json_t *key = json_object_get(of_user, device_id);
    check(key != NULL, "the server had a key to claim");
    char *text = to_text(key);
    json_decref(claimed);
    matrixe2ee_string_free(request);
    free(answer);
    free(devices);
    return text;
}

/* The channel to a device: the stored one, or a new one with a key claimed for it. */
static matrixe2ee_olm_channel *channel_to(homeserver *server, const struct device *from,
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
        from->account, user_id, identity_key, &channel, &error);
    if (status == MATRIXE2EE_STATUS_OK) {
        OK(matrixe2ee_olm_channel_set_partner_device_keys(channel, signed_keys, &error));
    } else {
        check(status == MATRIXE2EE_STATUS_NOT_FOUND, "there is no channel yet");
        matrixe2ee_error_free(error);
        char *key = claim_key(server, user_id, device_id);
        OK(matrixe2ee_olm_channel_create_outbound_channel(from->account, signed_keys, key, &channel,
                                                          &error));
        printf("   %s claims a one-time key of %s and opens a channel\n", from->name, device_id);
        free(key);
    }
    free(signed_keys);
    return channel;
}

/* The session that encrypts what this device sends: the stored one, or a new one. */
static matrixe2ee_outbound_megolm_session *room_session(const struct device *device)
{
    matrixe2ee_outbound_megolm_session *session;
    matrixe2ee_status status = matrixe2ee_outbound_megolm_session_create_from_storage(
        device->account, ROOM, NULL, &session, &error);
    if (status == MATRIXE2EE_STATUS_OK) return session;
    check(status == MATRIXE2EE_STATUS_NOT_FOUND, "there is no session yet");
    matrixe2ee_error_free(error);
    OK(matrixe2ee_outbound_megolm_session_create(device->account, ROOM, NULL, &session, &error));
    printf("   %s makes a session for the room\n", device->name);
    /* The other half, so that the device can read what it has sent itself. */
    matrixe2ee_inbound_megolm_session *own;
    OK(matrixe2ee_inbound_megolm_session_from_outbound_session(session, &own, &error));
    matrixe2ee_inbound_megolm_session_free(own);
    return session;
}

/* Sends the room key to each device that lacks it, over its channel. (A real program makes a new
 * session when this answers SESSION_EXPIRED.) */
static void share_room_key(homeserver *server, const struct device *device,
                           const matrixe2ee_outbound_megolm_session *session)
{
    char *recipients = used_up(json_pack(
        "{s:{s:s}, s:s, s:{s:s, s:s}, s:o}", "encryption", "algorithm", MEGOLM,
        "history_visibility", "shared", "members", "@alice:example.org", "join", "@bob:example.org",
        "join", "device_keys", query_devices(server)));
    char *text;
    OK(matrixe2ee_outbound_megolm_session_get_session_key_for_sending(session, recipients, &text,
                                                                      &error));
    json_t *list = from_library(text);
    size_t index;
    json_t *item;
    json_array_foreach(list, index, item) {
        json_t *keys = json_object_get(item, "device");
        const char *user_id = string_in(keys, "user_id");
        const char *device_id = string_in(keys, "device_id");
        matrixe2ee_olm_channel *channel = channel_to(server, device, keys);
        char *room_key = to_text(json_object_get(item, "content"));
        char *encrypted;
        OK(matrixe2ee_olm_channel_encrypt(channel, "m.room_key", room_key, &encrypted, &error));
        char *body = used_up(json_pack("{s:{s:{s:o}}}", "messages", user_id, device_id,
                                       from_library(encrypted)));
        homeserver_send_to_device(server, device->user_id, "m.room.encrypted", body);
        char *sent = used_up(json_pack("[O]", keys));
        OK(matrixe2ee_outbound_megolm_session_mark_as_sent(session, sent, &error));
        printf("   %s sends the room key to %s\n", device->name, device_id);
        matrixe2ee_olm_channel_free(channel);
        matrixe2ee_wipe(room_key, strlen(room_key));
        free(room_key);
        free(body);
        free(sent);
    }
    json_decref(list);
    free(recipients);
}

/* Sends words to the room; gives the event's ID. */
static char *say(homeserver *server, const struct device *device, const char *words)
{
    matrixe2ee_outbound_megolm_session *session = room_session(device);
    share_room_key(server, device, session);
    char *content = used_up(json_pack("{s:s, s:s}", "msgtype", "m.text", "body", words));
    char *encrypted;
    OK(matrixe2ee_outbound_megolm_session_encrypt(session, "m.room.message", content, &encrypted,
                                                  &error));
    json_t *answer = from_server(
        homeserver_send(server, device->user_id, "m.room.encrypted", encrypted));
    char *event_id = strdup(string_in(answer, "event_id"));
    printf("   %s says in %s: %s\n", device->name, event_id, words);
    json_decref(answer);
    matrixe2ee_string_free(encrypted);
    matrixe2ee_outbound_megolm_session_free(session);
    free(content);
    return event_id;
}

/* Decrypts a to-device event. If it is a room key, it is stored before anything else is done. */
static void receive_to_device(const struct device *device, const json_t *event)
{
    const json_t *content = json_object_get(event, "content");
    const char *sender = string_in(event, "sender");
    const char *sender_key = string_in(content, "sender_key");
    char *encrypted = to_text(content);
    matrixe2ee_olm_channel *channel;
    char *text;
    matrixe2ee_status status = matrixe2ee_olm_channel_create_from_storage(
        device->account, sender, sender_key, &channel, &error);
    if (status == MATRIXE2EE_STATUS_OK) {
        OK(matrixe2ee_olm_channel_decrypt(channel, encrypted, &text, &error));
    } else {
        check(status == MATRIXE2EE_STATUS_NOT_FOUND, "there is no channel yet");
        matrixe2ee_error_free(error);
        OK(matrixe2ee_olm_channel_create_from_encrypted_message(
            device->account, sender, sender_key, encrypted, NULL, NULL, &channel, &error));
        OK(matrixe2ee_olm_channel_first_event(channel, &text, &error));
    }
    json_t *plain = from_library(text);
    if (strcmp(string_in(plain, "type"), "m.room_key") == 0) {
        char *room_key = to_text(json_object_get(plain, "content"));
        matrixe2ee_inbound_megolm_session *session;
        OK(matrixe2ee_inbound_megolm_session_from_room_key(device->account, sender, sender_key,
                                                           room_key, &session, &error));
        printf("   %s receives a room key from %s\n", device->name, sender);
        matrixe2ee_inbound_megolm_session_free(session);
        matrixe2ee_wipe(room_key, strlen(room_key));
        free(room_key);
    }
    json_decref(plain);
    matrixe2ee_olm_channel_free(channel);
    free(encrypted);
}

/* The session that decrypts this event. */
static matrixe2ee_inbound_megolm_session *session_of(const struct device *device,
                                                     const json_t *event)
{
    const char *session_id = string_in(json_object_get(event, "content"), "session_id");
    matrixe2ee_inbound_megolm_session *session;
    OK(matrixe2ee_inbound_megolm_session_from_storage(
        device->account, ROOM, session_id, string_in(event, "sender"), &session, &error));
    return session;
}

/* Takes an answer to /sync, which has to bring these messages (a list that ends with NULL). */
static void receive(homeserver *server, const struct device *device, const char *const *expected)
{
    json_t *answer = from_server(homeserver_sync(server, device->user_id, device->device_id));
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
        matrixe2ee_inbound_megolm_session *session = session_of(device, event);
        char *text = to_text(event);
        char *decrypted;
        OK(matrixe2ee_inbound_megolm_session_decrypt(session, text, &decrypted, &error));
        json_t *plain = from_library(decrypted);
        const char *words = string_in(json_object_get(plain, "content"), "body");
        printf("   %s reads from %s: %s\n", device->name, string_in(event, "sender"), words);
        check(*expected && strcmp(words, *expected++) == 0, "it is what was said");
        json_decref(plain);
        matrixe2ee_inbound_megolm_session_free(session);
        free(text);
    }
    check(*expected == NULL, "all that was said has come");
    /* How many keys the server still has, so that the account tops them up. */
    char *counts = to_text(json_object_get(answer, "device_one_time_keys_count"));
    char *unused = to_text(json_object_get(answer, "device_unused_fallback_key_types"));
    OK(matrixe2ee_account_receive_key_counts(device->account, counts, unused, &error));
    upload_keys(server, device);
    json_decref(answer);
    free(counts);
    free(unused);
}

/* Takes an event that the library has to refuse. */
static void refuse(const struct device *device, const json_t *event, matrixe2ee_status expected)
{
    matrixe2ee_inbound_megolm_session *session = session_of(device, event);
    char *text = to_text(event);
    char *decrypted;
    expect(expected, matrixe2ee_inbound_megolm_session_decrypt(session, text, &decrypted, &error),
           "decrypt");
    check(decrypted == NULL, "nothing comes out");
    matrixe2ee_inbound_megolm_session_free(session);
    free(text);
}

static struct device new_device(const char *folder, const char *name, const char *user_id,
                                const char *device_id)
{
    struct device device = {.name = name, .user_id = user_id, .device_id = device_id};
    snprintf(device.path, sizeof device.path, "%s/%s.sqlite", folder, name);
    FILE *random = fopen("/dev/urandom", "rb");
    check(random && fread(device.store_key, sizeof device.store_key, 1, random) == 1,
          "random bytes for the key of the store");
    fclose(random);
    return device;
}

static void remove_files(const struct device *device)
{
    char lock[220];
    snprintf(lock, sizeof lock, "%s-lock", device->path);
    check(remove(device->path) == 0 && remove(lock) == 0, "the files were there");
}

int main(void)
{
    check(matrixe2ee_abi_version() == MATRIXE2EE_ABI_VERSION, "header and library fit");
    printf("matrixe2ee %s, from C\n", matrixe2ee_version());
    homeserver *server = homeserver_new();
    char folder[] = P_tmpdir "/alice_and_bob_XXXXXX";
    check(mkdtemp(folder) != NULL, "a folder for the stores");
    struct device alice = new_device(folder, "Alice", "@alice:example.org", "ALICEPHONE");
    struct device bob = new_device(folder, "Bob", "@bob:example.org", "BOBPHONE");

    step("Both make an account and upload its public keys");
    open_device(&alice);
    open_device(&bob);
    upload_keys(server, &alice);
    upload_keys(server, &bob);

    step("Alice writes to the room; Bob reads");
    char *first = say(server, &alice, "Hello Bob!");
    char *second = say(server, &alice, "Can you read this?");
    receive(server, &bob, (const char *[]){"Hello Bob!", "Can you read this?", NULL});

    step("Both programs end, and start again from their files");
    close_device(&alice);
    close_device(&bob);
    open_device(&alice);
    open_device(&bob);

    step("Bob answers in a session of his own; Alice goes on in hers");
    char *third = say(server, &bob, "Yes, every word.");
    char *fourth = say(server, &alice, "Even after a restart.");
    receive(server, &alice, (const char *[]){"Hello Bob!", "Can you read this?", "Yes, every word.",
                                             "Even after a restart.", NULL});
    receive(server, &bob, (const char *[]){"Yes, every word.", "Even after a restart.", NULL});

    step("Somebody changes one letter of a ciphertext");
    json_t *tampered = from_server(homeserver_event(server, fourth));
    json_t *content = json_object_get(tampered, "content");
    char *ciphertext = strdup(string_in(content, "ciphertext"));
    ciphertext[20] = ciphertext[20] == 'A' ? 'B' : 'A';
    json_object_set_new(content, "ciphertext", json_string(ciphertext));
    refuse(&bob, tampered, MATRIXE2EE_STATUS_UNABLE_TO_DECRYPT);
    json_decref(tampered);
    free(ciphertext);

    step("The server delivers an old message again, as a new event");
    json_t *replayed = from_server(homeserver_event(server, second));
    json_object_set_new(replayed, "event_id", json_string("$another"));
    refuse(&bob, replayed, MATRIXE2EE_STATUS_REPLAY);
    json_decref(replayed);

    step("The server delivers to Bob's laptop what was meant for his phone");
    struct device laptop = new_device(folder, "Bob's laptop", bob.user_id, "BOBLAPTOP");
    OK(matrixe2ee_store_in_memory(laptop.store_key, sizeof laptop.store_key, &laptop.store,
                                  &error));
    OK(matrixe2ee_account_open(laptop.store, laptop.user_id, laptop.device_id, &laptop.account,
                               &error));
    json_t *devices = query_devices(server);
    matrixe2ee_olm_channel *channel = channel_to(
        server, &alice, json_object_get(json_object_get(devices, bob.user_id), bob.device_id));
    char *for_phone, *alice_key;
    OK(matrixe2ee_olm_channel_encrypt(channel, "m.dummy", "{}", &for_phone, &error));
    OK(matrixe2ee_account_identity_key(alice.account, &alice_key, &error));
    matrixe2ee_olm_channel *none;
    REFUSED(NOT_ENCRYPTED_FOR_US,
            matrixe2ee_olm_channel_create_from_encrypted_message(
                laptop.account, alice.user_id, alice_key, for_phone, NULL, NULL, &none, &error));
    check(none == NULL, "nothing comes out");
    matrixe2ee_string_free(for_phone);
    matrixe2ee_string_free(alice_key);
    matrixe2ee_olm_channel_free(channel);
    close_device(&laptop);
    json_decref(devices);

    printf("\nAll is as it should be.\n");
    close_device(&alice);
    close_device(&bob);
    remove_files(&alice);
    remove_files(&bob);
    check(rmdir(folder) == 0, "the folder is empty");
    matrixe2ee_wipe(&alice, sizeof alice);
    matrixe2ee_wipe(&bob, sizeof bob);
    matrixe2ee_wipe(&laptop, sizeof laptop);
    free(first);
    free(second);
    free(third);
    free(fourth);
    homeserver_free(server);
    return 0;
}

/*
 * Alice and Bob talk in an encrypted room, each with one device on one SQLite file. What a device
 * does is in device.c; the homeserver is a stand-in inside this program (homeserver.c).
 * examples/rust, examples/cpp and the others hold the same program, line by line.
 *
 *     gcc alice_and_bob.c device.c homeserver.c $(pkg-config --cflags --libs matrixe2ee jansson)
 *
 * The program checks each answer, and ends with 1 if anything is not as it should be.
 */
#include "device.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void tell(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vprintf(format, arguments);
    va_end(arguments);
}

void fail(const char *what)
{
    printf("FAILED: %s\n", what);
    exit(1);
}

static void step(const char *what)
{
    static int number;
    tell("\n%d. %s\n", ++number, what);
}

static const char *no_messages[] = {
    "{}",
    "{\"algorithm\":\"m.olm.v1.curve25519-aes-sha2\",\"sender_key\":null,\"ciphertext\":{}}",
    "{\"algorithm\":\"m.olm.v1.curve25519-aes-sha2\",\"sender_key\":\"AAAA\",\"ciphertext\":[1]}",
    "{\"algorithm\":\"m.megolm.v1.aes-sha2\",\"session_id\":5,\"ciphertext\":null}",
    "{\"algorithm\":\"m.megolm.v1.aes-sha2\",\"session_id\":\"AAAA\",\"ciphertext\":\"AAAA\"}",
};

/* What receive() gives for words of this device. */
static json_t *said(const struct device *device, const char *words)
{
    return json_pack("{s:s, s:s}", "sender", device->user_id, "words", words);
}

static void was_read(json_t *read, json_t *expected)
{
    check(json_equal(read, expected), "what was read is what was said");
    json_decref(read);
    json_decref(expected);
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
    char lock[1010];
    snprintf(lock, sizeof lock, "%s-lock", device->path);
    check(remove(device->path) == 0 && remove(lock) == 0, "the files were there");
}

int main(void)
{
    check(matrixe2ee_abi_version() == MATRIXE2EE_ABI_VERSION, "header and library fit");
    tell("matrixe2ee %s, from C\n", matrixe2ee_version());
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
    was_read(receive(server, &bob), json_pack("[o, o]", said(&alice, "Hello Bob!"),
                                              said(&alice, "Can you read this?")));

    step("Both programs end, and start again from their files");
    close_device(&alice);
    close_device(&bob);
    open_device(&alice);
    open_device(&bob);

    step("Bob answers in a session of his own; Alice goes on in hers");
    char *third = say(server, &bob, "Yes, every word.");
    char *fourth = say(server, &alice, "Even after a restart.");
    was_read(receive(server, &alice),
             json_pack("[o, o, o, o]", said(&alice, "Hello Bob!"),
                       said(&alice, "Can you read this?"), said(&bob, "Yes, every word."),
                       said(&alice, "Even after a restart.")));
    was_read(receive(server, &bob), json_pack("[o, o]", said(&bob, "Yes, every word."),
                                              said(&alice, "Even after a restart.")));

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
                                  &failure));
    OK(matrixe2ee_account_open(laptop.store, laptop.user_id, laptop.device_id, &laptop.account,
                               &failure));
    json_t *devices = query_devices(server);
    matrixe2ee_olm_channel *channel = channel_to(
        server, &alice, json_object_get(json_object_get(devices, bob.user_id), bob.device_id));
    char *for_phone, *alice_key;
    OK(matrixe2ee_olm_channel_encrypt(channel, "m.dummy", "{}", &for_phone, &failure));
    OK(matrixe2ee_account_identity_key(alice.account, &alice_key, &failure));
    matrixe2ee_olm_channel *none;
    REFUSED(NOT_ENCRYPTED_FOR_US,
            matrixe2ee_olm_channel_create_from_encrypted_message(
                laptop.account, alice.user_id, alice_key, for_phone, NULL, NULL, &none, &failure));
    check(none == NULL, "nothing comes out");
    matrixe2ee_string_free(for_phone);
    matrixe2ee_string_free(alice_key);
    matrixe2ee_olm_channel_free(channel);
    close_device(&laptop);
    json_decref(devices);

    step("A stranger sends what is no message; Bob's program goes on");
    for (size_t n = 0; n < sizeof no_messages / sizeof *no_messages; n++) {
        char *body = used_up(json_pack("{s:{s:{s:o}}}", "messages", bob.user_id, bob.device_id,
                                       from_text(no_messages[n])));
        homeserver_send_to_device(server, "@mallory:example.org", "m.room.encrypted", body);
        free(homeserver_send(server, "@mallory:example.org", "m.room.encrypted", no_messages[n]));
        free(body);
    }
    free(say(server, &alice, "Still there?"));
    was_read(receive(server, &bob), json_pack("[o]", said(&alice, "Still there?")));

    tell("\nAll is as it should be.\n");
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

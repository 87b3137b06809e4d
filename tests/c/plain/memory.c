/* Keys and plaintexts leave no copy in memory once everything is freed and shut down: the program looks
 * for them in all of its memory. That is not possible under valgrind or sanitizers, so it runs without. */
#define _GNU_SOURCE
#include "../story.h"

#include <sys/random.h>

/* The secrets, each byte changed so that they do not find themselves. */
#define MASK 0x5a
static struct {
    const char *name;
    unsigned char *bytes;
    size_t length;
} secrets[16];
static size_t secret_count;

static void add_secret(const char *name, const void *bytes, size_t length) {
    CHECK(secret_count < sizeof secrets / sizeof *secrets);
    secrets[secret_count].name = name;
    secrets[secret_count].length = length;
    secrets[secret_count].bytes = malloc(length);
    for (size_t i = 0; i < length; i++)
        secrets[secret_count].bytes[i] = ((const volatile unsigned char *)bytes)[i] ^ MASK;
    secret_count++;
}

static int is_secret(const unsigned char *at, size_t which) {
    size_t i = 0;
    while (i < secrets[which].length && (at[i] ^ MASK) == secrets[which].bytes[i]) i++;
    return i == secrets[which].length;
}

/* How often each secret is in what this process can write to: heaps, stacks, data. */
static size_t copies[16];

static size_t count_copies(const char *when) {
    char line[512], access[8];
    unsigned long from, to;
    size_t all = 0;
    memset(copies, 0, sizeof copies);
    FILE *maps = fopen("/proc/self/maps", "r");
    CHECK(maps != NULL);
    while (fgets(line, sizeof line, maps)) {
        if (sscanf(line, "%lx-%lx %7s", &from, &to, access) != 3 || strncmp(access, "rw", 2) != 0) continue;
        for (size_t which = 0; which < secret_count; which++)
            for (const unsigned char *at = (const unsigned char *)from;
                 at + secrets[which].length <= (const unsigned char *)to; at++)
                if (is_secret(at, which)) copies[which]++, all++;
    }
    fclose(maps);
    printf("%s:", when);
    for (size_t which = 0; which < secret_count; which++)
        printf(" %s %zu", secrets[which].name, copies[which]);
    printf("\n");
    return all;
}

static const char *session_key_in(const char *json) {
    const char *found = strstr(json, "\"session_key\":\"");
    CHECK(found != NULL);
    return found + strlen("\"session_key\":\"");
}

/* A part of a session key's ratchet, as base64 and as it is. */
enum { FIRST_PART = 8, LAST_PART = 136, PART = 40 };

static void add_session_key(const char *name, const char *json, size_t part) {
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const char *key = session_key_in(json) + part;
    unsigned char raw[PART / 4 * 3];
    for (size_t i = 0; i < PART / 4; i++) {
        unsigned bits = 0;
        for (size_t j = 0; j < 4; j++) bits = bits << 6 | (unsigned)(strchr(digits, key[4 * i + j]) - digits);
        raw[3 * i] = (unsigned char)(bits >> 16);
        raw[3 * i + 1] = (unsigned char)(bits >> 8);
        raw[3 * i + 2] = (unsigned char)bits;
    }
    add_secret(name, key, PART);
    add_secret("(raw)", raw, sizeof raw);
    matrixe2ee_wipe(raw, sizeof raw);
}

/* The object after "content": inside a text of the library's, which it ends there. */
static char *content_in(char *json) {
    char *found = strstr(json, "\"content\":{");
    CHECK(found != NULL);
    char *content = found + strlen("\"content\":");
    *(char *)json_end(content) = '\0';
    return content;
}

static struct person open_with_own_key(const char *path, const char *user_id, const char *device_id,
                                       const char *name) {
    struct person person = {user_id, device_id, NULL, NULL, NULL, NULL};
    uint8_t key[32];
    CHECK(getrandom(key, sizeof key, 0) == sizeof key);
    add_secret(name, key, sizeof key);
    if (path) OK(matrixe2ee_store_open_sqlite(path, key, sizeof key, &person.store, &error));
    else OK(matrixe2ee_store_in_memory(key, sizeof key, &person.store, &error));
    matrixe2ee_wipe(key, sizeof key);
    OK(matrixe2ee_account_open(person.store, user_id, device_id, &person.account, &error));
    OK(matrixe2ee_account_device_keys(person.account, &person.device_keys, &error));
    OK(matrixe2ee_account_identity_key(person.account, &person.identity_key, &error));
    return person;
}

static struct person alice, bob;

/* A room key arrives over Olm, and is stored; once more with an escape in it, and twice damaged. */
static matrixe2ee_inbound_megolm_session *receive(char *event) {
    static char changed[2000];
    char *content = content_in(event);
    matrixe2ee_inbound_megolm_session *session, *again;
    OK(matrixe2ee_inbound_megolm_session_from_room_key(bob.account, alice.user_id, alice.identity_key,
                                                       content, &session, &error));
    const char *key = session_key_in(content);
    CHECK(strlen(content) + 10 < sizeof changed);
    int length = snprintf(changed, sizeof changed, "%.*s\\u%04x%s", (int)(key - content), content, *key, key + 1);
    OK(matrixe2ee_inbound_megolm_session_from_room_key(bob.account, alice.user_id, alice.identity_key,
                                                       changed, &again, &error));
    matrixe2ee_inbound_megolm_session_free(again);
    changed[length - 1] = ' ';
    FAILS(INVALID_JSON, matrixe2ee_inbound_megolm_session_from_room_key(
                            bob.account, alice.user_id, alice.identity_key, changed, &again, &error));
    snprintf(changed, sizeof changed, "%.*s*%s", (int)(key - content), content, key + 1);
    FAILS(INVALID_KEY, matrixe2ee_inbound_megolm_session_from_room_key(
                           bob.account, alice.user_id, alice.identity_key, changed, &again, &error));
    matrixe2ee_wipe(changed, sizeof changed);
    matrixe2ee_string_free(event);
    return session;
}

/* A plaintext that is drawn anew, so that it stands nowhere in the program. */
static void draw_plaintext(char *plaintext, size_t size, const char *name) {
    unsigned char random[24];
    CHECK(getrandom(random, sizeof random, 0) == sizeof random);
    int length = snprintf(plaintext, size, "{\"body\":\"");
    for (size_t i = 0; i < sizeof random; i++)
        length += snprintf(plaintext + length, size - (size_t)length, "%02x", random[i]);
    snprintf(plaintext + length, size - (size_t)length, "\"}");
    add_secret(name, strchr(plaintext, ':') + 2, 48);
}

/* Messages that are sent and read one by one and many at once, on all cores. */
static void talk(const matrixe2ee_outbound_megolm_session *sending,
                 const matrixe2ee_inbound_megolm_session *receiving) {
    enum { MANY = 90 };
    char plaintext[128], *content, *plain;
    draw_plaintext(plaintext, sizeof plaintext, "message");
    size_t capacity = MANY * 1000, length = 1;
    char *events = malloc(capacity);
    CHECK(events != NULL);
    strcpy(events, "[");
    for (int i = 0; i < MANY; i++) {
        OK(matrixe2ee_outbound_megolm_session_encrypt(sending, "m", plaintext, &content, &error));
        char *id = text("$%d", i);
        char *event = room_event(&alice, id, content);
        if (i == 0) {
            OK(matrixe2ee_inbound_megolm_session_decrypt(receiving, event, &plain, &error));
            matrixe2ee_string_free(plain);
        }
        length += (size_t)snprintf(events + length, capacity - length, "%s%s", i ? "," : "", event);
        CHECK(length + 2 < capacity);
        matrixe2ee_string_free(content);
        free(event);
        free(id);
    }
    strcpy(events + length, "]");
    OK(matrixe2ee_inbound_megolm_session_decrypt_many(receiving, events, &plain, &error));
    matrixe2ee_string_free(plain);
    OK(matrixe2ee_account_decrypt_room_events(bob.account, events, &plain, &error));
    matrixe2ee_string_free(plain);
    free(events);
    matrixe2ee_wipe(plaintext, sizeof plaintext);
}

/* A to-device event that says something else than a key. */
static void whisper(const matrixe2ee_olm_channel *to, const matrixe2ee_olm_channel *from) {
    char plaintext[128], *content, *plain;
    draw_plaintext(plaintext, sizeof plaintext, "to-device");
    OK(matrixe2ee_olm_channel_encrypt(to, "m.secret.send", plaintext, &content, &error));
    OK(matrixe2ee_olm_channel_decrypt(from, content, &plain, &error));
    matrixe2ee_string_free(content);
    matrixe2ee_string_free(plain);
    matrixe2ee_wipe(plaintext, sizeof plaintext);
}

static void the_story(const char *path) {
    alice = open_with_own_key(path, "@alice:example.org", "ALICE", "Alice's store");
    bob = open_with_own_key(NULL, "@bob:example.org", "BOB", "Bob's store");
    matrixe2ee_olm_channel *to_bob = channel_to(&alice, &bob);
    matrixe2ee_outbound_megolm_session *sending;
    OK(matrixe2ee_outbound_megolm_session_create(alice.account, ROOM, NULL, &sending, &error));
    char *list = recipients(&alice, &bob), *keys, *content, *event, *data;
    OK(matrixe2ee_outbound_megolm_session_get_session_key_for_sending(sending, list, &keys, &error));
    free(list);
    add_session_key("room key", keys, FIRST_PART);
    char *room_key = content_in(keys);

    /* The channel's first message and a later one. */
    OK(matrixe2ee_olm_channel_encrypt(to_bob, "m.room_key", room_key, &content, &error));
    matrixe2ee_olm_channel *from_alice = channel_from(&bob, &alice, content);
    matrixe2ee_string_free(content);
    OK(matrixe2ee_olm_channel_first_event(from_alice, &event, &error));
    matrixe2ee_inbound_megolm_session *receiving = receive(event);
    OK(matrixe2ee_olm_channel_encrypt(to_bob, "m.room_key", room_key, &content, &error));
    OK(matrixe2ee_olm_channel_decrypt(from_alice, content, &event, &error));
    matrixe2ee_string_free(content);
    matrixe2ee_inbound_megolm_session_free(receive(event));
    matrixe2ee_string_free(keys);

    whisper(to_bob, from_alice);
    talk(sending, receiving);

    /* An export at a later index has another last part. */
    matrixe2ee_inbound_megolm_session *again;
    OK(matrixe2ee_inbound_megolm_session_export_at(receiving, 3, &data, &error));
    add_session_key("export", data, LAST_PART);
    OK(matrixe2ee_inbound_megolm_session_from_export(bob.account, data, NULL, &again, &error));
    matrixe2ee_string_free(data);

    /* What is looked for is found while it has to be there. */
    CHECK(count_copies("open") > 0);
    matrixe2ee_inbound_megolm_session_free(again);
    matrixe2ee_inbound_megolm_session_free(receiving);
    matrixe2ee_outbound_megolm_session_free(sending);
    matrixe2ee_olm_channel_free(from_alice);
    matrixe2ee_olm_channel_free(to_bob);
    person_close(&bob);
    person_close(&alice);
    CHECK(count_copies("shut down") == 0); /* SEC-108 */
    while (secret_count > 0) free(secrets[--secret_count].bytes);
}

int main(void) {
    setvbuf(stdout, NULL, _IONBF, 0);
    char *folder = new_folder();
    char *path = text("%s/alice", folder);
    the_story(NULL);
    the_story(path);
    free(path);
    remove_folder(folder, (const char *const[]){"alice"}, 1);
    return 0;
}

/* The binary as it is shipped rejects what is forged: every part of a message, of signed device
 * keys and of a one-time key is altered in turn, each with the error that a forgery must have, and
 * the genuine one is accepted afterwards. (SEC-107: nothing was built with checks turned off.) */
#include "story.h"

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

static uint8_t bytes[8192];
static size_t length;

static void decode(const char *base64) {
    uint32_t bits = 0;
    int count = 0;
    length = 0;
    for (; *base64 && *base64 != '='; base64++) {
        const char *found = strchr(alphabet, *base64);
        CHECK(found != NULL && length < sizeof bytes);
        bits = bits << 6 | (uint32_t)(found - alphabet), count += 6;
        if (count >= 8) count -= 8, bytes[length++] = (uint8_t)(bits >> count);
    }
}

static char *encode(void) {
    char *base64 = malloc(length * 4 / 3 + 3), *end = base64;
    uint32_t bits = 0;
    int count = 0;
    CHECK(base64 != NULL);
    for (size_t i = 0; i < length; i++) {
        bits = bits << 8 | bytes[i], count += 8;
        while (count >= 6) count -= 6, *end++ = alphabet[bits >> count & 63];
    }
    if (count > 0) *end++ = alphabet[bits << (6 - count) & 63];
    *end = '\0';
    return base64;
}

/* The text with the first occurrence of a part exchanged. */
static char *exchange(const char *whole, const char *part, const char *other) {
    const char *found = strstr(whole, part);
    CHECK(found != NULL);
    return text("%.*s%s%s", (int)(found - whole), whole, other, found + strlen(part));
}

/* The text with one bit of a base64 part flipped. */
static char *flipped(const char *whole, const char *base64, size_t at, int bit) {
    decode(base64);
    CHECK(at < length);
    bytes[at] ^= (uint8_t)(1 << bit);
    char *altered = encode();
    char *result = exchange(whole, base64, altered);
    free(altered);
    return result;
}

/* One field of a message: where its contents are, and what an altered one must be answered with. */
struct part {
    const char *name;
    size_t start, end;
    matrixe2ee_status expected;
};

/* Where the field of this tag is in the message from `start` on: its contents. */
static size_t field(uint8_t tag, size_t start, size_t *end) {
    size_t at = start;
    while (at < length) {
        uint8_t found = bytes[at++];
        size_t value = 0;
        for (int shift = 0;; shift += 7) {
            CHECK(at < length);
            value |= (size_t)(bytes[at] & 0x7f) << shift;
            if (!(bytes[at++] & 0x80)) break;
        }
        int has_bytes = (found & 7) == 2;
        if (found == tag) {
            *end = has_bytes ? at + value : at;
            return has_bytes ? at : at - 1;
        }
        if (has_bytes) at += value;
    }
    CHECK(!"the message has that field");
    return 0;
}

/* Calls `rejects` with each bit of the part's first, middle and last byte flipped. */
static void alter(const struct part *part, const char *whole, const char *base64,
                  void (*rejects)(const char *altered, matrixe2ee_status expected)) {
    size_t places[] = {part->start, (part->start + part->end - 1) / 2, part->end - 1};
    CHECK(part->start < part->end);
    for (size_t i = 0; i < 3; i++)
        for (int bit = 0; bit < 8; bit++) {
            char *altered = flipped(whole, base64, places[i], bit);
            rejects(altered, part->expected);
            free(altered);
        }
}

static struct person alice, bob;
static matrixe2ee_olm_channel *to_bob, *from_alice;
static matrixe2ee_inbound_megolm_session *receiving;

static void rejects_first(const char *content, matrixe2ee_status expected) {
    matrixe2ee_olm_channel *channel = (matrixe2ee_olm_channel *)1;
    EXPECT(expected, matrixe2ee_olm_channel_create_from_encrypted_message(
                         bob.account, alice.user_id, alice.identity_key, content, NULL, NULL, &channel,
                         &error));
    CHECK(channel == NULL);
}

static void rejects_message(const char *content, matrixe2ee_status expected) {
    char *plain = (char *)1;
    EXPECT(expected, matrixe2ee_olm_channel_decrypt(from_alice, content, &plain, &error));
    CHECK(plain == NULL);
}

static void rejects_event(const char *event, matrixe2ee_status expected) {
    char *plain = (char *)1;
    EXPECT(expected, matrixe2ee_inbound_megolm_session_decrypt(receiving, event, &plain, &error));
    CHECK(plain == NULL);
}

#define UNABLE MATRIXE2EE_STATUS_UNABLE_TO_DECRYPT

/* An Olm message inside `start` and `end`: version, ratchet key, chain index, ciphertext, MAC. */
static void alter_olm(size_t start, size_t end, const char *content, const char *body,
                      void (*rejects)(const char *, matrixe2ee_status)) {
    struct part parts[] = {
        {"version", start, start + 1, UNABLE},  {"ratchet key", 0, 0, UNABLE},
        {"chain index", 0, 0, UNABLE},          {"ciphertext", 0, 0, UNABLE},
        {"MAC", end - 8, end, UNABLE},
    };
    const uint8_t tags[] = {0x0a, 0x10, 0x22};
    for (size_t i = 0; i < 3; i++) {
        decode(body);
        length = end - 8;
        parts[i + 1].start = field(tags[i], start + 1, &parts[i + 1].end);
    }
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) alter(&parts[i], content, body, rejects);
}

static void olm_messages(void) {
    char *first, *content, *plain;
    to_bob = channel_to(&alice, &bob);
    OK(matrixe2ee_olm_channel_encrypt(to_bob, "a", "{\"n\":1}", &first, &error));
    char *body = json_string(first, "body");
    decode(body);
    struct part parts[] = {
        {"version", 0, 1, UNABLE},
        {"one-time key", 0, 0, UNABLE},
        {"base key", 0, 0, UNABLE},
        {"identity key", 0, 0, UNABLE},
    };
    const uint8_t tags[] = {0x0a, 0x12, 0x1a};
    for (size_t i = 0; i < 3; i++) parts[i + 1].start = field(tags[i], 1, &parts[i + 1].end);
    size_t end, start = field(0x22, 1, &end);
    for (size_t i = 0; i < 4; i++) alter(&parts[i], first, body, rejects_first);
    alter_olm(start, end, first, body, rejects_first);
    from_alice = channel_from(&bob, &alice, first);
    OK(matrixe2ee_olm_channel_first_event(from_alice, &plain, &error));
    CHECK(strstr(plain, "{\"n\":1}"));
    matrixe2ee_string_free(plain);
    matrixe2ee_string_free(first);
    free(body);

    /* An answer makes the next one a normal message. */
    OK(matrixe2ee_olm_channel_encrypt(from_alice, "a", "{}", &content, &error));
    OK(matrixe2ee_olm_channel_decrypt(to_bob, content, &plain, &error));
    matrixe2ee_string_free(content);
    matrixe2ee_string_free(plain);
    OK(matrixe2ee_olm_channel_encrypt(to_bob, "a", "{\"n\":2}", &content, &error));
    body = json_string(content, "body");
    decode(body);
    alter_olm(0, length, content, body, rejects_message);
    OK(matrixe2ee_olm_channel_decrypt(from_alice, content, &plain, &error));
    CHECK(strstr(plain, "{\"n\":2}"));
    matrixe2ee_string_free(content);
    matrixe2ee_string_free(plain);
    free(body);
}

static void rejects_room_key(const char *content, matrixe2ee_status expected) {
    matrixe2ee_inbound_megolm_session *session = (matrixe2ee_inbound_megolm_session *)1;
    EXPECT(expected, matrixe2ee_inbound_megolm_session_from_room_key(
                         bob.account, alice.user_id, alice.identity_key, content, &session, &error));
    CHECK(session == NULL);
}

static void room_messages(void) {
    matrixe2ee_outbound_megolm_session *sending;
    OK(matrixe2ee_outbound_megolm_session_create(alice.account, ROOM, NULL, &sending, &error));
    char *who = recipients(&alice, &bob), *entries;
    OK(matrixe2ee_outbound_megolm_session_get_session_key_for_sending(sending, who, &entries, &error));
    char *room_key = json_value(entries, "content");
    char *key = json_string(room_key, "session_key");
    /* Version, index, ratchet, public key and signature of a session key. */
    const struct part key_parts[] = {
        {"version", 0, 1, MATRIXE2EE_STATUS_INVALID_KEY},
        {"index", 1, 5, MATRIXE2EE_STATUS_BAD_SIGNATURE},
        {"ratchet", 5, 133, MATRIXE2EE_STATUS_BAD_SIGNATURE},
        {"signature", 165, 229, MATRIXE2EE_STATUS_BAD_SIGNATURE},
    };
    for (size_t i = 0; i < 4; i++) alter(&key_parts[i], room_key, key, rejects_room_key);
    OK(matrixe2ee_inbound_megolm_session_from_room_key(bob.account, alice.user_id, alice.identity_key,
                                                       room_key, &receiving, &error));

    char *event = say(&alice, sending, "$event", "genuine");
    char *ciphertext = json_string(event, "ciphertext");
    decode(ciphertext);
    struct part parts[] = {
        {"version", 0, 1, UNABLE},
        {"message index", 0, 0, UNABLE},
        {"ciphertext", 0, 0, UNABLE},
        {"MAC", length - 72, length - 64, UNABLE},
        {"signature", length - 64, length, UNABLE},
    };
    length -= 72;
    parts[1].start = field(0x08, 1, &parts[1].end);
    parts[2].start = field(0x12, 1, &parts[2].end);
    for (size_t i = 0; i < 5; i++) alter(&parts[i], event, ciphertext, rejects_event);
    hear(receiving, event, "genuine");

    matrixe2ee_inbound_megolm_session_free(receiving);
    matrixe2ee_outbound_megolm_session_free(sending);
    matrixe2ee_string_free(entries);
    free(who);
    free(room_key);
    free(key);
    free(event);
    free(ciphertext);
}

static char *good_device, *good_key, *fingerprint_key;

static void rejects_device(const char *device_keys, matrixe2ee_status expected) {
    matrixe2ee_olm_channel *channel = (matrixe2ee_olm_channel *)1;
    EXPECT(expected, matrixe2ee_olm_channel_create_outbound_channel(alice.account, device_keys, good_key,
                                                                    &channel, &error));
    CHECK(channel == NULL);
    FAILS(BAD_SIGNATURE, matrixe2ee_verify_signed_json(device_keys, bob.user_id, "ed25519:BOB",
                                                       fingerprint_key, &error));
}

static void rejects_one_time_key(const char *one_time_key, matrixe2ee_status expected) {
    matrixe2ee_olm_channel *channel = (matrixe2ee_olm_channel *)1;
    EXPECT(expected, matrixe2ee_olm_channel_create_outbound_channel(alice.account, good_device,
                                                                    one_time_key, &channel, &error));
    CHECK(channel == NULL);
}

static void signatures(void) {
    matrixe2ee_olm_channel *channel;
    char *uploaded = upload_keys(&bob);
    good_device = bob.device_keys;
    good_key = claim_key(&bob, uploaded);
    OK(matrixe2ee_account_fingerprint_key(bob.account, &fingerprint_key, &error));

    const matrixe2ee_status bad = MATRIXE2EE_STATUS_BAD_SIGNATURE;
    struct part signature = {"signature", 0, 64, bad}, key = {"key", 0, 32, bad};
    char *signed_by_bob = json_value(good_device, "@bob:example.org");
    char *base64 = json_string(signed_by_bob, "ed25519:BOB");
    alter(&signature, good_device, base64, rejects_device);
    free(base64);
    free(signed_by_bob);
    /* Another identity key in its place: the middle byte, so that it is still a key. */
    for (int bit = 0; bit < 8; bit++) {
        char *altered = flipped(good_device, bob.identity_key, 16, bit);
        rejects_device(altered, bad);
        free(altered);
    }
    char *renamed = exchange(good_device, "\"m.olm.v1", "\"m.olm.v0");
    rejects_device(renamed, bad);
    free(renamed);

    base64 = json_string(good_key, "ed25519:BOB");
    alter(&signature, good_key, base64, rejects_one_time_key);
    free(base64);
    base64 = json_string(good_key, "key");
    alter(&key, good_key, base64, rejects_one_time_key);
    free(base64);

    OK(matrixe2ee_olm_channel_create_outbound_channel(alice.account, good_device, good_key, &channel,
                                                      &error));
    OK(matrixe2ee_verify_signed_json(good_device, bob.user_id, "ed25519:BOB", fingerprint_key, &error));
    matrixe2ee_olm_channel_free(channel);
    matrixe2ee_string_free(fingerprint_key);
    free(uploaded);
    free(good_key);
}

int main(void) {
    alice = person_open(NULL, "@alice:example.org", "ALICE");
    bob = person_open(NULL, "@bob:example.org", "BOB");
    olm_messages();
    room_messages();
    person_close(&alice);
    person_close(&bob);
    alice = person_open(NULL, "@alice:example.org", "ALICE");
    bob = person_open(NULL, "@bob:example.org", "BOB");
    signatures();
    matrixe2ee_olm_channel_free(to_bob);
    matrixe2ee_olm_channel_free(from_alice);
    person_close(&alice);
    person_close(&bob);
    return 0;
}

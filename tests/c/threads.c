/* Eight threads use the same handles at once, and free them while others use them. */
#include "story.h"

#include <pthread.h>
#include <stdatomic.h>

#define THREADS 8
#define ROUNDS 50

static struct person alice, bob;
static matrixe2ee_outbound_megolm_session *sending;
static matrixe2ee_inbound_megolm_session *receiving;
static matrixe2ee_olm_channel *to_bob, *from_alice;
/* Who has used which message index. */
static atomic_int used[THREADS * ROUNDS + 1];

static void run(void *(*work)(void *)) {
    pthread_t threads[THREADS];
    for (size_t i = 0; i < THREADS; i++) {
        CHECK(pthread_create(&threads[i], NULL, work, (void *)i) == 0);
    }
    for (size_t i = 0; i < THREADS; i++) CHECK(pthread_join(threads[i], NULL) == 0);
}

/* Every message has an index of its own, and arrives. */
static void *talk(void *argument) {
    size_t thread = (size_t)argument;
    for (int round = 0; round < ROUNDS; round++) {
        char *event_id = text("$%zu-%d", thread, round);
        char *words = text("words %zu %d", thread, round);
        char *event = say(&alice, sending, event_id, words);
        char *plain;
        OK(matrixe2ee_inbound_megolm_session_decrypt(receiving, event, &plain, &error));
        char *index = json_value(plain, "message_index");
        CHECK(strstr(plain, words));
        CHECK(atomic_fetch_add(&used[atoi(index)], 1) == 0);
        matrixe2ee_string_free(plain);
        free(event_id);
        free(words);
        free(event);
        free(index);
    }
    return NULL;
}

/* Olm messages may overtake each other, but each decrypts exactly once. */
static void *whisper(void *argument) {
    (void)argument;
    for (int round = 0; round < ROUNDS / 10; round++) {
        char *content, *event;
        OK(matrixe2ee_olm_channel_encrypt(to_bob, "m.dummy", "{}", &content, &error));
        OK(matrixe2ee_olm_channel_decrypt(from_alice, content, &event, &error));
        matrixe2ee_string_free(event);
        FAILS(UNABLE_TO_DECRYPT, matrixe2ee_olm_channel_decrypt(from_alice, content, &event, &error));
        matrixe2ee_string_free(content);
    }
    return NULL;
}

/* A call gives its result or STALE_HANDLE, nothing else, while somebody frees the handle. */
static matrixe2ee_account *_Atomic shared;

static void *use_and_free(void *argument) {
    size_t thread = (size_t)argument;
    for (int round = 0; round < ROUNDS * 10; round++) {
        matrixe2ee_account *account = atomic_load(&shared);
        char *user_id;
        matrixe2ee_status status = matrixe2ee_account_user_id(account, &user_id, NULL);
        CHECK(status == MATRIXE2EE_STATUS_OK || status == MATRIXE2EE_STATUS_STALE_HANDLE);
        CHECK((status == MATRIXE2EE_STATUS_OK) == (user_id != NULL));
        matrixe2ee_string_free(user_id);
        if (round % THREADS == (int)thread) {
            matrixe2ee_account *fresh;
            OK(matrixe2ee_account_open(alice.store, alice.user_id, alice.device_id, &fresh, &error));
            matrixe2ee_account_free(atomic_exchange(&shared, fresh));
        }
    }
    return NULL;
}

int main(void) {
    alice = person_open(NULL, "@alice:example.org", "ALICE");
    bob = person_open(NULL, "@bob:example.org", "BOB");
    OK(matrixe2ee_outbound_megolm_session_create(
        alice.account, ROOM, "{\"maximum_rotation_period_msgs\":10000}", &sending, &error));
    OK(matrixe2ee_inbound_megolm_session_from_outbound_session(sending, &receiving, &error));
    to_bob = channel_to(&alice, &bob);
    char *content;
    OK(matrixe2ee_olm_channel_encrypt(to_bob, "m.dummy", "{}", &content, &error));
    from_alice = channel_from(&bob, &alice, content);
    matrixe2ee_string_free(content);

    /* Without the room's settings the session ends after 100 messages: give it larger ones. */
    char *who = text("{\"encryption\":{\"algorithm\":\"" MEGOLM "\",\"rotation_period_msgs\":10000},"
                     "\"history_visibility\":\"shared\",\"members\":{\"%s\":\"join\"},\"device_keys\":{}}",
                     alice.user_id);
    char *entries;
    OK(matrixe2ee_outbound_megolm_session_get_session_key_for_sending(sending, who, &entries, &error));
    matrixe2ee_string_free(entries);
    free(who);

    run(talk);
    run(whisper);
    matrixe2ee_account *second;
    OK(matrixe2ee_account_open(alice.store, alice.user_id, alice.device_id, &second, &error));
    atomic_store(&shared, second);
    run(use_and_free);
    matrixe2ee_account_free(shared);

    matrixe2ee_olm_channel_free(from_alice);
    matrixe2ee_olm_channel_free(to_bob);
    matrixe2ee_inbound_megolm_session_free(receiving);
    matrixe2ee_outbound_megolm_session_free(sending);
    person_close(&alice);
    person_close(&bob);
    return 0;
}

/* The rules of matrixe2ee_store_backend, tried on a backend of any program's own.
 *
 *     static matrixe2ee_store_backend open_mine(void *path) { ... }
 *
 *     int main(void) { return store_contract(open_mine, "an/empty/place"); }
 *
 * The place is empty at first, and the function opens the same one each time; before it is called
 * again, the backend that it gave has been destroyed. Each broken rule is a line on stderr. The
 * records of the test stay in the place. This file needs matrixe2ee.h and pthread, but not the
 * library; it is C and C++. What it cannot see: that a commit is whole and on disk when the power
 * fails. */
#ifndef STORE_CONTRACT_H
#define STORE_CONTRACT_H

#include <matrixe2ee.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef matrixe2ee_store_backend store_contract_open(void *context);

/* What get and scan have emitted. */
struct contract_record {
    uint8_t key[255], *value;
    size_t key_len, value_len;
};

struct contract_found {
    size_t count, room;
    struct contract_record *at;
};

static int32_t contract_emit(void *sink, const uint8_t *key, size_t key_len, const uint8_t *value,
                             size_t value_len) {
    struct contract_found *found = (struct contract_found *)sink;
    if (key_len == 0 || key_len > 255) return 1;
    if (found->count == found->room) {
        size_t room = found->room * 2 + 16;
        struct contract_record *more =
            (struct contract_record *)realloc(found->at, room * sizeof *more);
        if (more == NULL) return 1;
        found->at = more;
        found->room = room;
    }
    struct contract_record *record = &found->at[found->count];
    record->value = (uint8_t *)malloc(value_len + 1);
    if (record->value == NULL) return 1;
    memcpy(record->key, key, key_len);
    if (value_len) memcpy(record->value, value, value_len);
    record->key_len = key_len;
    record->value_len = value_len;
    found->count++;
    return 0;
}

static void contract_free(struct contract_found *found) {
    for (size_t i = 0; i < found->count; i++) free(found->at[i].value);
    free(found->at);
}

/* Whether a record is this one. */
static int contract_is(const struct contract_found *found, size_t at, const void *key, size_t key_len,
                       const void *value, size_t value_len) {
    if (at >= found->count) return 0;
    const struct contract_record *record = &found->at[at];
    return record->key_len == key_len && memcmp(record->key, key, key_len) == 0 &&
           record->value_len == value_len && memcmp(record->value, value, value_len) == 0;
}

/* Whether get emits this value, or nothing if it is NULL. */
static int contract_has(const matrixe2ee_store_backend *backend, const char *collection,
                        const void *key, size_t key_len, const void *value, size_t value_len) {
    struct contract_found found = {0, 0, NULL};
    int fine = backend->get(backend->userdata, collection, (const uint8_t *)key, key_len, contract_emit,
                            &found) == 0 &&
               found.count == (value != NULL) &&
               (value == NULL || contract_is(&found, 0, key, key_len, value, value_len));
    contract_free(&found);
    return fine;
}

/* Whether scan emits records with these keys of one letter each, and no others. */
static int contract_lists(const matrixe2ee_store_backend *backend, const char *collection,
                          const void *after, size_t after_len, uint32_t limit, const char *letters) {
    struct contract_found found = {0, 0, NULL};
    int fine = backend->scan(backend->userdata, collection, (const uint8_t *)after, after_len, limit,
                             contract_emit, &found) == 0 && found.count == strlen(letters);
    for (size_t i = 0; fine && i < found.count; i++) {
        fine = found.at[i].key_len == 1 && found.at[i].key[0] == (uint8_t)letters[i];
    }
    contract_free(&found);
    return fine;
}

/* The number of records in a collection, or -1. */
static long contract_count(const matrixe2ee_store_backend *backend, const char *collection) {
    struct contract_found found = {0, 0, NULL};
    int32_t status = backend->scan(backend->userdata, collection, NULL, 0, UINT32_MAX, contract_emit,
                                   &found);
    long count = status == 0 ? (long)found.count : -1;
    contract_free(&found);
    return count;
}

static matrixe2ee_store_change contract_change(const char *collection, const void *key,
                                               size_t key_len, const void *value, size_t value_len) {
    matrixe2ee_store_change change = {collection, (const uint8_t *)key, key_len,
                                      (const uint8_t *)value, value_len};
    return change;
}

static int contract_commit(const matrixe2ee_store_backend *backend,
                           const matrixe2ee_store_change *changes, size_t count) {
    return backend->commit(backend->userdata, changes, count) == 0;
}

static int contract_put(const matrixe2ee_store_backend *backend, const char *collection,
                        const void *key, size_t key_len, const void *value, size_t value_len) {
    matrixe2ee_store_change change = contract_change(collection, key, key_len, value, value_len);
    return contract_commit(backend, &change, 1);
}

#define PUT(name, key, value) contract_change(name, key, sizeof key - 1, value, sizeof value - 1)
#define DELETE(name, key) contract_change(name, key, sizeof key - 1, NULL, 0)
#define HAS(name, key, value) contract_has(backend, name, key, sizeof key - 1, value, sizeof value - 1)
#define LACKS(name, key) contract_has(backend, name, key, sizeof key - 1, NULL, 0)
#define COMMIT(changes) contract_commit(backend, changes, sizeof changes / sizeof *changes)

static int contract_is_empty(const matrixe2ee_store_backend *backend) {
    return LACKS("rule_new", "key") && contract_count(backend, "rule_new") == 0;
}

/* Every byte in keys and values, the longest key, and a long value. */
static int contract_keeps_bytes(const matrixe2ee_store_backend *backend) {
    static uint8_t bytes[256], large[1 << 20];
    matrixe2ee_store_change changes[257];
    for (size_t i = 0; i < 256; i++) {
        bytes[i] = (uint8_t)i;
        changes[i] = contract_change("rule_bytes", &bytes[i], 1, &bytes[i], 1);
    }
    for (size_t i = 0; i < sizeof large; i++) large[i] = (uint8_t)i;
    changes[256] = contract_change("rule_bytes", bytes + 1, 255, large, sizeof large);
    int fine = COMMIT(changes);
    for (size_t i = 0; i < 257; i++) {
        fine = fine && contract_has(backend, "rule_bytes", changes[i].key, changes[i].key_len,
                                    changes[i].value, changes[i].value_len);
    }
    return fine;
}

static int contract_replaces(const matrixe2ee_store_backend *backend) {
    matrixe2ee_store_change first[] = {PUT("rule_replace", "key", "long value")};
    matrixe2ee_store_change second[] = {PUT("rule_replace", "key", "value")};
    return COMMIT(first) && COMMIT(second) && HAS("rule_replace", "key", "value") &&
           contract_count(backend, "rule_replace") == 1;
}

static int contract_deletes(const matrixe2ee_store_backend *backend) {
    matrixe2ee_store_change first[] = {PUT("rule_delete", "a", "1"), PUT("rule_delete", "b", "2"),
                                       PUT("rule_delete", "c", "3")};
    matrixe2ee_store_change second[] = {DELETE("rule_delete", "b"), DELETE("rule_delete", "no")};
    return COMMIT(first) && COMMIT(second) && LACKS("rule_delete", "b") &&
           contract_lists(backend, "rule_delete", NULL, 0, 9, "ac");
}

static int contract_keeps_order_of_changes(const matrixe2ee_store_backend *backend) {
    matrixe2ee_store_change changes[] = {
        PUT("rule_changes", "a", "1"), DELETE("rule_changes", "a"), PUT("rule_changes", "a", "2"),
        PUT("rule_changes", "a", "3"), PUT("rule_changes", "b", "4"), DELETE("rule_changes", "b")};
    return COMMIT(changes) && HAS("rule_changes", "a", "3") && LACKS("rule_changes", "b");
}

/* Where the ends of names and the beginnings of keys look alike; and the longest name. */
static int contract_separates_collections(const matrixe2ee_store_backend *backend) {
    static const char longest[] = "rule_collection_with_a_long_name";
    matrixe2ee_store_change changes[] = {
        PUT("rule_collection", "sskey", "1"), PUT("rule_collections", "skey", "2"),
        PUT("rule_collections", "key", "3"), PUT(longest, "key", "4"), PUT("rule_collection", "key", "5")};
    matrixe2ee_store_change last[] = {DELETE("rule_collection", "key")};
    return COMMIT(changes) && COMMIT(last) && HAS("rule_collection", "sskey", "1") &&
           HAS("rule_collections", "skey", "2") && HAS("rule_collections", "key", "3") &&
           HAS(longest, "key", "4") && contract_count(backend, "rule_collection") == 1 &&
           contract_count(backend, "rule_collections") == 2;
}

/* Keys that a careless comparison takes for each other, or sorts otherwise; in their order. */
static int contract_compares_bytes(const matrixe2ee_store_backend *backend) {
#define KEY_OF(bytes) {sizeof bytes - 1, bytes}
    static const struct { size_t length; const char *bytes; } keys[] = {
        KEY_OF("\0"), KEY_OF("\0\0"), KEY_OF("\x01"), KEY_OF("%"), KEY_OF("-1"), KEY_OF("10"),
        KEY_OF("9"), KEY_OF("KEY"), KEY_OF("Key"), KEY_OF("_"), KEY_OF("key"), KEY_OF("key\0"),
        KEY_OF("key\0a"), KEY_OF("key "), KEY_OF("keys"), KEY_OF("\x7f"), KEY_OF("\x80"), KEY_OF("\xff")};
#undef KEY_OF
    enum { COUNT = sizeof keys / sizeof *keys };
    struct contract_found found = {0, 0, NULL};
    int fine = 1;
    for (size_t i = 0; i < COUNT; i++) {
        size_t at = i * 7 % COUNT; /* neither in order nor the other way round: 7 and 18 share no factor */
        fine = fine && contract_put(backend, "rule_keys", keys[at].bytes, keys[at].length, &keys[at],
                                    sizeof keys[at]);
    }
    fine = fine && backend->scan(backend->userdata, "rule_keys", NULL, 0, UINT32_MAX, contract_emit,
                                 &found) == 0 && found.count == COUNT;
    for (size_t i = 0; fine && i < COUNT; i++) {
        fine = contract_is(&found, i, keys[i].bytes, keys[i].length, &keys[i], sizeof keys[i]) &&
               contract_has(backend, "rule_keys", keys[i].bytes, keys[i].length, &keys[i], sizeof keys[i]);
    }
    contract_free(&found);
    return fine && LACKS("rule_keys", "kEy");
}

static int contract_begins_after(const matrixe2ee_store_backend *backend) {
    static const char name[] = "rule_after";
    matrixe2ee_store_change changes[] = {PUT(name, "b", "1"), PUT(name, "d", "1"), PUT(name, "f", "1")};
    return COMMIT(changes) && contract_lists(backend, name, "a", 1, 9, "bdf") &&
           contract_lists(backend, name, "b", 1, 9, "df") && contract_lists(backend, name, "b\0", 2, 9, "df") &&
           contract_lists(backend, name, "c", 1, 9, "df") && contract_lists(backend, name, "f", 1, 9, "") &&
           contract_lists(backend, name, "\xff", 1, 9, "");
}

static int contract_keeps_limit(const matrixe2ee_store_backend *backend) {
    static const char name[] = "rule_limit";
    matrixe2ee_store_change changes[] = {PUT(name, "b", "1"), PUT(name, "d", "1"), PUT(name, "f", "1")};
    return COMMIT(changes) && contract_lists(backend, name, NULL, 0, 1, "b") &&
           contract_lists(backend, name, NULL, 0, 2, "bd") && contract_lists(backend, name, "b", 1, 1, "d") &&
           contract_lists(backend, name, NULL, 0, 3, "bdf") &&
           contract_lists(backend, name, NULL, 0, UINT32_MAX, "bdf");
}

static int contract_takes_large_commits(const matrixe2ee_store_backend *backend) {
    enum { COUNT = 1000 };
    static uint8_t keys[COUNT][2], value[300];
    static matrixe2ee_store_change changes[COUNT];
    for (size_t i = 0; i < COUNT; i++) {
        keys[i][0] = (uint8_t)(i >> 8), keys[i][1] = (uint8_t)i;
        changes[i] = contract_change("rule_large", keys[i], 2, value, sizeof value);
    }
    if (!COMMIT(changes) || contract_count(backend, "rule_large") != COUNT) return 0;
    for (size_t i = 0; i < COUNT; i++) changes[i].value = NULL, changes[i].value_len = 0;
    return COMMIT(changes) && contract_count(backend, "rule_large") == 0;
}

struct contract_thread {
    pthread_t id;
    const matrixe2ee_store_backend *backend;
    uint8_t number;
    int fine;
};

static void *contract_thread_work(void *argument) {
    struct contract_thread *thread = (struct contract_thread *)argument;
    const matrixe2ee_store_backend *backend = thread->backend;
    thread->fine = 1;
    for (uint8_t round = 0; round < 25; round++) {
        const uint8_t key[] = {thread->number, round};
        matrixe2ee_store_change changes[] = {contract_change("rule_threads", key, 2, key, 2),
                                             contract_change("rule_threads", key, 1, key + 1, 1)};
        thread->fine = thread->fine && COMMIT(changes) &&
                       contract_has(backend, "rule_threads", key, 2, key, 2) &&
                       contract_count(backend, "rule_threads") >= round + 2;
    }
    return NULL;
}

static int contract_serves_threads(const matrixe2ee_store_backend *backend) {
    struct contract_thread threads[4];
    int fine = 1;
    for (uint8_t i = 0; i < 4; i++) {
        threads[i].backend = backend;
        threads[i].number = i;
        threads[i].fine = 0;
        if (pthread_create(&threads[i].id, NULL, contract_thread_work, &threads[i]) != 0) abort();
    }
    for (size_t i = 0; i < 4; i++) fine = pthread_join(threads[i].id, NULL) == 0 && threads[i].fine && fine;
    return fine && contract_count(backend, "rule_threads") == 4 * 26;
}

/* Before and after opening again. */
static int contract_writes(const matrixe2ee_store_backend *backend) {
    matrixe2ee_store_change first[] = {PUT("rule_reopen", "changed", "1"), PUT("rule_reopen", "deleted", "1"),
                                       PUT("rule_reopen", "kept", "\0\xff")};
    matrixe2ee_store_change second[] = {PUT("rule_reopen", "changed", "2"), DELETE("rule_reopen", "deleted")};
    return COMMIT(first) && COMMIT(second);
}

static int contract_still_has(const matrixe2ee_store_backend *backend) {
    return HAS("rule_reopen", "changed", "2") && LACKS("rule_reopen", "deleted") &&
           HAS("rule_reopen", "kept", "\0\xff") && contract_count(backend, "rule_reopen") == 2;
}

static const struct contract_rule {
    const char *says;
    int (*holds)(const matrixe2ee_store_backend *backend);
} contract_rules[] = {
    {"a key that is not there has no value, and a new collection no records", contract_is_empty},
    {"get gives the value that was committed, byte by byte", contract_keeps_bytes},
    {"a new value takes the place of the old one", contract_replaces},
    {"a deleted record is gone", contract_deletes},
    {"the changes of a commit are made in their order", contract_keeps_order_of_changes},
    {"each collection has records of its own", contract_separates_collections},
    {"keys are told apart and sorted by their bytes", contract_compares_bytes},
    {"scan begins after after_key, whether or not there is such a record", contract_begins_after},
    {"scan gives as many records as there are, and at most limit", contract_keeps_limit},
    {"a commit may have a thousand changes", contract_takes_large_commits},
    {"several threads may call at once, and see what others have committed", contract_serves_threads},
    {"commit takes changes that are read after opening again", contract_writes},
    {"everything is there when the place is opened again", contract_still_has},
};

/* Tries every rule; gives the number of broken ones. */
static int store_contract(store_contract_open *open, void *context) {
    int broken = 0;
    for (size_t i = 0; i < sizeof contract_rules / sizeof *contract_rules; i++) {
        matrixe2ee_store_backend backend = open(context);
        if (!contract_rules[i].holds(&backend)) {
            fprintf(stderr, "broken: %s\n", contract_rules[i].says);
            broken++;
        }
        if (backend.destroy) backend.destroy(backend.userdata);
    }
    return broken;
}

#undef PUT
#undef DELETE
#undef HAS
#undef LACKS
#undef COMMIT

#endif

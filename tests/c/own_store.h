/* A store of a program's own: records in a sorted array, and if it has a path, in a file too. */
#ifndef OWN_STORE_H
#define OWN_STORE_H

#include "test.h"

#include <fcntl.h>
#include <pthread.h>

struct row {
    char collection[33];
    uint8_t key[255];
    size_t key_len, value_len;
    uint8_t *value;
};

struct rows {
    struct row *at;
    size_t count;
};

/* What outlives the backend that is opened on it. */
struct place {
    pthread_mutex_t lock;
    struct rows rows;
    const char *path; /* NULL: only memory */
    int destroyed;
};

#define NEW_PLACE(path) {PTHREAD_MUTEX_INITIALIZER, {NULL, 0}, path, 0}

static inline int own_compare(const struct row *row, const char *collection, const uint8_t *key,
                              size_t key_len) {
    int order = strcmp(row->collection, collection);
    if (order == 0) order = memcmp(row->key, key, row->key_len < key_len ? row->key_len : key_len);
    return order ? order : (row->key_len > key_len) - (row->key_len < key_len);
}

/* The first row that is not before this key. */
static inline size_t own_find(const struct rows *rows, const char *collection, const uint8_t *key,
                              size_t key_len) {
    size_t low = 0, high = rows->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (own_compare(&rows->at[middle], collection, key, key_len) < 0) low = middle + 1;
        else high = middle;
    }
    return low;
}

static inline int own_is(const struct rows *rows, size_t at, const char *collection,
                         const uint8_t *key, size_t key_len) {
    return at < rows->count && own_compare(&rows->at[at], collection, key, key_len) == 0;
}

static inline void *own_copy(const void *bytes, size_t length) {
    void *copy = malloc(length ? length : 1);
    CHECK(copy != NULL);
    if (length) memcpy(copy, bytes, length);
    return copy;
}

static inline void own_free(struct rows *rows) {
    for (size_t i = 0; i < rows->count; i++) free(rows->at[i].value);
    free(rows->at);
    *rows = (struct rows){NULL, 0};
}

/* A copy with room for more rows. */
static inline struct rows own_clone(const struct rows *rows, size_t more) {
    struct rows clone = {calloc(rows->count + more + 1, sizeof *rows->at), rows->count};
    CHECK(clone.at != NULL);
    for (size_t i = 0; i < rows->count; i++) {
        clone.at[i] = rows->at[i];
        clone.at[i].value = own_copy(rows->at[i].value, rows->at[i].value_len);
    }
    return clone;
}

static inline void own_apply(struct rows *rows, const matrixe2ee_store_change *change) {
    size_t at = own_find(rows, change->collection, change->key, change->key_len);
    struct row *row = &rows->at[at];
    int is_there = own_is(rows, at, change->collection, change->key, change->key_len);
    CHECK(strlen(change->collection) < sizeof row->collection);
    CHECK(change->key_len > 0 && change->key_len <= sizeof row->key);
    if (is_there) free(row->value);
    if (change->value == NULL) {
        if (is_there) memmove(row, row + 1, (--rows->count - at) * sizeof *row);
        return;
    }
    if (!is_there) {
        memmove(row + 1, row, (rows->count++ - at) * sizeof *row);
        memset(row, 0, sizeof *row);
        memcpy(row->collection, change->collection, strlen(change->collection));
        memcpy(row->key, change->key, change->key_len);
        row->key_len = change->key_len;
    }
    row->value = own_copy(change->value, change->value_len);
    row->value_len = change->value_len;
}

/* Another file first, on disk, which then takes the old one's name: all or nothing. */
static inline int own_save(const char *path, const struct rows *rows) {
    char *other = text("%s.new", path);
    FILE *file = fopen(other, "wb");
    int fine = file != NULL;
    for (size_t i = 0; fine && i < rows->count; i++) {
        const struct row *row = &rows->at[i];
        fine = fwrite(row, sizeof *row, 1, file) == 1 &&
               fwrite(row->value, 1, row->value_len, file) == row->value_len;
    }
    fine = fine && fflush(file) == 0 && fsync(fileno(file)) == 0;
    if (file && fclose(file) != 0) fine = 0;
    fine = fine && rename(other, path) == 0;
    char *folder = text("%.*s", (int)(strrchr(path, '/') - path), path);
    int directory = open(folder, O_RDONLY);
    fine = fine && directory >= 0 && fsync(directory) == 0;
    if (directory >= 0) close(directory);
    free(folder);
    free(other);
    return fine;
}

static inline void own_load(const char *path, struct rows *rows) {
    FILE *file = fopen(path, "rb");
    struct row row;
    while (file && fread(&row, sizeof row, 1, file) == 1) {
        row.value = malloc(row.value_len + 1);
        CHECK(row.value && fread(row.value, 1, row.value_len, file) == row.value_len);
        rows->at = realloc(rows->at, (rows->count + 1) * sizeof row);
        CHECK(rows->at != NULL);
        rows->at[rows->count++] = row;
    }
    if (file) fclose(file);
}

static inline int32_t own_get(void *userdata, const char *collection, const uint8_t *key,
                              size_t key_len, matrixe2ee_emit emit, void *sink) {
    struct place *place = userdata;
    int32_t status = 0;
    pthread_mutex_lock(&place->lock);
    size_t at = own_find(&place->rows, collection, key, key_len);
    if (own_is(&place->rows, at, collection, key, key_len)) {
        const struct row *row = &place->rows.at[at];
        status = emit(sink, row->key, row->key_len, row->value, row->value_len);
    }
    pthread_mutex_unlock(&place->lock);
    return status;
}

static inline int32_t own_scan(void *userdata, const char *collection, const uint8_t *after,
                               size_t after_len, uint32_t limit, matrixe2ee_emit emit, void *sink) {
    struct place *place = userdata;
    int32_t status = 0;
    const uint8_t none = 0;
    pthread_mutex_lock(&place->lock);
    const struct rows *rows = &place->rows;
    size_t at = own_find(rows, collection, after ? after : &none, after_len);
    if (after && own_is(rows, at, collection, after, after_len)) at++;
    for (; at < rows->count && limit > 0 && status == 0; at++, limit--) {
        const struct row *row = &rows->at[at];
        if (strcmp(row->collection, collection) != 0) break;
        status = emit(sink, row->key, row->key_len, row->value, row->value_len);
    }
    pthread_mutex_unlock(&place->lock);
    return status;
}

static inline int32_t own_commit(void *userdata, const matrixe2ee_store_change *changes, size_t count) {
    struct place *place = userdata;
    pthread_mutex_lock(&place->lock);
    struct rows rows = own_clone(&place->rows, count);
    for (size_t i = 0; i < count; i++) own_apply(&rows, &changes[i]);
    int32_t status = place->path == NULL || own_save(place->path, &rows) ? 0 : 5;
    if (status == 0) {
        struct rows old = place->rows;
        place->rows = rows;
        rows = old;
    }
    own_free(&rows);
    pthread_mutex_unlock(&place->lock);
    return status;
}

/* The memory of a place without a file is its disk, and stays. */
static inline void own_destroy(void *userdata) {
    struct place *place = userdata;
    place->destroyed++;
    if (place->path) own_free(&place->rows);
}

/* Opens a place, again and again. */
static inline matrixe2ee_store_backend own_open(void *context) {
    struct place *place = context;
    if (place->path) own_load(place->path, &place->rows);
    return (matrixe2ee_store_backend){sizeof(matrixe2ee_store_backend), place, own_destroy,
                                      own_get, own_scan, own_commit};
}

#endif

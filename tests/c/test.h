/* What the C programs share: checks, small texts, and reading a value out of JSON. */
#ifndef TEST_H
#define TEST_H

#include <matrixe2ee.h>

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Ends the program with a message unless the condition holds. */
#define CHECK(condition) \
    do { \
        if (!(condition)) { \
            fprintf(stderr, "%s:%d: not true: %s\n", __FILE__, __LINE__, #condition); \
            exit(1); \
        } \
    } while (0)

/* The call must answer this status. It passes &error as its last argument. */
#define EXPECT(expected, call) \
    do { \
        matrixe2ee_error *error = NULL; \
        matrixe2ee_status answered = (call); \
        expect_status(__FILE__, __LINE__, #call, (expected), answered, error); \
    } while (0)

#define OK(call) EXPECT(MATRIXE2EE_STATUS_OK, call)
#define FAILS(name, call) EXPECT(MATRIXE2EE_STATUS_##name, call)

static inline void expect_status(const char *file, int line, const char *call,
                                 matrixe2ee_status expected, matrixe2ee_status status,
                                 matrixe2ee_error *error) {
    int right = status == expected && matrixe2ee_error_code(error) == status &&
                (status == MATRIXE2EE_STATUS_OK) == (error == NULL);
    if (!right) {
        fprintf(stderr, "%s:%d: %s: %s instead of %s: %s\n", file, line, call,
                matrixe2ee_status_name(status), matrixe2ee_status_name(expected),
                error ? matrixe2ee_error_message(error) : "(no error object)");
        exit(1);
    }
    matrixe2ee_error_free(error);
}

/* A text made as with printf, to be released with free(). */
static inline char *text(const char *format, ...) {
    va_list arguments, again;
    va_start(arguments, format);
    va_copy(again, arguments);
    int length = vsnprintf(NULL, 0, format, arguments);
    va_end(arguments);
    CHECK(length >= 0);
    char *result = malloc((size_t)length + 1);
    CHECK(result != NULL);
    vsnprintf(result, (size_t)length + 1, format, again);
    va_end(again);
    return result;
}

/* The end of the JSON value that begins here. */
static inline const char *json_end(const char *value) {
    int depth = 0, in_string = 0;
    for (;; value++) {
        CHECK(*value != '\0');
        if (in_string) {
            if (*value == '\\') value++;
            else if (*value == '"') in_string = 0;
        } else if (*value == '"') {
            in_string = 1;
        } else if (*value == '{' || *value == '[') {
            depth++;
        } else if (*value == '}' || *value == ']') {
            depth--;
            if (depth < 0) return value;
        } else if (*value == ',' && depth == 0) {
            return value;
        }
        if (depth == 0 && !in_string && strchr("\"}]", *value)) return value + 1;
    }
}

static inline char *copy_range(const char *start, const char *end) {
    return text("%.*s", (int)(end - start), start);
}

/* The value of the first "key" in the text, at any depth, as JSON; NULL if there is none. */
static inline char *json_value(const char *json, const char *key) {
    char *quoted = text("\"%s\":", key);
    const char *found = strstr(json, quoted);
    const char *start = found ? found + strlen(quoted) : NULL;
    free(quoted);
    return start ? copy_range(start, json_end(start)) : NULL;
}

/* The same for a string without escapes, without its quotes. */
static inline char *json_string(const char *json, const char *key) {
    char *value = json_value(json, key);
    CHECK(value != NULL && value[0] == '"');
    char *string = copy_range(value + 1, value + strlen(value) - 1);
    free(value);
    return string;
}

/* The first entry of a JSON object, as an object of its own. */
static inline char *json_first_entry(const char *object) {
    CHECK(object != NULL && object[0] == '{' && object[1] == '"');
    const char *value = strchr(json_end(object + 1), ':') + 1;
    return text("{%.*s}", (int)(json_end(value) - (object + 1)), object + 1);
}

/* A new empty folder. */
static inline char *new_folder(void) {
    const char *base = getenv("TMPDIR");
    char *folder = text("%s/matrixe2ee-XXXXXX", base ? base : "/tmp");
    CHECK(mkdtemp(folder) != NULL);
    return folder;
}

/* Removes a folder that holds only what the store with this name put there. */
static inline void remove_folder(char *folder, const char *const *names, size_t count) {
    static const char *const suffixes[] = {"", "-wal", "-shm", "-journal", ".lock", "-lock"};
    for (size_t i = 0; i < count; i++) {
        for (size_t j = 0; j < sizeof suffixes / sizeof *suffixes; j++) {
            char *path = text("%s/%s%s", folder, names[i], suffixes[j]);
            (void)remove(path);
            free(path);
        }
    }
    CHECK(rmdir(folder) == 0);
    free(folder);
}

#endif

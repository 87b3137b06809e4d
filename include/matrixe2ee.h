/*
 * matrixe2ee.h - end-to-end encryption for Matrix
 *
 * Made by cbindgen from src/capi; do not edit.
 *
 * The library makes no network request: it says which requests to make, and is
 * told the answers. It starts no thread that outlives a call.
 *
 * ERRORS. Every function that can fail returns a matrixe2ee_status, 0 (OK) or
 * the kind of failure, and takes `matrixe2ee_error **err` last. err may be
 * NULL. Otherwise *err is overwritten: with NULL after success, and after a
 * failure with an error object that has a message and JSON details; release it
 * with matrixe2ee_error_free(). There is no "last error" kept anywhere.
 *
 * After a failure what out points to is NULL, 0 or false, and account, channel,
 * session and store are as they were before the call, except where a function
 * says otherwise. An out pointer that is NULL is refused before anything is done.
 *
 * Beside the errors that a function names, each may answer NULL_POINTER (an
 * argument that may not be NULL), INVALID_UTF8, INVALID_LENGTH, and each that
 * takes a handle STALE_HANDLE, WRONG_HANDLE, BUSY, FORKED, PANIC, NOT_FOUND (the
 * object was erased), STORE_CLOSED, STORE_IO, CORRUPT and NEWER_FORMAT (of a
 * record). The names are those of the statuses without MATRIXE2EE_STATUS_.
 *
 * PANIC is an error in the library itself. The object that it happened in
 * refuses further use; shut the store down and open it again.
 *
 * HANDLES. A handle is a ticket and not an address: the library looks it up and
 * never follows it. One that was freed, made up, or comes from another copy of
 * the library is an error (STALE_HANDLE), and so is one of another kind
 * (WRONG_HANDLE). Each handle is released with the _free function of its kind,
 * which ignores NULL and tickets that are not open. Releasing a handle releases
 * the ticket only: what is stored stays, and objects that were opened on it go
 * on working. Opening the same thing twice gives two handles to one live object.
 *
 * TEXT. Text that goes in is UTF-8 and ends with a NUL; the library copies what
 * it keeps. Text that comes out, `char **out`, belongs to the caller and is
 * released with matrixe2ee_string_free(), which wipes it first. It may be
 * written to, but not beyond its end. A `const char *` that is returned is not
 * released. Optional text is NULL, an optional number -1.
 *
 * Text that is JSON has the shape that the Matrix specification gives it;
 * everything of this library's own has an example beside the function. Repeated
 * keys and deep nesting are refused, and in JSON that is signed, numbers that
 * canonical JSON does not have. An event may have 65,536 bytes without its
 * "unsigned", the keys of a device 64 KiB, an answer to /keys/claim 16 MiB, any
 * other JSON 128 MiB; reading it may take four times its size in memory. Beyond
 * that it is TOO_LARGE. Where a call takes many of something, what is wrong with
 * one is said in the answer and spoils no other.
 *
 * SECRETS. Keys go in as pointer and length and are copied; wipe your own copy
 * after the call, with matrixe2ee_wipe(). Wipe, too, what you copy out of
 * texts: plaintexts and room keys. Error texts never hold keys or plaintexts.
 * The library wipes all memory that it frees, and after calls that read or write
 * JSON or records the 64 KiB of the stack below them.
 *
 * DURABILITY. What a call says is on disk on return has been synced. A
 * ciphertext is given out only after the state that forbids using its key again
 * is on disk. A kill between matrixe2ee_olm_channel_decrypt() (or
 * matrixe2ee_olm_channel_first_event()) and
 * matrixe2ee_inbound_megolm_session_from_room_key() may lose that room key: store
 * it at once.
 *
 * THREADS. Every function may be called from any thread, and every handle used
 * from several at once; calls on one object wait for each other. A handle may
 * be freed while another thread uses it: that call ends as if it had not been.
 *
 * CALLBACKS run on the thread of the call. They may not call back into the
 * library: such a call answers BUSY. (Handles may be freed inside a callback;
 * what they stand for goes on until the call around it has ended.)
 *
 * FORK. After fork() the handles made before it answer FORKED in the child, and
 * freeing them there does nothing to what they stand for. The child may open a
 * store of its own, but not a file that the parent has open. If other threads
 * were running at the fork, the C library and SQLite ask it to call exec() soon.
 * Process IDs play no part: a child in another namespace is noticed, too. Only a
 * child that shares its parent's memory (vfork()) must not call the library.
 *
 * A first program: open a store, open the account on it, upload what
 * matrixe2ee_account_keys_upload_request() gives, and tell the account the
 * answer. The order of the functions below is the order in which one needs them.
 */

#ifndef MATRIXE2EE_H
#define MATRIXE2EE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/// The version of the ABI that this header describes: the program compares it
/// with what matrixe2ee_abi_version() gives.
#define MATRIXE2EE_ABI_VERSION 2

/// The version of the library that this header belongs to, in three parts.
#define MATRIXE2EE_VERSION_MAJOR 0

/// Its second part.
#define MATRIXE2EE_VERSION_MINOR 2

/// Its third part.
#define MATRIXE2EE_VERSION_PATCH 0

/// The result of a call: 0 is success, everything else a kind of error.
///
/// Numbers are never reused; a later version may add new ones, so treat an
/// unknown number as a failure.
enum matrixe2ee_status
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : int32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
  /// The call did what it says.
  MATRIXE2EE_STATUS_OK = 0,
  /// A pointer argument that may not be NULL is NULL.
  MATRIXE2EE_STATUS_NULL_POINTER = 1,
  /// A text argument is not valid UTF-8.
  MATRIXE2EE_STATUS_INVALID_UTF8 = 2,
  /// A byte argument has the wrong length.
  MATRIXE2EE_STATUS_INVALID_LENGTH = 3,
  /// The handle was freed, or was never made by this library.
  MATRIXE2EE_STATUS_STALE_HANDLE = 4,
  /// The handle belongs to another kind of object than the call takes.
  MATRIXE2EE_STATUS_WRONG_HANDLE = 5,
  /// A callback called back into the library.
  MATRIXE2EE_STATUS_BUSY = 6,
  /// The handle was made before this process was forked.
  MATRIXE2EE_STATUS_FORKED = 7,
  /// An internal error; the handle refuses further use. Reopen the store.
  MATRIXE2EE_STATUS_PANIC = 8,
  /// The text is not JSON, repeats a key, or is nested too deeply.
  MATRIXE2EE_STATUS_INVALID_JSON = 100,
  /// A field or an argument is missing, or has the wrong type or value.
  MATRIXE2EE_STATUS_INVALID_FIELD = 101,
  /// The input is larger than the library accepts.
  MATRIXE2EE_STATUS_TOO_LARGE = 102,
  /// A key is badly encoded, of the wrong length, not canonical or weak.
  MATRIXE2EE_STATUS_INVALID_KEY = 103,
  /// A signature is missing or does not verify.
  MATRIXE2EE_STATUS_BAD_SIGNATURE = 104,
  /// The algorithm is not one that this call handles.
  MATRIXE2EE_STATUS_UNKNOWN_ALGORITHM = 105,
  /// There is no session to encrypt or decrypt with.
  MATRIXE2EE_STATUS_NO_SESSION = 200,
  /// The message has no ciphertext for this device.
  MATRIXE2EE_STATUS_NOT_ENCRYPTED_FOR_US = 201,
  /// The ciphertext could not be decrypted.
  MATRIXE2EE_STATUS_UNABLE_TO_DECRYPT = 202,
  /// The message was decrypted, but what it says of itself is wrong: discard it.
  MATRIXE2EE_STATUS_INVALID_MESSAGE = 203,
  /// The fingerprint key is not the one known for this device.
  MATRIXE2EE_STATUS_MISMATCHED_FINGERPRINT = 204,
  /// The fingerprint key of the other device is not known, or not from device keys.
  MATRIXE2EE_STATUS_UNKNOWN_FINGERPRINT = 205,
  /// The room key must be rotated: create a new outbound session.
  MATRIXE2EE_STATUS_SESSION_EXPIRED = 300,
  /// The room has no encryption settings.
  MATRIXE2EE_STATUS_ROOM_NOT_ENCRYPTED = 301,
  /// The event, its plaintext and the session do not name the same room.
  MATRIXE2EE_STATUS_WRONG_ROOM = 302,
  /// The event was not sent by the owner of the session.
  MATRIXE2EE_STATUS_WRONG_SENDER = 303,
  /// The session ID is not the one of the key or session.
  MATRIXE2EE_STATUS_MISMATCHED_SESSION_ID = 304,
  /// The message is older than the first one that the session can decrypt.
  MATRIXE2EE_STATUS_UNKNOWN_INDEX = 305,
  /// The message index was already used by another event.
  MATRIXE2EE_STATUS_REPLAY = 306,
  /// Nothing of that name is stored, or it was erased.
  MATRIXE2EE_STATUS_NOT_FOUND = 500,
  /// An object of that name is stored already.
  MATRIXE2EE_STATUS_ALREADY_EXISTS = 501,
  /// The store is open already, here or in another process.
  MATRIXE2EE_STATUS_STORE_IN_USE = 502,
  /// The store was shut down.
  MATRIXE2EE_STATUS_STORE_CLOSED = 503,
  /// A stored record was altered, exchanged or damaged.
  MATRIXE2EE_STATUS_CORRUPT = 504,
  /// The store or record was written by a newer version of this library.
  MATRIXE2EE_STATUS_NEWER_FORMAT = 505,
  /// The key does not open this store or pickle.
  MATRIXE2EE_STATUS_WRONG_KEY = 506,
  /// The store could not read or write.
  MATRIXE2EE_STATUS_STORE_IO = 507,
  /// The clock callback reported a failure.
  MATRIXE2EE_STATUS_CLOCK_FAILED = 508,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum matrixe2ee_status matrixe2ee_status;
#else
typedef int32_t matrixe2ee_status;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

/// One device of one user: its long-term keys and its one-time keys.
typedef struct matrixe2ee_account matrixe2ee_account;

/// One failure in words and in JSON. It is never changed after it was made,
/// belongs to the caller, and is released with matrixe2ee_error_free().
typedef struct matrixe2ee_error matrixe2ee_error;

/// A room key of some device, with which its messages in one room are decrypted.
///
/// Whoever sends a room key proves only that he has it. Who owns the session is a
/// claim, and up to four users may claim one: an event is read under the claim of its
/// sender, whatever others say. What a handle says of the session's origin is the
/// claim of the user it was opened for, or the best one: our own, then one that came
/// through a channel, then what an import said.
typedef struct matrixe2ee_inbound_megolm_session matrixe2ee_inbound_megolm_session;

/// All Olm sessions with one other device: the encrypted way to send it room keys
/// and other to-device events.
typedef struct matrixe2ee_olm_channel matrixe2ee_olm_channel;

/// The session that encrypts what this device sends to one room.
typedef struct matrixe2ee_outbound_megolm_session matrixe2ee_outbound_megolm_session;

/// Where accounts, channels and sessions are kept, encrypted. A store may hold
/// several accounts.
typedef struct matrixe2ee_store matrixe2ee_store;

/// Hands a record that was found to the library, which copies it.
///
/// \param sink as it was given to get or scan. It is good on the thread of that
/// call and until it returns; later, and elsewhere, emit refuses it.
/// \param key,key_len the record's key: in get the one that was asked for.
/// \param value,value_len the record's value.
///
/// Returns 0, or another number if the record was refused; then return that
/// number from get or scan, whose call fails in any case.
typedef int32_t (*matrixe2ee_emit)(void *sink,
                                   const uint8_t *key,
                                   size_t key_len,
                                   const uint8_t *value,
                                   size_t value_len);

/// One change of a commit. The pointers are good until commit returns.
typedef struct matrixe2ee_store_change {
  /// The name of the collection.
  const char *collection;
  /// The record's key.
  const uint8_t *key;
  /// Its length, from 1 to 255.
  size_t key_len;
  /// The record's new value; NULL deletes the record, if there is one.
  const uint8_t *value;
  /// Its length.
  size_t value_len;
} matrixe2ee_store_change;

/// A place for records, for matrixe2ee_store_foreign(): a database, a server, a
/// file of the program's own.
///
/// A record is a value under a key in a collection. The names of collections
/// have 1 to 32 lower-case letters and underscores; there are a few of them, and
/// new versions of the library may bring more. Keys have 1 to 255 bytes, values
/// at least one; any byte may occur. Both are hashed or encrypted before they
/// get here: a backend needs no cryptography and sees no secret. All that a
/// program must get right is in three functions:
///
/// ```c
/// static int32_t get(void *db, const char *collection, const uint8_t *key,
///                    size_t key_len, matrixe2ee_emit emit, void *sink) {
///     const struct row *row = find(db, collection, key, key_len);
///     return row ? emit(sink, key, key_len, row->value, row->value_len) : 0;
/// }
/// static int32_t scan(void *db, const char *collection, const uint8_t *after,
///                     size_t after_len, uint32_t limit, matrixe2ee_emit emit,
///                     void *sink) {
///     int32_t status = 0;
///     const struct row *row = first_after(db, collection, after, after_len);
///     for (; row && limit-- && !status; row = next(row))
///         status = emit(sink, row->key, row->key_len, row->value, row->value_len);
///     return status;
/// }
/// static int32_t commit(void *db, const matrixe2ee_store_change *changes,
///                       size_t count) {
///     begin(db);
///     for (size_t i = 0; i < count; i++)
///         changes[i].value ? upsert(db, &changes[i]) : erase(db, &changes[i]);
///     return commit_to_disk(db);
/// }
/// ```
///
/// The functions run on the thread of the call that needs them, on several
/// threads at once. They must not throw C++ exceptions or longjmp out, and not
/// wait for a thread that is inside a call of this library. A call of this
/// library from inside them, beside emit, answers MATRIXE2EE_STATUS_BUSY. If one
/// returns anything but 0, the call that needed it fails with
/// MATRIXE2EE_STATUS_STORE_IO, and its message has the number.
///
/// ONE OPENER. Only one store may be open on the same records at a time; two
/// would use the same message keys. The library cannot see to that here: the
/// backend must.
///
/// tests/c/store_contract.h tries these rules on any backend.
typedef struct matrixe2ee_store_backend {
  /// sizeof(matrixe2ee_store_backend). Later versions of the library may add
  /// functions, all of them optional, at the end: a program that was compiled
  /// without them goes on working, and what a library does not know it does
  /// not call.
  size_t struct_size;
  /// Passed to all functions; may be NULL.
  void *userdata;
  /// Called exactly once, when the library will not use the backend again,
  /// while no function of the backend runs. May be NULL.
  void (*destroy)(void *userdata);
  /// Emits the record with this key, as the last commit left it, or nothing
  /// if there is none.
  int32_t (*get)(void *userdata,
                 const char *collection,
                 const uint8_t *key,
                 size_t key_len,
                 matrixe2ee_emit emit,
                 void *sink);
  /// Emits the first records of a collection whose keys are greater than
  /// after_key (NULL: the first of all), in the order of their keys, until
  /// there are no more or limit have been emitted; limit is at least 1. Keys
  /// are compared as by memcmp(), and a key comes before every longer key that
  /// begins with it.
  int32_t (*scan)(void *userdata,
                  const char *collection,
                  const uint8_t *after_key,
                  size_t after_key_len,
                  uint32_t limit,
                  matrixe2ee_emit emit,
                  void *sink);
  /// Makes all changes, in their order, or none of them, even if the process
  /// dies meanwhile. On return they are on disk, and seen by every later call
  /// on any thread. After a failure the library reads again what it had in
  /// memory, so the changes may have been made or not; but never some of them.
  int32_t (*commit)(void *userdata,
                    const struct matrixe2ee_store_change *changes,
                    size_t count);
} matrixe2ee_store_backend;

/// A clock of the program's own, for matrixe2ee_store_set_clock().
///
/// The functions run on the thread of the call that needs the time, perhaps on
/// several threads at once, and must not throw C++ exceptions or longjmp out.
/// A call of this library from inside them answers MATRIXE2EE_STATUS_BUSY.
typedef struct matrixe2ee_clock {
  /// sizeof(matrixe2ee_clock); it grows as that of matrixe2ee_store_backend.
  size_t struct_size;
  /// Passed to both functions; may be NULL.
  void *userdata;
  /// Called exactly once, when the library will not use the clock again. May
  /// be NULL.
  void (*destroy)(void *userdata);
  /// The current Unix time in milliseconds; a negative number means failure,
  /// and the call that asked fails with MATRIXE2EE_STATUS_CLOCK_FAILED.
  int64_t (*now_ms)(void *userdata);
} matrixe2ee_clock;

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

/// The status of an error, the same that the failed call returned.
///
/// Gives MATRIXE2EE_STATUS_OK for NULL.
matrixe2ee_status matrixe2ee_error_code(const matrixe2ee_error *error);

/// What went wrong, as an English sentence for logs. It holds no key and no
/// plaintext.
///
/// The text belongs to the error object and lives as long as it. NULL for NULL.
const char *matrixe2ee_error_message(const matrixe2ee_error *error);

/// The error as a JSON object, with the fields that a program may act on:
/// {"code": 305, "name": "UNKNOWN_INDEX", "detail": "...", "first_known": 4, "got": 2}.
///
/// The fields beside code, name and detail are: field (INVALID_FIELD), limit
/// (TOO_LARGE), algorithm (UNKNOWN_ALGORITHM), reason (UNABLE_TO_DECRYPT and
/// SESSION_EXPIRED), first_known and got (UNKNOWN_INDEX), message_index and
/// event_id (REPLAY), found and supported (NEWER_FORMAT).
///
/// The text belongs to the error object and lives as long as it. NULL for NULL.
const char *matrixe2ee_error_json(const matrixe2ee_error *error);

/// Releases an error object and its texts. NULL is ignored. Unlike a handle,
/// an error object must not be freed twice.
void matrixe2ee_error_free(matrixe2ee_error *error);

/// The name of a status, for example "UNKNOWN_INDEX"; "UNKNOWN" for a number
/// that this version does not know. The text is static: do not free it.
const char *matrixe2ee_status_name(int32_t status);

/// The version of the library that is running, for example "0.2.0". The text
/// is static: do not free it.
const char *matrixe2ee_version(void);

/// The version of the ABI of the library that is running. A program that was
/// compiled with another MATRIXE2EE_ABI_VERSION must not use it.
uint32_t matrixe2ee_abi_version(void);

/// Wipes and releases a text that this library gave out through an out
/// pointer. NULL is ignored. Do not pass anything else, and nothing twice.
void matrixe2ee_string_free(char *string);

/// Overwrites memory with zeroes in a way that the compiler does not leave out:
/// for the program's own copies of keys and plaintexts. NULL is ignored.
void matrixe2ee_wipe(
    void *data,
    size_t length);

/// Makes the body of a request to /keys/claim, asking for one signed_curve25519
/// key for each device.
///
/// Usable from any thread; touches no store.
///
/// \param devices the devices by user: {"@bob:example.org": ["DEVICE"]}.
/// \param timeout_ms how long the server may wait for other servers, in
/// milliseconds; -1 leaves it to the server.
/// \param out {"one_time_keys": {"@bob:example.org": {"DEVICE":
/// "signed_curve25519"}}, "timeout": 10000}, to be released with
/// matrixe2ee_string_free().
///
/// Errors: NULL_POINTER, INVALID_UTF8, INVALID_JSON, INVALID_FIELD, TOO_LARGE.
matrixe2ee_status matrixe2ee_keys_claim_request(
    const char *devices,
    int64_t timeout_ms,
    char **out,
    matrixe2ee_error **err);

/// Reads the server's answer to /keys/claim, dropping what was not asked for.
///
/// The signatures are checked later, by
/// matrixe2ee_olm_channel_create_outbound_channel(), which takes the innermost
/// object, {key_id: key}, as its recipient_one_time_key. Usable from any
/// thread; touches no store.
///
/// \param request the body that was sent.
/// \param response the body that the server answered: at most 16 MiB or, if
/// that is more, 1,024 bytes for each device that the request asks for.
/// \param out {"one_time_keys": {"@bob:example.org": {"DEVICE":
/// {"signed_curve25519:AAAAHQ": {"key": "...", "signatures": {...}}}}},
/// "failures": ["example.net"]}, to be released with matrixe2ee_string_free().
/// A device that has no key is absent. One whose key is of no use is named in
/// "failed": [{"device": {"user_id": "...", "device_id": "..."}, "error":
/// {...}}], which is there only if there is one; without "device_id" if all that the
/// answer has of the user is of no use.
///
/// Errors: NULL_POINTER, INVALID_UTF8, INVALID_JSON, INVALID_FIELD, TOO_LARGE.
matrixe2ee_status matrixe2ee_read_keys_claim_response(
    const char *request,
    const char *response,
    char **out,
    matrixe2ee_error **err);

/// Checks one Ed25519 signature of a signed JSON object: the status is the
/// answer.
///
/// Usable from any thread; touches no store.
///
/// \param object the whole object with its signatures: {"key": "...",
/// "signatures": {"@bob:example.org": {"ed25519:DEVICE": "..."}}}.
/// \param user_id whose signature.
/// \param key_id which signature, for example "ed25519:DEVICE".
/// \param public_key the Ed25519 key in unpadded base64.
///
/// Errors: NULL_POINTER, INVALID_UTF8, INVALID_JSON, INVALID_FIELD, TOO_LARGE,
/// INVALID_KEY, BAD_SIGNATURE (missing, or does not verify).
matrixe2ee_status matrixe2ee_verify_signed_json(
    const char *object,
    const char *user_id,
    const char *key_id,
    const char *public_key,
    matrixe2ee_error **err);

/// Writes a JSON value as canonical JSON: sorted keys, no spaces, integers only, -0
/// as 0.
///
/// Usable from any thread; touches no store.
///
/// \param value any JSON, for example {"b": 1, "a": 2}.
/// \param out {"a":2,"b":1}, to be released with matrixe2ee_string_free().
///
/// Errors: NULL_POINTER, INVALID_UTF8, INVALID_JSON, INVALID_FIELD, TOO_LARGE.
matrixe2ee_status matrixe2ee_canonical_json(
    const char *value,
    char **out,
    matrixe2ee_error **err);

/// Makes a store that lives in memory only, for tests and for programs that
/// keep nothing.
///
/// \param key 32 random bytes, encrypting the store; the library keeps its own
/// copy: wipe yours.
/// \param out the new store, to be released with matrixe2ee_store_free().
///
/// Errors: NULL_POINTER, INVALID_LENGTH (key_len is not 32).
matrixe2ee_status matrixe2ee_store_in_memory(
    const uint8_t *key,
    size_t key_len,
    matrixe2ee_store **out,
    matrixe2ee_error **err);

/// Opens the store in an SQLite file, or creates the file.
///
/// Only one opener at a time: while this store is open, here or in another
/// process, a second one is refused. Beside the file stand a file ending in -wal
/// while it is open, and an empty one ending in -lock for good. Everything that a
/// later call reports as done is on disk when that call returns, as far as the
/// operating system and the disk keep their word.
///
/// \param path the file, as UTF-8.
/// \param key 32 random bytes, encrypting every record; keep them in the
/// system's key ring and wipe your copy after the call.
/// \param out the store, to be released with matrixe2ee_store_free().
///
/// Errors: NULL_POINTER, INVALID_UTF8, INVALID_LENGTH (key_len is not 32),
/// INVALID_FIELD (the path names no file), STORE_IN_USE, WRONG_KEY, CORRUPT,
/// NEWER_FORMAT, STORE_IO.
matrixe2ee_status matrixe2ee_store_open_sqlite(
    const char *path,
    const uint8_t *key,
    size_t key_len,
    matrixe2ee_store **out,
    matrixe2ee_error **err);

/// Opens the store in an SQLite file with a passphrase, or creates the file.
///
/// As matrixe2ee_store_open_sqlite(), for a secret that a person types: Argon2id
/// (RFC 9106: 64 MiB of memory, 3 passes, 4 lanes) makes it into a key, which
/// takes some 0.2 seconds at each opening.
///
/// \param path the file, as UTF-8.
/// \param passphrase UTF-8, not empty, not necessarily NUL-terminated; wipe your
/// copy after the call.
/// \param out the store, to be released with matrixe2ee_store_free().
///
/// Errors: NULL_POINTER, INVALID_UTF8, INVALID_LENGTH (empty or too long),
/// INVALID_FIELD (the path names no file), STORE_IN_USE, WRONG_KEY (another
/// passphrase, or a store that is opened with a key), CORRUPT, NEWER_FORMAT,
/// STORE_IO.
matrixe2ee_status matrixe2ee_store_open_sqlite_with_passphrase(
    const char *path,
    const uint8_t *passphrase,
    size_t passphrase_len,
    matrixe2ee_store **out,
    matrixe2ee_error **err);

/// Lets another key open the store from now on, in place of the former key or
/// passphrase.
///
/// One small record is rewritten, at once, and is durable when this returns: a
/// crash leaves the former key working or the new one. The records are not
/// encrypted anew: who has the former key and a copy of the file from before can
/// also read and change later states of it.
///
/// \param new_key 32 random bytes; wipe your copy after the call.
///
/// Errors: NULL_POINTER, INVALID_LENGTH (new_key_len is not 32), STORE_CLOSED,
/// STORE_IO.
matrixe2ee_status matrixe2ee_store_rekey(
    const matrixe2ee_store *store,
    const uint8_t *new_key,
    size_t new_key_len,
    matrixe2ee_error **err);

/// As matrixe2ee_store_rekey(), with a passphrase: from now on
/// matrixe2ee_store_open_sqlite_with_passphrase() opens the store.
///
/// \param passphrase UTF-8, not empty; wipe your copy after the call.
///
/// Errors: NULL_POINTER, INVALID_UTF8, INVALID_LENGTH (empty or too long),
/// INVALID_FIELD (a foreign store, which is opened with keys only), STORE_CLOSED,
/// STORE_IO.
matrixe2ee_status matrixe2ee_store_rekey_with_passphrase(
    const matrixe2ee_store *store,
    const uint8_t *passphrase,
    size_t passphrase_len,
    matrixe2ee_error **err);

/// Reads the whole store and says what is wrong with it.
///
/// That takes a few seconds for each million records; other calls go on
/// meanwhile. A damaged record is a problem of its object alone: calls that need
/// it answer CORRUPT, all others go on. Lists of inbound sessions leave damaged
/// ones out, which are reported here only. An object that is stored again or erased
/// is whole again. A damaged inbound_megolm_use record costs up to 32 consecutive
/// messages of one sender.
///
/// \param out [], or [{"collection": "inbound_megolm_session", "kind": "damaged",
/// "count": 2}], to be released with matrixe2ee_string_free(): "damaged" records
/// were altered, put back to an earlier state, or cannot be told from such;
/// "missing" ones are gone, "unexpected" ones were deleted or never written.
///
/// Errors: STORE_CLOSED, STORE_IO.
matrixe2ee_status matrixe2ee_store_problems(
    const matrixe2ee_store *store,
    char **out,
    matrixe2ee_error **err);

/// Copies what is good into a new store, in an SQLite file of its own, which is on
/// disk when this returns.
///
/// For a store that matrixe2ee_store_problems() tells of. What is damaged and does
/// not keep keys from being used twice is left behind; an account, channel or
/// outbound session that is damaged here is CORRUPT there, too. After an error,
/// delete the file. Go on with one of the two stores only and delete the other:
/// both would use the same message keys. Both have the same data key, which `key`
/// encrypts in the new file only.
///
/// \param path the new file, as UTF-8, which must not exist or be empty.
/// \param key 32 random bytes; wipe your copy after the call.
///
/// Errors: NULL_POINTER, INVALID_UTF8, INVALID_LENGTH (key_len is not 32),
/// INVALID_FIELD (the path names no file), ALREADY_EXISTS (the file holds
/// something), STORE_IN_USE, STORE_CLOSED, STORE_IO, NEWER_FORMAT (a newer version
/// of the library has stored what this one does not know, and would leave behind).
matrixe2ee_status matrixe2ee_store_salvage(
    const matrixe2ee_store *store,
    const char *path,
    const uint8_t *key,
    size_t key_len,
    matrixe2ee_error **err);

/// Opens the store whose records are kept by a backend of the program's own, or
/// makes a new one if the backend keeps nothing yet.
///
/// The table is copied during the call; what userdata points to must live until
/// destroy is called. The table is refused if out, backend, get, scan or commit
/// is NULL (NULL_POINTER) or if struct_size is none that a version has (INVALID_LENGTH);
/// destroy is then not called. In every other case it is called exactly once, on
/// any thread and never while another function of the backend runs: before this
/// call returns if the call fails for another reason, and otherwise inside
/// matrixe2ee_store_shut_down(), or when the last handle on the store and on
/// everything opened on it has been freed. It is the last use of the table. In
/// a forked child it is not called for what the parent has open.
///
/// \param backend the functions that keep the records.
/// \param key 32 random bytes, encrypting every record, the same at every
/// opening; wipe your copy after the call.
/// \param out the store, to be released with matrixe2ee_store_free().
///
/// Errors: NULL_POINTER, INVALID_LENGTH (also if key_len is not 32), WRONG_KEY,
/// CORRUPT, NEWER_FORMAT, STORE_IO (the backend failed, or broke its rules).
matrixe2ee_status matrixe2ee_store_foreign(
    const matrixe2ee_store_backend *backend,
    const uint8_t *key,
    size_t key_len,
    matrixe2ee_store **out,
    matrixe2ee_error **err);

/// Gives the store, and everything opened on it, another clock than the
/// system's.
///
/// The table is copied during the call; what userdata points to must live until
/// destroy is called. The table is refused if clock is NULL or now_ms is NULL
/// (NULL_POINTER) or if struct_size is none that a version has (INVALID_LENGTH); destroy is
/// then not called. In every other case it is called exactly once: before this
/// call returns if the call fails for another reason, and otherwise when
/// another clock takes its place or the last handle on the store has been
/// freed. It is the last use of the table. It may run on any thread that uses
/// the store.
///
/// Errors: NULL_POINTER, INVALID_LENGTH, STORE_CLOSED.
matrixe2ee_status matrixe2ee_store_set_clock(
    const matrixe2ee_store *store,
    const matrixe2ee_clock *clock,
    matrixe2ee_error **err);

/// Closes the store: writes what is still to be written and releases the file,
/// so that it can be opened again.
///
/// From then on every handle on the store answers STORE_CLOSED, except this
/// function, which answers OK again. The handles must still be freed. A backend
/// of the program's own is destroyed, once no function of it runs. If the last
/// write fails (STORE_IO), the store is closed all the same, and what the
/// earlier calls reported as done is not affected.
///
/// Errors: STORE_IO.
matrixe2ee_status matrixe2ee_store_shut_down(
    const matrixe2ee_store *store,
    matrixe2ee_error **err);

/// Releases a store handle. NULL, freed handles and handles of other kinds are
/// ignored.
///
/// This does not close the store while an account, channel or session opened
/// on it still has a handle: for that there is matrixe2ee_store_shut_down().
void matrixe2ee_store_free(matrixe2ee_store *store);

/// Opens the account of a device, or creates it with new keys the first time.
///
/// On return a new account is on disk. Opening twice gives two handles to the same
/// account; release each with matrixe2ee_account_free().
///
/// \param user_id for example "@alice:example.org".
/// \param device_id the device ID that the server gave at login.
///
/// Errors: INVALID_FIELD (a malformed ID).
matrixe2ee_status matrixe2ee_account_open(
    const matrixe2ee_store *store,
    const char *user_id,
    const char *device_id,
    matrixe2ee_account **out,
    matrixe2ee_error **err);

/// Opens the account of a device that the store has. Unlike matrixe2ee_account_open() it
/// creates none: a user or device ID that is mistyped is an error, and not a device with
/// new keys.
///
/// \param user_id for example "@alice:example.org".
/// \param device_id the device ID that the server gave at login.
/// \param out the account, to be released with matrixe2ee_account_free().
///
/// Errors: NOT_FOUND (the store has no such account), INVALID_FIELD (a malformed ID).
matrixe2ee_status matrixe2ee_account_open_existing(
    const matrixe2ee_store *store,
    const char *user_id,
    const char *device_id,
    matrixe2ee_account **out,
    matrixe2ee_error **err);

/// The user ID that the account was opened with.
///
/// \param out the text, to be released with matrixe2ee_string_free().
matrixe2ee_status matrixe2ee_account_user_id(
    const matrixe2ee_account *account,
    char **out,
    matrixe2ee_error **err);

/// The device ID that the account was opened with.
///
/// \param out the text, to be released with matrixe2ee_string_free().
matrixe2ee_status matrixe2ee_account_device_id(
    const matrixe2ee_account *account,
    char **out,
    matrixe2ee_error **err);

/// The Curve25519 identity key in unpadded base64: other devices know this device
/// by it in Olm messages ("sender_key").
///
/// \param out the text, to be released with matrixe2ee_string_free().
matrixe2ee_status matrixe2ee_account_identity_key(
    const matrixe2ee_account *account,
    char **out,
    matrixe2ee_error **err);

/// The Ed25519 fingerprint key in unpadded base64: it signs for this device and is
/// what users compare.
///
/// \param out the text, to be released with matrixe2ee_string_free().
matrixe2ee_status matrixe2ee_account_fingerprint_key(
    const matrixe2ee_account *account,
    char **out,
    matrixe2ee_error **err);

/// The signed device keys, as /keys/upload takes them in "device_keys".
///
/// \param out {"user_id": "...", "device_id": "...", "algorithms": [...], "keys":
/// {"curve25519:DEVICE": "...", "ed25519:DEVICE": "..."}, "signatures": {...}}, to
/// be released with matrixe2ee_string_free().
matrixe2ee_status matrixe2ee_account_device_keys(
    const matrixe2ee_account *account,
    char **out,
    matrixe2ee_error **err);

/// Signs a JSON object with the fingerprint key.
///
/// \param object any JSON object; "signatures" and "unsigned" are not signed.
/// \param out the whole object with the signature added under "signatures", to be
/// released with matrixe2ee_string_free().
///
/// Errors: INVALID_JSON, INVALID_FIELD, TOO_LARGE.
matrixe2ee_status matrixe2ee_account_sign_json(
    const matrixe2ee_account *account,
    const char *object,
    char **out,
    matrixe2ee_error **err);

/// Encrypts events for many devices, each in the channel that is stored for it, on
/// all cores and with one commit.
///
/// On return all sessions are on disk. If the call fails, nothing was encrypted.
///
/// \param items [{"user_id": "@bob:example.org", "identity_key": "...", "type":
/// "m.room_key", "content": {...}}]; a device may occur more than once.
/// \param out a list in the order of the items: [{"content": {content of
/// m.room.encrypted}}, {"error": {"code": 500, "name": "NOT_FOUND", "detail":
/// "..."}}], to be released with matrixe2ee_string_free().
///
/// Errors: INVALID_JSON, INVALID_FIELD, TOO_LARGE. What is wrong with one item is in
/// its place in the list: NOT_FOUND (no channel to the device is stored),
/// UNKNOWN_FINGERPRINT, NO_SESSION, INVALID_JSON, INVALID_FIELD, INVALID_KEY,
/// TOO_LARGE.
matrixe2ee_status matrixe2ee_account_encrypt_for_devices(
    const matrixe2ee_account *account,
    const char *items,
    char **out,
    matrixe2ee_error **err);

/// Decrypts events of any rooms with the sessions that are stored, on all cores and
/// with one commit.
///
/// On return it is recorded which events have used their message indices.
///
/// \param events a list of events as for matrixe2ee_inbound_megolm_session_decrypt().
/// \param out a list in the order of the events: [{"event": {...}}, {"error":
/// {"code": 200, "name": "NO_SESSION", "detail": "..."}}], to be released with
/// matrixe2ee_string_free().
///
/// Errors: INVALID_JSON, INVALID_FIELD, TOO_LARGE. What is wrong with one event is
/// in its place in the list: NO_SESSION (its room key is not there), and what
/// matrixe2ee_inbound_megolm_session_decrypt() may answer.
matrixe2ee_status matrixe2ee_account_decrypt_room_events(
    const matrixe2ee_account *account,
    const char *events,
    char **out,
    matrixe2ee_error **err);

/// Erases the account and everything stored under it: channels, sessions, keys.
///
/// On return it is gone from disk, and every handle to any of it answers NOT_FOUND.
/// The handles must still be freed.
///
/// NEWER_FORMAT, and nothing is erased, if a newer version of the library has stored
/// what this one does not know, and would leave behind.
matrixe2ee_status matrixe2ee_account_erase(
    const matrixe2ee_account *account,
    matrixe2ee_error **err);

/// Releases an account handle. NULL, freed handles and handles of other kinds are
/// ignored. What is stored stays.
void matrixe2ee_account_free(matrixe2ee_account *account);

/// The body of the next request to /keys/upload, or NULL if there is nothing to
/// upload.
///
/// It holds what the server lacks as far as is known from
/// matrixe2ee_account_receive_key_counts(): device keys, one-time keys, a fallback
/// key. The keys in it are on disk on return. Until the answer has come in, the
/// same request is given again, unless a message has used one of its keys before: that
/// shows that the request has arrived. Call this after each sync, and send one request
/// at a time. Once the server has refused five in a row, there is nothing to upload for
/// an hour after each refusal.
///
/// \param out {"device_keys": {...}, "one_time_keys": {"signed_curve25519:AAAAAQ":
/// {...}}, "fallback_keys": {...}}, to be released with matrixe2ee_string_free();
/// NULL, with MATRIXE2EE_STATUS_OK, if there is nothing to upload.
///
/// Errors: CLOCK_FAILED.
matrixe2ee_status matrixe2ee_account_keys_upload_request(
    const matrixe2ee_account *account,
    char **out,
    matrixe2ee_error **err);

/// Tells the account what the server answered to the body of
/// matrixe2ee_account_keys_upload_request(). On return it is on disk.
///
/// With status 200 the keys count as published. With 400 the one-time keys of the
/// request are given up, so that the next request has new ones. If the body says
/// anything else than that a key exists already, that is reported as INVALID_FIELD of
/// "body", for somebody to look at; the request is closed all the same. After any other
/// status the request stays open.
///
/// \param http_status the HTTP status of the answer.
/// \param body the body of the answer, for example {"one_time_key_counts":
/// {"signed_curve25519": 50}}; after a 200, one that cannot be read counts as one
/// without counts. It is read to 64 KiB.
///
/// Errors: INVALID_FIELD ("http_status": no request is open; "body": the server refused
/// it), CLOCK_FAILED (with 400).
matrixe2ee_status matrixe2ee_account_receive_keys_upload_response(
    const matrixe2ee_account *account,
    uint16_t http_status,
    const char *body,
    matrixe2ee_error **err);

/// Tells the account how many of its keys the server still has, from each answer to
/// /sync. On return it is on disk.
///
/// A fallback key counts as used if its type is missing after it was listed, or after a
/// message has used it: an answer from before its upload does not replace it. It is
/// replaced by a later request, not within an hour of its first use.
///
/// \param one_time_counts "device_one_time_keys_count": {"signed_curve25519": 20};
/// {} means none.
/// \param unused_fallback_types "device_unused_fallback_key_types":
/// ["signed_curve25519"]; NULL if the answer has no such field.
///
/// Errors: INVALID_JSON, INVALID_FIELD, TOO_LARGE, CLOCK_FAILED.
matrixe2ee_status matrixe2ee_account_receive_key_counts(
    const matrixe2ee_account *account,
    const char *one_time_counts,
    const char *unused_fallback_types,
    matrixe2ee_error **err);

/// Lists the inbound Megolm sessions that are stored, in the order of their session
/// IDs, in pages.
///
/// A page costs what it lists, however many sessions are stored, and no other call
/// waits for it. So pages are no snapshot: a session that is there all the time is in
/// one of them, once. A damaged session is left out (matrixe2ee_store_problems()
/// counts it). The first call on a store that an earlier version of this library has
/// made, or whose lists are damaged, builds the lists: some seconds for 100,000
/// sessions.
///
/// \param room_id only those of this room; NULL for all.
/// \param after the last session ID of the page before; NULL for the first page.
/// \param limit how many sessions a page has, 1 to 10,000; -1 for 1,000. A page with
/// fewer is the last one. One with more ends with a session ID that stands in several
/// rooms, as it does only if somebody wants it to: these are not divided.
/// \param out [{"room_id": "!r:example.org", "session_id": "...", "sender_key":
/// "...", "owner_user_id": "@bob:example.org", "first_known_index": 0,
/// "authenticated": true}], to be released with matrixe2ee_string_free();
/// "owner_user_id" is absent while the owner is unknown.
///
/// Errors: INVALID_FIELD.
matrixe2ee_status matrixe2ee_account_list_sessions(
    const matrixe2ee_account *account,
    const char *room_id,
    const char *after,
    int64_t limit,
    char **out,
    matrixe2ee_error **err);

/// Lists the Olm channels that are stored, in the order of their identity keys, in
/// pages. As to cost and damage, this is as matrixe2ee_account_list_sessions().
///
/// With it a program can delete channels that it does not want, as those of strangers:
/// matrixe2ee_olm_channel_create_from_storage(), matrixe2ee_olm_channel_erase().
/// Strangers cannot fill the store, though: of channels that were made from messages,
/// in which nothing was sent since and whose fingerprint is not known from device
/// keys, each user has at most 100, and there are at most 10,000. For one more, the one
/// of the same user, or of all, that was used least recently is deleted; of all, it is
/// the oldest of a hundredth part, so that the first ones may go when there are some
/// 7,000.
///
/// \param after the last identity key of the page before; NULL for the first page.
/// \param limit how many channels a page has, 1 to 10,000; -1 for 1,000. A page with
/// fewer is the last one. One with more ends with an identity key that several users
/// have: these are not divided.
/// \param out [{"user_id": "@bob:example.org", "identity_key": "...", "device_id":
/// "BOBPHONE", "fingerprint": "device_keys", "session_count": 1, "last_used_ms":
/// 1700000000000}], to be released with matrixe2ee_string_free(). "fingerprint" is
/// "unknown", "learned" or "device_keys", as in matrixe2ee_olm_channel_partner();
/// "last_used_ms" is when the channel encrypted or decrypted last, or up to an hour
/// earlier, as Unix time in milliseconds, and absent if that was with an earlier
/// version; "device_id" is absent if it is not known.
///
/// Errors: INVALID_FIELD.
matrixe2ee_status matrixe2ee_account_list_channels(
    const matrixe2ee_account *account,
    const char *after,
    int64_t limit,
    char **out,
    matrixe2ee_error **err);

/// Takes over an account that libolm (olm_pickle_account) has pickled: same keys, same device.
///
/// On return it is on disk; from then on the old copy must not be used. The
/// device keys are uploaded again, and one-time keys once
/// matrixe2ee_account_receive_key_counts() has told how many the server has.
///
/// \param pickle the pickle, as text, of any version of libolm from 1.1 on.
/// \param pickle_key the key that the pickle was written with; wipe your copy after
/// the call.
/// \param out the account, to be released with matrixe2ee_account_free().
///
/// Errors: ALREADY_EXISTS, WRONG_KEY, INVALID_FIELD (not such a pickle), NEWER_FORMAT (of a
/// libolm that is not known yet).
matrixe2ee_status matrixe2ee_account_from_libolm_pickle(
    const matrixe2ee_store *store,
    const char *user_id,
    const char *device_id,
    const char *pickle,
    const uint8_t *pickle_key,
    size_t pickle_key_len,
    matrixe2ee_account **out,
    matrixe2ee_error **err);

/// Takes over an account that vodozemac has pickled: same keys, same device.
///
/// On return it is on disk; from then on the old copy must not be used. The
/// device keys are uploaded again, and one-time keys once
/// matrixe2ee_account_receive_key_counts() has told how many the server has.
///
/// \param pickle the pickle, as text.
/// \param pickle_key the key that the pickle was written with; wipe your copy after
/// the call.
/// \param out the account, to be released with matrixe2ee_account_free().
///
/// Errors: ALREADY_EXISTS, WRONG_KEY, INVALID_LENGTH (pickle_key_len is not 32),
/// INVALID_FIELD (not such a pickle).
matrixe2ee_status matrixe2ee_account_from_vodozemac_pickle(
    const matrixe2ee_store *store,
    const char *user_id,
    const char *device_id,
    const char *pickle,
    const uint8_t *pickle_key,
    size_t pickle_key_len,
    matrixe2ee_account **out,
    matrixe2ee_error **err);

/// Takes over sessions that libolm has pickled, of all kinds and in any number: as
/// matrixe2ee_olm_channel_from_libolm_pickles(),
/// matrixe2ee_inbound_megolm_session_from_libolm_pickle() and
/// matrixe2ee_outbound_megolm_session_from_libolm_pickle() do it one by one.
///
/// They are written to disk in chunks of about 1,000, in the order of the list;
/// other calls on this account wait meanwhile. After an error or a crash, what was
/// written stays: make the same call again, it finds that stored ("known") and goes
/// on.
///
/// \param sessions [{"kind": "olm", "user_id": "@bob:example.org", "identity_key":
/// "...", "pickle": "..."}, {"kind": "inbound_megolm", "room_id":
/// "!r:example.org", "sender_key": "...", "pickle": "...", "sender_user_id":
/// "@bob:example.org"}, {"kind": "outbound_megolm", "room_id": "!r:example.org",
/// "pickle": "..."}]; "sender_user_id" is optional. The sessions with one device
/// stand in the order in which they last received, the oldest first.
/// \param pickle_key the key that all were written with; wipe your copy after the
/// call.
/// \param out {"imported": 3, "merged": 0, "known": 0, "surplus": 0, "failed":
/// [{"index": 4, "error": {...}}]}, to be released with matrixe2ee_string_free():
/// "merged" sessions were stored and can decrypt more now; "surplus" ones were left
/// out because their channel has 8 newer ones; "failed" ones spoil no other.
/// A session belongs to one room or channel. An outbound or Olm session that was
/// erased here does not come back, nor does an Olm session that made room for
/// another, for its ratchet would be used twice: it counts as "known".
///
/// Errors: INVALID_JSON, INVALID_FIELD, TOO_LARGE (the list), CLOCK_FAILED, CORRUPT
/// and NEWER_FORMAT (of the store; a pickle's faults stand in "failed").
matrixe2ee_status matrixe2ee_account_import_libolm_sessions(
    const matrixe2ee_account *account,
    const char *sessions,
    const uint8_t *pickle_key,
    size_t pickle_key_len,
    char **out,
    matrixe2ee_error **err);

/// Takes over exported Megolm sessions, in any number: the list that a decrypted key file
/// holds, or what matrixe2ee_inbound_megolm_session_export_at() gave. Each is stored as
/// matrixe2ee_inbound_megolm_session_from_export() does without a user, and merged with
/// what is stored.
///
/// They are written to disk in chunks of 200, in the order of the list; other calls on
/// this account wait for one chunk at most. After an error or a crash, what was written
/// stays: make the same call again, it finds that stored ("known") and goes on.
///
/// \param sessions [{"algorithm": "m.megolm.v1.aes-sha2", "room_id": "!r:example.org",
/// "session_id": "...", "session_key": "...", "sender_key": "...", "sender_claimed_keys":
/// {"ed25519": "..."}, "forwarding_curve25519_key_chain": []}]: room keys, so wipe your
/// own copy after the call. It may have 128 MiB, about 200,000 sessions; import more in
/// several calls.
/// \param out {"imported": 3, "merged": 0, "known": 0, "surplus": 0, "failed":
/// [{"index": 4, "error": {...}}]}, to be released with matrixe2ee_string_free():
/// "merged" sessions were stored and can decrypt more now, or have one claim more;
/// "surplus" is 0; "failed" ones spoil no other, and neither does one whose record in the
/// store is damaged (CORRUPT).
///
/// Errors: INVALID_JSON, INVALID_FIELD, TOO_LARGE (the list).
matrixe2ee_status matrixe2ee_account_import_sessions(
    const matrixe2ee_account *account,
    const char *sessions,
    char **out,
    matrixe2ee_error **err);

/// Makes the channel to a device with which there is none yet.
///
/// The signatures of both arguments are checked. On return the channel is on disk.
///
/// \param recipient_device_keys the device's entry in the answer to /keys/query:
/// {"user_id": "...", "device_id": "...", "algorithms": [...], "keys": {...},
/// "signatures": {...}}.
/// \param recipient_one_time_key one claimed key, {"signed_curve25519:AAAAHQ":
/// {"key": "...", "signatures": {...}}}: what
/// matrixe2ee_read_keys_claim_response() gives for the device.
/// \param out the channel, to be released with matrixe2ee_olm_channel_free().
///
/// Errors: INVALID_JSON, INVALID_FIELD (also "partner": the own device), TOO_LARGE,
/// INVALID_KEY, BAD_SIGNATURE, UNKNOWN_ALGORITHM, ALREADY_EXISTS (open it with
/// matrixe2ee_olm_channel_create_from_storage() and add a session).
matrixe2ee_status matrixe2ee_olm_channel_create_outbound_channel(
    const matrixe2ee_account *account,
    const char *recipient_device_keys,
    const char *recipient_one_time_key,
    matrixe2ee_olm_channel **out,
    matrixe2ee_error **err);

/// Makes the channel from the first message of a device with which there is none
/// yet.
///
/// The call succeeds once the channel is on disk and the one-time key is used up;
/// matrixe2ee_olm_channel_first_event() then gives the decrypted event, or fails
/// with what is wrong with it. If this call fails, nothing has changed.
///
/// Anybody can send such messages, under any number of invented devices:
/// matrixe2ee_account_list_channels() says how many of these channels there may be.
/// Until something was sent in it, or the device's keys were given, a channel may make
/// room for another; then its handles answer NOT_FOUND.
///
/// \param partner_user_id the event's "sender".
/// \param partner_identity_key the "sender_key" of the event's content.
/// \param content the event's content: {"algorithm":
/// "m.olm.v1.curve25519-aes-sha2", "sender_key": "...", "ciphertext": {"<our
/// identity key>": {"type": 0, "body": "..."}}}.
/// \param partner_device_id the device ID, if it is known; NULL otherwise.
/// \param partner_fingerprint_key the device's Ed25519 key, if it is known from
/// device keys that were checked; NULL otherwise.
/// \param out the channel, to be released with matrixe2ee_olm_channel_free().
///
/// Errors: INVALID_JSON, INVALID_FIELD (also "partner": the own device), TOO_LARGE,
/// INVALID_KEY, UNKNOWN_ALGORITHM, NOT_ENCRYPTED_FOR_US, UNABLE_TO_DECRYPT,
/// INVALID_MESSAGE (no message type 0 or 1), CLOCK_FAILED, ALREADY_EXISTS (open it with
/// matrixe2ee_olm_channel_create_from_storage() and decrypt there).
matrixe2ee_status matrixe2ee_olm_channel_create_from_encrypted_message(
    const matrixe2ee_account *account,
    const char *partner_user_id,
    const char *partner_identity_key,
    const char *content,
    const char *partner_device_id,
    const char *partner_fingerprint_key,
    matrixe2ee_olm_channel **out,
    matrixe2ee_error **err);

/// Opens a channel that is stored.
///
/// \param out the channel, to be released with matrixe2ee_olm_channel_free(); every
/// handle to one channel stands for the same live object.
///
/// Errors: NOT_FOUND (there is none), INVALID_FIELD, INVALID_KEY.
matrixe2ee_status matrixe2ee_olm_channel_create_from_storage(
    const matrixe2ee_account *account,
    const char *partner_user_id,
    const char *partner_identity_key,
    matrixe2ee_olm_channel **out,
    matrixe2ee_error **err);

/// Takes over the Olm sessions with one device that libolm (olm_pickle_session) has
/// pickled.
///
/// An existing channel gets the sessions that it lacks, as older than its own; one
/// that it has is not put back to an older state. On return they are on disk; from
/// then on the old copies must not be used.
///
/// \param pickles a JSON list of pickles, in the order in which the sessions last
/// received, the oldest first: ["...", "..."]. The last one encrypts.
/// \param pickle_key the key that they were written with; wipe your copy after the
/// call.
/// \param out the channel, to be released with matrixe2ee_olm_channel_free().
///
/// A session belongs to one channel. A session that was erased here, or made room
/// for another, does not come back: its ratchet would be used twice.
///
/// Errors: WRONG_KEY, INVALID_JSON, INVALID_FIELD (not such a pickle, a session
/// between other devices or of another channel, or "partner": the own device),
/// INVALID_KEY, NEWER_FORMAT (of a libolm that is not known yet), ALREADY_EXISTS (all
/// of them were erased here).
matrixe2ee_status matrixe2ee_olm_channel_from_libolm_pickles(
    const matrixe2ee_account *account,
    const char *partner_user_id,
    const char *partner_identity_key,
    const char *pickles,
    const uint8_t *pickle_key,
    size_t pickle_key_len,
    matrixe2ee_olm_channel **out,
    matrixe2ee_error **err);

/// Takes over the Olm sessions with one device that vodozemac has pickled.
///
/// An existing channel gets the sessions that it lacks, as older than its own. On
/// return they are on disk; from then on the old copies must not be used.
///
/// \param pickles a JSON list of pickles, the oldest first: ["...", "..."].
/// \param pickle_key the key that they were written with; wipe your copy after the
/// call.
/// \param out the channel, to be released with matrixe2ee_olm_channel_free().
///
/// Errors: WRONG_KEY, INVALID_LENGTH (pickle_key_len is not 32), INVALID_JSON,
/// INVALID_FIELD (not such a pickle, or a session of another channel), INVALID_KEY,
/// ALREADY_EXISTS (all of them were erased here; they do not come back).
matrixe2ee_status matrixe2ee_olm_channel_from_vodozemac_pickles(
    const matrixe2ee_account *account,
    const char *partner_user_id,
    const char *partner_identity_key,
    const char *pickles,
    const uint8_t *pickle_key,
    size_t pickle_key_len,
    matrixe2ee_olm_channel **out,
    matrixe2ee_error **err);

/// The event that came with the message the channel was made from.
///
/// It is kept in memory by the handle that
/// matrixe2ee_olm_channel_create_from_encrypted_message() gave, and may be read
/// repeatedly.
///
/// \param out the decrypted event, as from matrixe2ee_olm_channel_decrypt(), to be
/// released with matrixe2ee_string_free().
///
/// Errors: NOT_FOUND (any other handle), INVALID_MESSAGE, MISMATCHED_FINGERPRINT.
matrixe2ee_status matrixe2ee_olm_channel_first_event(
    const matrixe2ee_olm_channel *channel,
    char **out,
    matrixe2ee_error **err);

/// Adds a new Olm session, for example when
/// matrixe2ee_olm_channel_should_create_new_session() says so. On return it is on
/// disk.
///
/// \param one_time_key one claimed key of the device, {"signed_curve25519:AAAAHQ":
/// {...}}.
///
/// Errors: INVALID_JSON, INVALID_FIELD, TOO_LARGE, INVALID_KEY, BAD_SIGNATURE,
/// UNKNOWN_ALGORITHM, UNKNOWN_FINGERPRINT (give the device keys first, with
/// matrixe2ee_olm_channel_set_partner_device_keys()).
matrixe2ee_status matrixe2ee_olm_channel_add_outbound_olm_session(
    const matrixe2ee_olm_channel *channel,
    const char *one_time_key,
    matrixe2ee_error **err);

/// Encrypts an event for the device.
///
/// On return the session's new state is on disk, so that no key is used twice even
/// after a crash. Send what was returned, and send the same again if sending
/// failed: never encrypt again for a second try.
///
/// \param event_type for example "m.room_key".
/// \param content the event's content, a JSON object.
/// \param out the content of an m.room.encrypted event for /sendToDevice:
/// {"algorithm": "m.olm.v1.curve25519-aes-sha2", "sender_key": "...", "ciphertext":
/// {"...": {"type": 0, "body": "..."}}}, to be released with
/// matrixe2ee_string_free().
///
/// Errors: INVALID_JSON, INVALID_FIELD, TOO_LARGE, NO_SESSION, UNKNOWN_FINGERPRINT.
matrixe2ee_status matrixe2ee_olm_channel_encrypt(
    const matrixe2ee_olm_channel *channel,
    const char *event_type,
    const char *content,
    char **out,
    matrixe2ee_error **err);

/// Decrypts a message of the device and checks what it says of itself.
///
/// On return the session's new state is on disk: the same message does not decrypt
/// again. Store what comes out before you acknowledge the /sync answer that brought
/// it; see the beginning of this header on room keys.
///
/// \param content the content of the m.room.encrypted event.
/// \param out the event: {"type": "m.room_key", "content": {...}, "sender": "...",
/// "recipient": "...", "recipient_keys": {...}, "keys": {...}}, to be released with
/// matrixe2ee_string_free(). It is secret: it may hold a room key.
///
/// Errors: INVALID_JSON, INVALID_FIELD, TOO_LARGE, INVALID_KEY, UNKNOWN_ALGORITHM,
/// NOT_ENCRYPTED_FOR_US, UNABLE_TO_DECRYPT (nothing has changed but the answer of
/// matrixe2ee_olm_channel_should_create_new_session(): ask it), CLOCK_FAILED
/// (a first message), INVALID_MESSAGE, MISMATCHED_FINGERPRINT. After the last two the
/// ratchet has moved on, and the message is to be discarded.
matrixe2ee_status matrixe2ee_olm_channel_decrypt(
    const matrixe2ee_olm_channel *channel,
    const char *content,
    char **out,
    matrixe2ee_error **err);

/// The number of Olm sessions in the channel, at most 8.
matrixe2ee_status matrixe2ee_olm_channel_session_count(
    const matrixe2ee_olm_channel *channel,
    uint32_t *out,
    matrixe2ee_error **err);

/// Gives the channel the partner's signed device keys, from /keys/query. They are
/// checked; the fingerprint is then "device_keys". On return it is on disk.
///
/// The device ID may be another than before, as a new login of an old store makes it;
/// the channel has the new one then. Messages whose sender names another ID are read as
/// well; the channel takes over the ID from them only while nobody has given it keys.
///
/// \param device_keys {"user_id": "...", "device_id": "...", "algorithms": [...],
/// "keys": {...}, "signatures": {...}}.
///
/// Errors: INVALID_JSON, INVALID_FIELD (keys of another device, or the own one), TOO_LARGE,
/// INVALID_KEY, BAD_SIGNATURE, MISMATCHED_FINGERPRINT.
matrixe2ee_status matrixe2ee_olm_channel_set_partner_device_keys(
    const matrixe2ee_olm_channel *channel,
    const char *device_keys,
    matrixe2ee_error **err);

/// Who the other device is, as far as is known.
///
/// \param out {"user_id": "@bob:example.org", "identity_key": "...", "device_id":
/// "BOBDEVICE", "fingerprint_key": "...", "fingerprint": "device_keys"}, to be
/// released with matrixe2ee_string_free(). "fingerprint" is "unknown", "learned"
/// (from a message) or "device_keys" (given by the caller); "device_id" and
/// "fingerprint_key" are absent while unknown.
matrixe2ee_status matrixe2ee_olm_channel_partner(
    const matrixe2ee_olm_channel *channel,
    char **out,
    matrixe2ee_error **err);

/// Whether the sessions with this device are broken, so that a new one should be
/// made: claim a key, call matrixe2ee_olm_channel_add_outbound_olm_session() and
/// send an m.dummy event.
///
/// True at most once an hour; a true answer is on disk on return.
///
/// Errors: CLOCK_FAILED.
matrixe2ee_status matrixe2ee_olm_channel_should_create_new_session(
    const matrixe2ee_olm_channel *channel,
    bool *out,
    matrixe2ee_error **err);

/// Erases the channel and its sessions.
///
/// On return it is gone from disk, and every handle to it answers NOT_FOUND. The
/// handles must still be freed.
matrixe2ee_status matrixe2ee_olm_channel_erase(
    const matrixe2ee_olm_channel *channel,
    matrixe2ee_error **err);

/// Releases a channel handle. NULL, freed handles and handles of other kinds are
/// ignored. What is stored stays.
void matrixe2ee_olm_channel_free(matrixe2ee_olm_channel *channel);

/// Makes a new session and makes it the room's current one. On return it is on
/// disk.
///
/// The session that was the room's current one has expired for good with that, for
/// all its handles (SESSION_EXPIRED with the reason "superseded"): to whom its key
/// was sent is deleted in the same write. Messages that it has encrypted before can
/// be sent as ever, and it can be opened by its ID, given to
/// matrixe2ee_inbound_megolm_session_from_outbound_session() and erased. If this
/// fails, it is the current one as before. One whose record is damaged stays as it
/// is, out of use.
///
/// \param room_id for example "!room:example.org".
/// \param settings limits applied to the room's own values, each of them optional:
/// {"minimum_rotation_period_ms": 3600000, "maximum_rotation_period_msgs": 10000,
/// "reserve_ahead": 32, "old_shared_history_names": false}; NULL for these values.
/// reserve_ahead (0 to 1000) says how many messages one write to disk serves; a
/// crash skips the indices that were left, and they count as messages. With 0 or
/// 1, each message is written by itself. old_shared_history_names writes
/// m.shared_history, which matrix-sdk-crypto 0.19 reads, beside the
/// specification's shared_history, which it does not.
/// \param out the session, to be released with
/// matrixe2ee_outbound_megolm_session_free().
///
/// Errors: INVALID_JSON, INVALID_FIELD, CLOCK_FAILED.
matrixe2ee_status matrixe2ee_outbound_megolm_session_create(
    const matrixe2ee_account *account,
    const char *room_id,
    const char *settings,
    matrixe2ee_outbound_megolm_session **out,
    matrixe2ee_error **err);

/// Opens a session that is stored.
///
/// \param session_id which one; NULL for the room's current one.
/// \param out the session, to be released with
/// matrixe2ee_outbound_megolm_session_free(); every handle to one session stands
/// for the same live object.
///
/// Errors: NOT_FOUND, INVALID_FIELD.
matrixe2ee_status matrixe2ee_outbound_megolm_session_create_from_storage(
    const matrixe2ee_account *account,
    const char *room_id,
    const char *session_id,
    matrixe2ee_outbound_megolm_session **out,
    matrixe2ee_error **err);

/// Takes over an outbound session that libolm (olm_pickle_outbound_group_session)
/// has pickled. It becomes the room's current one if the room has none. On return it
/// is on disk; from then on the old copy must not be used.
///
/// A pickle does not say who has the key, and somebody who has left the room since
/// may be among them. So
/// matrixe2ee_outbound_megolm_session_get_session_key_for_sending() answers
/// SESSION_EXPIRED (make a new session), unless
/// matrixe2ee_outbound_megolm_session_mark_as_sent() was told before which devices
/// have the key, all of them. Nor does it say when the session was made: its age
/// counts from now, its messages from its beginning.
///
/// \param pickle the pickle, as text.
/// \param pickle_key the key that it was written with; wipe your copy after the
/// call.
/// \param out the session, to be released with
/// matrixe2ee_outbound_megolm_session_free().
///
/// A session belongs to one room. A session that was erased here does not come back:
/// its ratchet would be used twice.
///
/// Errors: ALREADY_EXISTS (what is stored, or was, may have encrypted since),
/// WRONG_ROOM (it belongs to another room), WRONG_KEY, INVALID_FIELD (not such a
/// pickle), NEWER_FORMAT (of a libolm that is not known yet), CLOCK_FAILED.
matrixe2ee_status matrixe2ee_outbound_megolm_session_from_libolm_pickle(
    const matrixe2ee_account *account,
    const char *room_id,
    const char *pickle,
    const uint8_t *pickle_key,
    size_t pickle_key_len,
    matrixe2ee_outbound_megolm_session **out,
    matrixe2ee_error **err);

/// The session's ID.
///
/// \param out the text, to be released with matrixe2ee_string_free().
matrixe2ee_status matrixe2ee_outbound_megolm_session_session_id(
    const matrixe2ee_outbound_megolm_session *session,
    char **out,
    matrixe2ee_error **err);

/// The index of the next message.
matrixe2ee_status matrixe2ee_outbound_megolm_session_message_index(
    const matrixe2ee_outbound_megolm_session *session,
    uint32_t *out,
    matrixe2ee_error **err);

/// Says which devices still need the room key, and with what content. Call it
/// before each message, encrypt each content for its device with
/// matrixe2ee_olm_channel_encrypt(), send, and report with
/// matrixe2ee_outbound_megolm_session_mark_as_sent(). Until then a device is given
/// the same key again, also after a restart: that is on disk on return.
///
/// \param recipients {"encryption": {"algorithm": "m.megolm.v1.aes-sha2"},
/// "history_visibility": "shared", "members": {"@bob:example.org": "join"},
/// "device_keys": {"@bob:example.org": {"DEVICE": {...}}}, "blocked":
/// {"@bob:example.org": {"OTHER": "m.blacklisted"}}}. "members" is complete; a
/// member who is absent from "device_keys" has no devices.
/// \param out [{"device": {...}, "content": {...}}], one entry for each device that
/// lacks the key, with its full device keys and the content of m.room_key. A
/// blocked device has {"device": {...}, "withheld": {...}} instead, the content of
/// m.room_key.withheld; a device whose keys fail their checks has {"device": {...},
/// "error": {...}}, counts as gone and spoils no other. "device" is the entry as it
/// was given, or {"user_id": "...", "device_id": "..."} if that is no object, cannot be
/// read or says that it is another device; without "device_id" if that is so of all
/// that is listed under the user. To be released with matrixe2ee_string_free(). It is
/// secret: it holds the room key.
///
/// The keys with which a device is first given a room key are remembered by the
/// account for good: with others it has the error MISMATCHED_FINGERPRINT, in every
/// room and session. Blocking a device that had the key expires the session, but
/// for "m.no_olm": it could only not be reached. The same text as the last time
/// costs little.
///
/// Errors: INVALID_JSON, INVALID_FIELD, TOO_LARGE, ROOM_NOT_ENCRYPTED,
/// UNKNOWN_ALGORITHM, CLOCK_FAILED, SESSION_EXPIRED (someone who has the key is no
/// longer a recipient, or the session is used up: make a new one; or "superseded":
/// open the room's current one).
matrixe2ee_status matrixe2ee_outbound_megolm_session_get_session_key_for_sending(
    const matrixe2ee_outbound_megolm_session *session,
    const char *recipients,
    char **out,
    matrixe2ee_error **err);

/// Reports to which devices the key, or the news that it is withheld, has been
/// sent. On return it is on disk.
///
/// \param devices the "device" objects that
/// matrixe2ee_outbound_megolm_session_get_session_key_for_sending() gave: [{...}].
/// For a session that was taken over, the first call tells who has its key already:
/// full device keys, as from /keys/query, or [] if nobody has. An entry that cannot
/// be read is INVALID_FIELD then, and nothing changes; later it is ignored. For a
/// superseded session nothing is noted, and that is no error.
///
/// Errors: INVALID_JSON, INVALID_FIELD, TOO_LARGE.
matrixe2ee_status matrixe2ee_outbound_megolm_session_mark_as_sent(
    const matrixe2ee_outbound_megolm_session *session,
    const char *devices,
    matrixe2ee_error **err);

/// Encrypts an event for the room.
///
/// On return the message's index can never be used again, even after a crash. Send
/// what was returned, and send the same again if sending failed: never encrypt
/// again for a second try.
///
/// \param event_type for example "m.room.message".
/// \param content the event's content, a JSON object: {"msgtype": "m.text", "body":
/// "Hello"}.
/// \param out the content of an m.room.encrypted event: {"algorithm":
/// "m.megolm.v1.aes-sha2", "sender_key": "...", "device_id": "...", "session_id":
/// "...", "ciphertext": "..."}, and "m.relates_to" if the content has it; to be
/// released with matrixe2ee_string_free().
///
/// Errors: INVALID_JSON, INVALID_FIELD, TOO_LARGE (the event that the server makes of
/// it could have over 65,536 bytes; no index is used), CLOCK_FAILED, SESSION_EXPIRED
/// (make a new session, or if it is "superseded", open the room's current one).
matrixe2ee_status matrixe2ee_outbound_megolm_session_encrypt(
    const matrixe2ee_outbound_megolm_session *session,
    const char *event_type,
    const char *content,
    char **out,
    matrixe2ee_error **err);

/// Ends the use of the session: from now on it encrypts nothing. Call it when
/// someone has left the room. On return it is on disk.
matrixe2ee_status matrixe2ee_outbound_megolm_session_invalidate(
    const matrixe2ee_outbound_megolm_session *session,
    matrixe2ee_error **err);

/// Erases the session.
///
/// On return it is gone from disk, and every handle to it answers NOT_FOUND. The
/// handles must still be freed.
matrixe2ee_status matrixe2ee_outbound_megolm_session_erase(
    const matrixe2ee_outbound_megolm_session *session,
    matrixe2ee_error **err);

/// Releases a session handle. NULL, freed handles and handles of other kinds are
/// ignored. What is stored stays.
///
/// The last handle of a session gives back what was reserved ahead and not used,
/// which writes to disk: keep the handle while you write to the room.
void matrixe2ee_outbound_megolm_session_free(matrixe2ee_outbound_megolm_session *session);

/// The session that decrypts what the own outbound session encrypts, from its
/// current index on: make it before the first message. On return it is on disk.
///
/// \param out the session, to be released with
/// matrixe2ee_inbound_megolm_session_free().
matrixe2ee_status matrixe2ee_inbound_megolm_session_from_outbound_session(
    const matrixe2ee_outbound_megolm_session *outbound,
    matrixe2ee_inbound_megolm_session **out,
    matrixe2ee_error **err);

/// Stores the room key of an m.room_key event that came through a channel, which its
/// sender claims with it.
///
/// If the session is stored already, the two are merged: the lower first index is
/// kept, and this claim beside those of others. What was stored under its ID without
/// a signature and is another session gives way. On return it is on disk.
///
/// What is known of the device ("sender_fingerprint" of
/// matrixe2ee_inbound_megolm_session_decrypt()) is taken from the channel with it, now
/// and whenever the channel comes to know more.
///
/// \param sender_user_id the channel's partner.
/// \param sender_key the identity key of the channel's partner.
/// \param room_key_content the decrypted event's content: {"algorithm":
/// "m.megolm.v1.aes-sha2", "room_id": "...", "session_id": "...", "session_key":
/// "..."}.
/// \param out the session, to be released with
/// matrixe2ee_inbound_megolm_session_free().
///
/// Errors: INVALID_JSON, INVALID_FIELD, TOO_LARGE, INVALID_KEY, BAD_SIGNATURE,
/// UNKNOWN_ALGORITHM, MISMATCHED_SESSION_ID (also when another signed session has
/// this ID), WRONG_SENDER (the session is our own, or as many users claim it as may).
matrixe2ee_status matrixe2ee_inbound_megolm_session_from_room_key(
    const matrixe2ee_account *account,
    const char *sender_user_id,
    const char *sender_key,
    const char *room_key_content,
    matrixe2ee_inbound_megolm_session **out,
    matrixe2ee_error **err);

/// Stores an exported room key, from a file, a backup or
/// matrixe2ee_inbound_megolm_session_export_at().
///
/// An export proves nothing about its origin: the session is not authenticated. If
/// the session is stored already, the two are merged. On return it is on disk.
///
/// \param session_data {"algorithm": "m.megolm.v1.aes-sha2", "room_id": "...",
/// "session_id": "...", "session_key": "...", "sender_key": "...",
/// "sender_claimed_keys": {...}, "forwarding_curve25519_key_chain": []}.
/// \param sender_user_id the user of the device that "sender_key" belongs to, if you
/// know: only this user's events are then decrypted with it. NULL if the owner is
/// unknown: events of any sender are decrypted until the room key comes from that
/// device.
/// \param out the session, to be released with
/// matrixe2ee_inbound_megolm_session_free().
///
/// Errors: as for matrixe2ee_inbound_megolm_session_from_room_key();
/// MISMATCHED_SESSION_ID whenever another session has this ID.
matrixe2ee_status matrixe2ee_inbound_megolm_session_from_export(
    const matrixe2ee_account *account,
    const char *session_data,
    const char *sender_user_id,
    matrixe2ee_inbound_megolm_session **out,
    matrixe2ee_error **err);

/// Takes over an inbound session that libolm (olm_pickle_inbound_group_session) has
/// pickled.
///
/// A pickle proves nothing about its origin: the session is not authenticated, until
/// a room key that came through a channel proves it. If the session is stored
/// already, the two are merged. On return it is on disk.
///
/// \param sender_key the identity key of the device that the session came from.
/// \param pickle the pickle, as text.
/// \param pickle_key the key that it was written with; wipe your copy after the
/// call.
/// \param sender_user_id the user of that device, if you know: only this user's events
/// are then decrypted with it. NULL if the owner is unknown.
/// \param out the session, to be released with
/// matrixe2ee_inbound_megolm_session_free().
///
/// Errors: WRONG_KEY, INVALID_FIELD (not such a pickle), NEWER_FORMAT (of a libolm that
/// is not known yet), INVALID_KEY, WRONG_SENDER, MISMATCHED_SESSION_ID (another session
/// is stored under its ID).
matrixe2ee_status matrixe2ee_inbound_megolm_session_from_libolm_pickle(
    const matrixe2ee_account *account,
    const char *room_id,
    const char *sender_key,
    const char *pickle,
    const uint8_t *pickle_key,
    size_t pickle_key_len,
    const char *sender_user_id,
    matrixe2ee_inbound_megolm_session **out,
    matrixe2ee_error **err);

/// Opens a session that is stored.
///
/// \param room_id the event's room.
/// \param session_id the "session_id" of the event's content.
/// \param sender_user_id the event's sender, whose claim the handle then shows; a
/// session that only others own is not found. NULL to ask for no sender.
/// \param out the session, to be released with
/// matrixe2ee_inbound_megolm_session_free(); every handle to one session stands for
/// the same live object.
///
/// Errors: NOT_FOUND, INVALID_FIELD.
matrixe2ee_status matrixe2ee_inbound_megolm_session_from_storage(
    const matrixe2ee_account *account,
    const char *room_id,
    const char *session_id,
    const char *sender_user_id,
    matrixe2ee_inbound_megolm_session **out,
    matrixe2ee_error **err);

/// Decrypts an event of the room.
///
/// The message index is remembered with the event's ID, so that the same ciphertext
/// in another event is noticed; decrypting the same event again is fine. While nobody
/// knows the owner, each sender has indices of his own.
///
/// \param event the whole event: {"event_id": "$e", "sender": "@bob:example.org",
/// "room_id": "!room:example.org", "origin_server_ts": 1700000000000, "content":
/// {...}}. An answer to /sync leaves "room_id" out: add it. "unsigned" is not looked
/// at and may be of any size.
/// \param out {"type": "m.room.message", "content": {...}, "room_id": "...",
/// "matrixe2ee": {"message_index": 0, "session_id": "...", "sender_key": "...",
/// "authenticated": true, "owner": "known", "sender_fingerprint": "device_keys",
/// "unauthenticated": ["m.relates_to"]}}, to be released with
/// matrixe2ee_string_free(). "authenticated" says that the key came through a channel
/// from the device of "sender_key"; "sender_fingerprint" what is known of that device:
/// "device_keys" if you gave its signed keys, "learned" or "unknown" if the server may
/// have invented it. Neither says that a person verified anything. "owner" is
/// "unknown" if nobody says who made the session; "unauthenticated" lists what was
/// taken from outside the ciphertext.
///
/// Errors: INVALID_JSON, INVALID_FIELD, TOO_LARGE, UNKNOWN_ALGORITHM,
/// UNABLE_TO_DECRYPT (with the reason "redacted" if nothing is left of the content),
/// INVALID_MESSAGE, WRONG_ROOM, WRONG_SENDER, MISMATCHED_SESSION_ID, UNKNOWN_INDEX,
/// REPLAY.
matrixe2ee_status matrixe2ee_inbound_megolm_session_decrypt(
    const matrixe2ee_inbound_megolm_session *session,
    const char *event,
    char **out,
    matrixe2ee_error **err);

/// Decrypts a list of events of this session, on all processor cores and with one
/// write to disk.
///
/// \param events a JSON list of events, each as for
/// matrixe2ee_inbound_megolm_session_decrypt().
/// \param out a list in the same order: [{"event": {...}}, {"error": {"code": 306,
/// "name": "REPLAY", "detail": "..."}}], to be released with
/// matrixe2ee_string_free().
///
/// Errors: INVALID_JSON, INVALID_FIELD, TOO_LARGE. What is wrong with one event is
/// in its place in the list.
matrixe2ee_status matrixe2ee_inbound_megolm_session_decrypt_many(
    const matrixe2ee_inbound_megolm_session *session,
    const char *events,
    char **out,
    matrixe2ee_error **err);

/// The session's ID.
///
/// \param out the text, to be released with matrixe2ee_string_free().
matrixe2ee_status matrixe2ee_inbound_megolm_session_session_id(
    const matrixe2ee_inbound_megolm_session *session,
    char **out,
    matrixe2ee_error **err);

/// The Curve25519 identity key of the device that the session came from, or is said
/// to come from. (Decrypting says it for each event.)
///
/// \param out the text, to be released with matrixe2ee_string_free().
matrixe2ee_status matrixe2ee_inbound_megolm_session_sender_key(
    const matrixe2ee_inbound_megolm_session *session,
    char **out,
    matrixe2ee_error **err);

/// Whether the session came through a channel from the device that "sender_key" gives,
/// and not from an export or a backup.
matrixe2ee_status matrixe2ee_inbound_megolm_session_authenticated(
    const matrixe2ee_inbound_megolm_session *session,
    bool *out,
    matrixe2ee_error **err);

/// The index of the first message that the session can decrypt.
matrixe2ee_status matrixe2ee_inbound_megolm_session_first_known_index(
    const matrixe2ee_inbound_megolm_session *session,
    uint32_t *out,
    matrixe2ee_error **err);

/// Exports the session, for another device of the same user or for a backup.
///
/// \param index the first message that the export can decrypt; -1 for the first
/// known one.
/// \param out what matrixe2ee_inbound_megolm_session_from_export() takes, to be
/// released with matrixe2ee_string_free(). It is secret: it holds the room key.
///
/// Errors: INVALID_FIELD (not an index), UNKNOWN_INDEX (before the first known one).
matrixe2ee_status matrixe2ee_inbound_megolm_session_export_at(
    const matrixe2ee_inbound_megolm_session *session,
    int64_t index,
    char **out,
    matrixe2ee_error **err);

/// Erases the session and all claims to it.
///
/// On return it is gone from disk, and every handle to it answers NOT_FOUND. The
/// handles must still be freed.
matrixe2ee_status matrixe2ee_inbound_megolm_session_erase(
    const matrixe2ee_inbound_megolm_session *session,
    matrixe2ee_error **err);

/// Releases a session handle. NULL, freed handles and handles of other kinds are
/// ignored. What is stored stays.
void matrixe2ee_inbound_megolm_session_free(matrixe2ee_inbound_megolm_session *session);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* MATRIXE2EE_H */

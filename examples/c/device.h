/*
 * One device: its store and its account, what it says to the homeserver, and how it reads and writes
 * in the room. The functions end the program if a call fails that may not fail.
 */
#ifndef DEVICE_H
#define DEVICE_H

#include "homeserver.h"

#include <jansson.h>
#include <matrixe2ee.h>

#define ROOM HOMESERVER_ROOM

struct device {
    const char *name;
    const char *user_id;
    const char *device_id;
    char path[1000];
    uint8_t store_key[32]; /* a real program keeps it in the system's key store */
    matrixe2ee_store *store;
    matrixe2ee_account *account;
};

/* The program that uses a device defines these two. */

/* Shows a line to whoever watches, as printf() does. */
void tell(const char *format, ...);

/* Ends the program, because of an error of this name or something that should hold. */
_Noreturn void fail(const char *what);

/* Opens the store and the account in it; the first time, both are made. */
void open_device(struct device *device);

void close_device(struct device *device);

/* Uploads what the account has to upload, if anything. */
void upload_keys(homeserver *server, const struct device *device);

/* The devices of all who are in the room: {user: {device: device keys}}. */
json_t *query_devices(homeserver *server);

/* Claims a one-time key of a device: {key_id: key}; NULL if the answer cannot be read. */
char *claim_key(homeserver *server, const struct device *from, const char *user_id,
                const char *device_id);

/* The channel to a device: the stored one, or a new one with a key claimed for it. NULL, and a line
 * that says why, if that cannot be. */
matrixe2ee_olm_channel *channel_to(homeserver *server, const struct device *from,
                                   const json_t *device_keys);

/* The session that encrypts what this device sends: the stored one, or a new one. */
matrixe2ee_outbound_megolm_session *room_session(const struct device *device);

/* Sends the room key to each device that lacks it, over its channel. (A real program makes a new
 * session when this answers SESSION_EXPIRED.) */
void share_room_key(homeserver *server, const struct device *device,
                    const matrixe2ee_outbound_megolm_session *session);

/* Sends words to the room; gives the event's ID. */
char *say(homeserver *server, const struct device *device, const char *words);

/* Decrypts a to-device event. If it is a room key, it is stored before anything else is done. */
void receive_to_device(const struct device *device, const json_t *event);

/* The session that decrypts this event. */
matrixe2ee_status session_of(const struct device *device, const json_t *event,
                             matrixe2ee_inbound_megolm_session **session);

/* Takes an answer to /sync; gives what was read: [{"sender": "@bob:example.org", "words": "..."}]. */
json_t *receive(homeserver *server, const struct device *device);

/* Takes an event that the library has to refuse. */
void refuse(const struct device *device, const json_t *event, matrixe2ee_status expected);

/* Checks: each call of the library stands in OK() or in REFUSED(). */

extern matrixe2ee_error *failure; /* of the last call */

void expect(matrixe2ee_status expected, matrixe2ee_status got, const char *call);

#define OK(call) expect(MATRIXE2EE_STATUS_OK, call, #call)
#define REFUSED(status, call) expect(MATRIXE2EE_STATUS_##status, call, #call)

void check(int holds, const char *what);

/* JSON: text of the library is released with matrixe2ee_string_free(), all other with free(). */

json_t *from_text(const char *text);
json_t *from_library(char *text);
json_t *from_server(char *text);
char *to_text(const json_t *value);

/* The same, for a value that was made for it and is used up. */
char *used_up(json_t *value);

const char *string_in(const json_t *object, const char *name);

#endif

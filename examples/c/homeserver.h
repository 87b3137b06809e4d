/*
 * What device.c asks of a homeserver. homeserver.c is a stand-in for one, inside the program: it
 * answers the requests that matter for encryption as a real one does over HTTP, with JSON text in
 * and out, and forgets everything at the end. It sees what a real one sees: public keys and
 * ciphertexts.
 *
 * Each `char *` that is returned belongs to the caller, who releases it with free().
 */
#ifndef HOMESERVER_H
#define HOMESERVER_H

typedef struct homeserver homeserver;

homeserver *homeserver_new(void);
void homeserver_free(homeserver *server);

/* POST /keys/upload, by this device. */
char *homeserver_keys_upload(homeserver *server, const char *user_id, const char *device_id,
                             const char *body);

/* POST /keys/query: {"device_keys": {"@bob:example.org": []}}. */
char *homeserver_keys_query(homeserver *server, const char *body);

/* POST /keys/claim: gives away one key of each device, a fallback key if there is no other. */
char *homeserver_keys_claim(homeserver *server, const char *body);

/* GET /rooms/{room_id}/joined_members: {"joined": {"@alice:example.org": {}, ...}}. */
char *homeserver_joined_members(homeserver *server);

/* PUT /sendToDevice/{type}: {"messages": {"@bob:example.org": {"DEVICE": {...}}}}. */
void homeserver_send_to_device(homeserver *server, const char *sender, const char *type,
                               const char *body);

/* PUT /rooms/{room_id}/send/{type}: gives {"event_id": "$..."}. There is one room. */
char *homeserver_send(homeserver *server, const char *sender, const char *type,
                      const char *content);

/* GET /rooms/{room_id}/event/{event_id}. */
char *homeserver_event(homeserver *server, const char *event_id);

/* GET /sync: what is new for this device since it asked last. */
char *homeserver_sync(homeserver *server, const char *user_id, const char *device_id);

#define HOMESERVER_ROOM "!room:example.org"

#endif

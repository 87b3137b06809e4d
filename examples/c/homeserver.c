#include "homeserver.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct homeserver {
    json_t *devices; /* by "user/device": {"device_keys", "one_time_keys", "fallback_keys",
                        "to_device", "seen": events of the timeline that were handed out} */
    json_t *timeline;
};

/* The text of a JSON value, which is used up. */
static char *to_text(json_t *value)
{
    char *text = json_dumps(value, JSON_COMPACT);
    json_decref(value);
    if (!text) abort();
    return text;
}

static json_t *from_text(const char *text)
{
    json_t *value = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
    if (!value) abort();
    return value;
}

/* The member of an object, which is put there if it is missing. */
static json_t *member(json_t *object, const char *name, json_t *otherwise)
{
    json_t *found = json_object_get(object, name);
    if (!found) {
        json_object_set(object, name, otherwise);
        found = json_object_get(object, name);
    }
    json_decref(otherwise);
    return found;
}

static json_t *device_of(homeserver *server, const char *user_id, const char *device_id)
{
    char name[600];
    snprintf(name, sizeof name, "%s/%s", user_id, device_id);
    return member(server->devices, name,
                  json_pack("{s:{}, s:{}, s:[], s:i}", "one_time_keys", "fallback_keys",
                            "to_device", "seen", 0));
}

static json_t *key_counts(json_t *device)
{
    size_t count = json_object_size(json_object_get(device, "one_time_keys"));
    return json_pack("{s:i}", "signed_curve25519", (int)count);
}

homeserver *homeserver_new(void)
{
    homeserver *server = malloc(sizeof *server);
    if (!server) abort();
    server->devices = json_object();
    server->timeline = json_array();
    return server;
}

void homeserver_free(homeserver *server)
{
    json_decref(server->devices);
    json_decref(server->timeline);
    free(server);
}

char *homeserver_keys_upload(homeserver *server, const char *user_id, const char *device_id,
                             const char *body)
{
    json_t *request = from_text(body);
    json_t *device = device_of(server, user_id, device_id);
    json_t *device_keys = json_object_get(request, "device_keys");
    if (device_keys) json_object_set(device, "device_keys", device_keys);
    json_object_update(json_object_get(device, "one_time_keys"),
                       json_object_get(request, "one_time_keys"));
    json_object_update(json_object_get(device, "fallback_keys"),
                       json_object_get(request, "fallback_keys"));
    json_decref(request);
    return to_text(json_pack("{s:o}", "one_time_key_counts", key_counts(device)));
}

char *homeserver_keys_query(homeserver *server, const char *body)
{
    json_t *request = from_text(body);
    json_t *found = json_object();
    const char *user_id, *name;
    json_t *ignored, *device;
    json_object_foreach(json_object_get(request, "device_keys"), user_id, ignored) {
        json_t *devices = member(found, user_id, json_object());
        json_object_foreach(server->devices, name, device) {
            json_t *keys = json_object_get(device, "device_keys");
            const char *owner = json_string_value(json_object_get(keys, "user_id"));
            const char *device_id = json_string_value(json_object_get(keys, "device_id"));
            if (owner && strcmp(owner, user_id) == 0) json_object_set(devices, device_id, keys);
        }
    }
    json_decref(request);
    return to_text(json_pack("{s:o, s:{}}", "device_keys", found, "failures"));
}

char *homeserver_keys_claim(homeserver *server, const char *body)
{
    json_t *request = from_text(body);
    json_t *found = json_object();
    const char *user_id, *device_id;
    json_t *devices, *algorithm;
    json_object_foreach(json_object_get(request, "one_time_keys"), user_id, devices) {
        json_object_foreach(devices, device_id, algorithm) {
            json_t *device = device_of(server, user_id, device_id);
            json_t *keys = json_object_get(device, "one_time_keys");
            int one_time = json_object_size(keys) > 0;
            if (!one_time) keys = json_object_get(device, "fallback_keys");
            void *first = json_object_iter(keys);
            if (!first) continue;
            char *key_id = strdup(json_object_iter_key(first));
            json_object_set_new(member(found, user_id, json_object()), device_id,
                                json_pack("{s:O}", key_id, json_object_iter_value(first)));
            if (one_time) json_object_del(keys, key_id);
            free(key_id);
        }
    }
    json_decref(request);
    return to_text(json_pack("{s:o, s:{}}", "one_time_keys", found, "failures"));
}

char *homeserver_joined_members(homeserver *server)
{
    (void)server; /* The members of the one room do not change. */
    return to_text(json_pack("{s:{s:{}, s:{}}}", "joined", "@alice:example.org",
                             "@bob:example.org"));
}

void homeserver_send_to_device(homeserver *server, const char *sender, const char *type,
                               const char *body)
{
    json_t *request = from_text(body);
    const char *user_id, *device_id;
    json_t *devices, *content;
    json_object_foreach(json_object_get(request, "messages"), user_id, devices) {
        json_object_foreach(devices, device_id, content) {
            json_t *device = device_of(server, user_id, device_id);
            json_array_append_new(
                json_object_get(device, "to_device"),
                json_pack("{s:s, s:s, s:O}", "sender", sender, "type", type, "content", content));
        }
    }
    json_decref(request);
}

char *homeserver_send(homeserver *server, const char *sender, const char *type,
                      const char *content)
{
    char event_id[40];
    size_t number = json_array_size(server->timeline) + 1;
    snprintf(event_id, sizeof event_id, "$event%zu", number);
    json_array_append_new(
        server->timeline,
        json_pack("{s:s, s:s, s:s, s:I, s:o}", "event_id", event_id, "sender", sender, "type", type,
                  "origin_server_ts", (json_int_t)(1700000000000 + (json_int_t)number), "content",
                  from_text(content)));
    return to_text(json_pack("{s:s}", "event_id", event_id));
}

char *homeserver_event(homeserver *server, const char *event_id)
{
    size_t index;
    json_t *event;
    json_array_foreach(server->timeline, index, event) {
        if (strcmp(json_string_value(json_object_get(event, "event_id")), event_id) != 0) continue;
        json_t *copy = json_deep_copy(event);
        json_object_set_new(copy, "room_id", json_string(HOMESERVER_ROOM));
        return to_text(copy);
    }
    return NULL;
}

char *homeserver_sync(homeserver *server, const char *user_id, const char *device_id)
{
    json_t *device = device_of(server, user_id, device_id);
    json_t *to_device = json_incref(json_object_get(device, "to_device"));
    json_object_set_new(device, "to_device", json_array());

    json_t *events = json_array();
    size_t seen = (size_t)json_integer_value(json_object_get(device, "seen"));
    for (; seen < json_array_size(server->timeline); seen++)
        json_array_append(events, json_array_get(server->timeline, seen));
    json_object_set_new(device, "seen", json_integer((json_int_t)seen));

    int fallback = json_object_size(json_object_get(device, "fallback_keys")) > 0;
    json_t *types = fallback ? json_pack("[s]", "signed_curve25519") : json_array();
    return to_text(json_pack("{s:{s:o}, s:{s:{s:{s:{s:o}}}}, s:o, s:o}",
                             "to_device", "events", to_device,
                             "rooms", "join", HOMESERVER_ROOM, "timeline", "events", events,
                             "device_one_time_keys_count", key_counts(device),
                             "device_unused_fallback_key_types", types));
}

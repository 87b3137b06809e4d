/*
 * A member of the room in which every language has one (run.sh): examples/c/device.c, with a
 * homeserver at the other end of a pipe. Commands come in as one line of JSON each, and questions
 * to the homeserver and results go out in the same way; what device.c tells goes to stderr.
 *
 *     member NAME USER_ID DEVICE_ID STORE_PATH STORE_KEY_HEX
 */
#include "device.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void tell(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
}

static void put_line(json_t *value)
{
    json_dumpf(value, stdout, JSON_COMPACT);
    putchar('\n');
    fflush(stdout);
    json_decref(value);
}

void fail(const char *what)
{
    put_line(json_pack("{s:s}", "failed", what));
    exit(1);
}

static char *get_line(void)
{
    char *line = NULL;
    size_t room = 0;
    check(getline(&line, &room, stdin) > 0, "there is another line");
    return line;
}

/* The homeserver of homeserver.h: each function is a question, and gives the line that answers. */

struct homeserver {
    char unused;
};

static char *ask(const char *what, json_t *question)
{
    check(json_object_set_new(question, "ask", json_string(what)) == 0, "a question is an object");
    put_line(question);
    return get_line();
}

char *homeserver_keys_upload(homeserver *server, const char *user_id, const char *device_id,
                             const char *body)
{
    (void)server;
    return ask("keys_upload", json_pack("{s:s, s:s, s:o}", "user_id", user_id, "device_id",
                                        device_id, "body", from_text(body)));
}

char *homeserver_keys_query(homeserver *server, const char *body)
{
    (void)server;
    return ask("keys_query", json_pack("{s:o}", "body", from_text(body)));
}

char *homeserver_keys_claim(homeserver *server, const char *body)
{
    (void)server;
    return ask("keys_claim", json_pack("{s:o}", "body", from_text(body)));
}

char *homeserver_joined_members(homeserver *server)
{
    (void)server;
    return ask("joined_members", json_object());
}

void homeserver_send_to_device(homeserver *server, const char *sender, const char *type,
                               const char *body)
{
    (void)server;
    free(ask("send_to_device", json_pack("{s:s, s:s, s:o}", "user_id", sender, "event_type", type,
                                         "body", from_text(body))));
}

char *homeserver_send(homeserver *server, const char *sender, const char *type,
                      const char *content)
{
    (void)server;
    return ask("send", json_pack("{s:s, s:s, s:o}", "user_id", sender, "event_type", type,
                                 "content", from_text(content)));
}

char *homeserver_sync(homeserver *server, const char *user_id, const char *device_id)
{
    (void)server;
    return ask("sync", json_pack("{s:s, s:s}", "user_id", user_id, "device_id", device_id));
}

char *homeserver_event(homeserver *server, const char *event_id)
{
    (void)server;
    return ask("event", json_pack("{s:s}", "event_id", event_id));
}

static void read_hex(const char *hex, uint8_t *bytes, size_t count)
{
    check(strlen(hex) == 2 * count, "the key has 32 bytes");
    for (size_t i = 0; i < count; i++) {
        unsigned byte;
        check(sscanf(hex + 2 * i, "%2x", &byte) == 1, "the key is hexadecimal");
        bytes[i] = (uint8_t)byte;
    }
}

/* Does what a command says; gives the result. */
static json_t *obey(homeserver *server, struct device *device, const json_t *command)
{
    const char *what = string_in(command, "do");
    if (strcmp(what, "open") == 0) {
        open_device(device);
        upload_keys(server, device);
    } else if (strcmp(what, "say") == 0) {
        char *event_id = say(server, device, string_in(command, "words"));
        json_t *result = json_pack("{s:b, s:s}", "done", 1, "event_id", event_id);
        free(event_id);
        return result;
    } else if (strcmp(what, "receive") == 0) {
        return json_pack("{s:b, s:o}", "done", 1, "read", receive(server, device));
    } else if (strcmp(what, "restart") == 0) {
        close_device(device);
        open_device(device);
    } else {
        check(strcmp(what, "end") == 0, "the command is known");
        if (device->store) close_device(device);
    }
    return json_pack("{s:b}", "done", 1);
}

int main(int count, char **arguments)
{
    check(count == 6, "there are five arguments");
    struct device device = {
        .name = arguments[1], .user_id = arguments[2], .device_id = arguments[3]};
    int length = snprintf(device.path, sizeof device.path, "%s", arguments[4]);
    check(length < (int)sizeof device.path, "the path is short enough");
    read_hex(arguments[5], device.store_key, sizeof device.store_key);

    homeserver server = {0};
    for (int at_end = 0; !at_end;) {
        char *line = get_line();
        json_t *command = from_text(line);
        at_end = strcmp(string_in(command, "do"), "end") == 0;
        put_line(obey(&server, &device, command));
        json_decref(command);
        free(line);
    }
    matrixe2ee_wipe(&device, sizeof device);
    return 0;
}

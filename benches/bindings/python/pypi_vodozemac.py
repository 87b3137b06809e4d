"""PyPI's vodozemac, with the JSON and the checks that a bot has to add to it: no store, nothing
durable."""

import json

import vodozemac
from measure import ROOM, Timer, batches, run


class Outbound:
    def __init__(self, sender_key, device_id):
        self.session = vodozemac.GroupSession()
        self.always = {
            "algorithm": "m.megolm.v1.aes-sha2",
            "device_id": device_id,
            "sender_key": sender_key,
            "session_id": self.session.session_id,
        }

    def encrypt(self, event_type, content):
        event = {"type": event_type, "room_id": ROOM, "content": content}
        message = self.session.encrypt(json.dumps(event).encode())
        return {**self.always, "ciphertext": message.to_base64()}


class Inbound:
    def __init__(self, room_key):
        key = vodozemac.SessionKey(room_key["session_key"])
        self.session, self.used = vodozemac.InboundGroupSession(key), {}

    def decrypt(self, event):
        content = event["content"]
        message = vodozemac.MegolmMessage.from_base64(content["ciphertext"])
        decrypted = self.session.decrypt(message)
        plain = json.loads(decrypted.plaintext)
        if plain["room_id"] != event["room_id"]:
            raise ValueError("another room's")
        used_by = self.used.setdefault(decrypted.message_index, event["event_id"])
        if used_by != event["event_id"]:
            raise ValueError("a replay")
        return plain

    def decrypt_many(self, events):
        return [self.decrypt(event) for event in events]


def room(task):
    _, room_key, events = task.traffic()
    return Inbound(json.loads(room_key)), [json.loads(event) for event in events]


def encrypt(task):
    account = vodozemac.Account()
    session = Outbound(account.curve25519_key.to_base64(), "ALICEDEVICE")
    content, timer = task.content(), Timer()
    for _ in range(task.count):
        timer.time(session.encrypt, "m.room.message", content)
    return timer.result()


def decrypt(task):
    (session, events), timer = room(task), Timer()
    for event in events:
        timer.time(session.decrypt, event)
    return timer.result()


def decrypt_many(task):
    (session, events), timer = room(task), Timer()
    lists = batches(events)
    for events in lists:
        timer.time(session.decrypt_many, events)
    return timer.result(len(lists[0]))


run({
    "megolm_encrypt": encrypt,
    "megolm_decrypt": decrypt,
    "decrypt_many": decrypt_many,
})

"""The library in Python: `matrixe2ee`, with Python's objects in and out, or with `raw` as the first
argument `matrixe2ee.raw`, with JSON text. The store is in memory."""

import json
import sys

from measure import ROOM, SENDER, Timer, batches, run

RECIPIENTS = """{
    "encryption": {"algorithm": "m.megolm.v1.aes-sha2", "rotation_period_msgs": 10000},
    "members": {}, "device_keys": {}
}"""
RAW = sys.argv.pop(1) == "raw"
if RAW:
    import matrixe2ee.raw as library
else:
    import matrixe2ee as library


def form(text):
    """JSON as this surface takes it."""
    return text if RAW else json.loads(text)


def alice():
    store = library.Store.in_memory(bytes([7] * 32))
    return library.Account.open(store, "@alice:example.org", "ALICEDEVICE")


def room(task):
    sender_key, room_key, events = task.traffic()
    take = library.InboundMegolmSession.from_room_key
    return take(alice(), SENDER, sender_key, form(room_key)), events


def encrypt(task):
    session = library.OutboundMegolmSession.create(alice(), ROOM)
    # Nobody to send the key to, and nothing that ends the session early.
    session.get_session_key_for_sending(form(RECIPIENTS))
    content, timer = form(json.dumps(task.content())), Timer()
    for _ in range(task.count):
        timer.time(session.encrypt, "m.room.message", content)
    return timer.result()


def decrypt(task):
    (session, events), timer = room(task), Timer()
    for event in map(form, events):
        timer.time(session.decrypt, event)
    return timer.result()


def decrypt_many(task):
    (session, events), timer = room(task), Timer()
    lists = batches(events)
    for texts in lists:
        answers = timer.time(session.decrypt_many, form(f"[{','.join(texts)}]"))
        answers = json.loads(answers) if RAW else answers
        assert len(answers) == len(texts) and all("event" in answer for answer in answers)
    return timer.result(len(lists[0]))


def bare_call(task):
    (session, _), timer = room(task), Timer()
    for _ in range(task.count):
        timer.time(session.session_id)
    return timer.result()


def bare_text(task):
    text, timer = json.dumps(task.content()), Timer()
    for _ in range(task.count):
        timer.time(library.canonical_json, text)
    return timer.result()


run({
    "megolm_encrypt": encrypt,
    "megolm_decrypt": decrypt,
    "decrypt_many": decrypt_many,
    "bare_call": bare_call,
    "bare_text": bare_text,
})

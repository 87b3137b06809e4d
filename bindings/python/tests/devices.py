"""Devices of people who talk, for all tests: each with a store of its own."""

import json
import pathlib
import threading

from matrixe2ee import (
    Account,
    Clock,
    InboundMegolmSession,
    OlmChannel,
    OutboundMegolmSession,
    Store,
    StoreBackend,
    StoreEntry,
)

ROOM = "!room:example.org"
MEGOLM = "m.megolm.v1.aes-sha2"
ALICE = "@alice:example.org"
BOB = "@bob:example.org"
CAROL = "@carol:example.org"
START = 1_700_000_000_000
KEY = bytes([7]) * 32
ROOT = pathlib.Path(__file__).resolve().parents[3]


def fixture(name):
    return json.loads((ROOT / "tests/fixtures" / name).read_text())


class StillClock(Clock):
    """A clock that stands still until it is told otherwise."""

    def __init__(self):
        self.now = START

    def now_ms(self):
        return self.now


class Device:
    """A device with a store in memory, or in a store that is given."""

    def __init__(self, user_id, device_id, store=None):
        self.user_id = user_id
        self.device_id = device_id
        self.store = store or Store.in_memory(KEY)
        self.clock = StillClock()
        self.store.set_clock(self.clock)
        self.account = Account.open(self.store, user_id, device_id)
        self._published = []

    @property
    def keys(self):
        return self.account.device_keys()

    @property
    def identity_key(self):
        return self.account.identity_key()

    @property
    def fingerprint_key(self):
        return self.account.fingerprint_key()

    def upload(self):
        """Uploads what there is to upload, to a server that keeps all keys."""
        body = self.account.keys_upload_request()
        counts = {"one_time_key_counts": {"signed_curve25519": 50}}
        self.account.receive_keys_upload_response(200, counts)
        return body

    def one_time_key(self):
        """A one-time key as a claim gives it, {key_id: key}; another one each time."""
        if not self._published:
            self._published = list(self.upload()["one_time_keys"].items())
        return dict([self._published.pop()])

    def channel_to(self, other):
        return OlmChannel.create_outbound_channel(self.account, other.keys, other.one_time_key())

    def receive_first(self, sender, content):
        """The channel that a first message makes."""
        return OlmChannel.create_from_encrypted_message(
            self.account, sender.user_id, sender.identity_key, content
        )

    def outbound(self, settings=None):
        return OutboundMegolmSession.create(self.account, ROOM, settings)

    def share(self, session, other):
        """What `session` of this device gives for the other, as if Olm had carried it."""
        [item] = session.get_session_key_for_sending(recipients(self, other))
        session.mark_as_sent([item["device"]])
        return other.receive(self, item["content"])

    def receive(self, sender, room_key):
        return InboundMegolmSession.from_room_key(
            self.account, sender.user_id, sender.identity_key, room_key
        )

    def event(self, event_id, content):
        """An event that this device sends, as the others receive it."""
        return {"event_id": event_id, "sender": self.user_id, "room_id": ROOM, "content": content}


def recipients(*devices, **more):
    """A room with these devices, each member with one."""
    return {
        "encryption": {"algorithm": MEGOLM},
        "history_visibility": "shared",
        "members": {device.user_id: "join" for device in devices},
        "device_keys": {device.user_id: {device.device_id: device.keys} for device in devices},
        **more,
    }


def say(session, words):
    return session.encrypt("m.room.message", {"msgtype": "m.text", "body": words})


def read(session, event):
    return session.decrypt(event)["content"]["body"]


class Connected:
    """Alice and Bob with a channel between them."""

    def __init__(self):
        self.alice = Device(ALICE, "ALICE")
        self.bob = Device(BOB, "BOB")
        self.to_bob = self.alice.channel_to(self.bob)
        self.first = self.to_bob.encrypt("m.dummy", {"n": 1})
        self.to_alice = self.bob.receive_first(self.alice, self.first)


class InRoom:
    """Alice's session for the room, and Bob's other half of it."""

    def __init__(self):
        self.alice = Device(ALICE, "ALICE")
        self.bob = Device(BOB, "BOB")
        self.outbound = self.alice.outbound()
        self.inbound = self.alice.share(self.outbound, self.bob)

    def say(self, event_id, words):
        return self.alice.event(event_id, say(self.outbound, words))


def altered(content, recipient):
    """An Olm message with one letter of its ciphertext changed."""
    message = content["ciphertext"][recipient.identity_key]
    body = message["body"]
    other = "B" if body[-6] == "A" else "A"
    changed = {**message, "body": body[:-6] + other + body[-5:]}
    return {**content, "ciphertext": {recipient.identity_key: changed}}


class DictStore(StoreBackend):
    """A store of our own, in a dictionary; another one on the same records finds what this one left."""

    def __init__(self, records=None):
        self.records = {} if records is None else records
        self.lock = threading.Lock()

    def get(self, collection, key):
        with self.lock:
            return self.records.get((collection, key))

    def scan(self, collection, after_key, limit):
        with self.lock:
            found = sorted(
                key
                for name, key in self.records
                if name == collection and (after_key is None or key > after_key)
            )
            return [
                StoreEntry(key=key, value=self.records[collection, key]) for key in found[:limit]
            ]

    def commit(self, changes):
        with self.lock:
            for change in changes:
                if change.value is None:
                    self.records.pop((change.collection, change.key), None)
                else:
                    self.records[change.collection, change.key] = change.value


class Watched(DictStore):
    """The same, with something that happens before each commit."""

    def before_commit(self):
        pass

    def commit(self, changes):
        self.before_commit()
        super().commit(changes)


def failing(error):
    """A function that raises this, whatever it is called with."""

    def fail(*_):
        raise error

    return fail

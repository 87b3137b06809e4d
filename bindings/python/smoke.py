"""A first walk through the Python bindings: PYTHONPATH=bindings/generated/python python3 smoke.py"""

import json
import os
import unittest
import weakref
from concurrent.futures import ThreadPoolExecutor

from matrixe2ee import (
    Account, Clock, E2eeError, InboundMegolmSession, OlmChannel, OutboundMegolmSession, Store,
    StoreBackend, StoreEntry, canonical_json, keys_claim_request, version,
)

ROOM = "!room:example.org"


def account(user_id="@alice:example.org", device_id="ALICE"):
    return Account.open(Store.in_memory(os.urandom(32)), user_id, device_id)


class DictStore(StoreBackend):
    """A store of our own: records in a dictionary, which `records` hands to the next opener."""

    def __init__(self, records=None):
        self.records = {} if records is None else records

    def get(self, collection, key):
        return self.records.get((collection, key))

    def scan(self, collection, after_key, limit):
        found = sorted(
            key for name, key in self.records
            if name == collection and (after_key is None or key > after_key)
        )
        return [StoreEntry(key=key, value=self.records[collection, key]) for key in found[:limit]]

    def commit(self, changes):
        for change in changes:
            if change.value is None:
                self.records.pop((change.collection, change.key), None)
            else:
                self.records[change.collection, change.key] = change.value


class Smoke(unittest.TestCase):
    def test_device_keys(self):
        keys = json.loads(account().device_keys())
        print(json.dumps(keys, indent=2))
        self.assertEqual(keys["user_id"], "@alice:example.org")
        self.assertIn("ed25519:ALICE", keys["signatures"]["@alice:example.org"])

    def test_free_functions(self):
        self.assertRegex(version(), r"^\d+\.\d+\.\d+$")
        self.assertEqual(canonical_json('{"b": 1, "a": 2}'), '{"a":2,"b":1}')
        claim = json.loads(keys_claim_request('{"@bob:example.org": ["BOB"]}'))
        self.assertEqual(
            claim, {"one_time_keys": {"@bob:example.org": {"BOB": "signed_curve25519"}}}
        )
        self.assertEqual(account().list_sessions(None), "[]")

    def test_errors_are_classes_with_fields(self):
        with self.assertRaises(E2eeError.InvalidLength):
            Store.in_memory(b"short")
        with self.assertRaises(E2eeError) as caught:
            account(user_id="alice")
        self.assertIsInstance(caught.exception, E2eeError.InvalidField)
        self.assertEqual(caught.exception.field, "user_id")
        self.assertTrue(caught.exception.detail)

    def test_a_clock_of_our_own(self):
        class Fixed(Clock):
            asked = 0

            def now_ms(self):
                Fixed.asked += 1
                return 1_700_000_000_000

        store = Store.in_memory(os.urandom(32))
        store.set_clock(Fixed())
        OutboundMegolmSession.create(Account.open(store, "@alice:example.org", "ALICE"), ROOM, None)
        self.assertGreater(Fixed.asked, 0)

    def test_a_clock_that_raises(self):
        class Broken(Clock):
            def now_ms(self):
                raise RuntimeError("no battery")

        store = Store.in_memory(os.urandom(32))
        store.set_clock(Broken())
        alice = Account.open(store, "@alice:example.org", "ALICE")
        with self.assertRaises(E2eeError.ClockFailed):
            OutboundMegolmSession.create(alice, ROOM, None)

    def test_a_store_of_our_own(self):
        records, key = {}, os.urandom(32)
        store = Store.foreign(DictStore(records), key)
        alice = Account.open(store, "@alice:example.org", "ALICE")
        keys = alice.device_keys()
        store.shut_down()
        with self.assertRaises(E2eeError.StoreClosed):
            alice.device_keys()
        self.assertNotIn(b"alice", b"".join(records.values()))

        again = Store.foreign(DictStore(records), key)
        self.assertEqual(Account.open(again, "@alice:example.org", "ALICE").device_keys(), keys)
        with self.assertRaises(E2eeError.WrongKey):
            Store.foreign(DictStore(records), os.urandom(32))

    def test_a_store_that_raises(self):
        class Broken(DictStore):
            failure = None

            def commit(self, changes):
                if self.failure:
                    raise self.failure
                super().commit(changes)

        backend = Broken()
        alice = Account.open(
            Store.foreign(backend, os.urandom(32)), "@alice:example.org", "ALICE"
        )
        session = OutboundMegolmSession.create(alice, ROOM, None)
        for failure, says in [
            (RuntimeError("password: 1234"), "the backend failed to commit (STORE_IO)"),
            (E2eeError.StoreIo("disk full"), "the backend failed to commit: disk full"),
            (E2eeError.Corrupt("password"), "the backend failed to commit (CORRUPT)"),
        ]:
            backend.failure = failure
            with self.assertRaises(E2eeError.StoreIo) as caught:
                session.encrypt("m.room.message", "{}")
            self.assertEqual(caught.exception.detail, says)
        backend.failure = None
        session.encrypt("m.room.message", "{}")
        self.assertEqual(session.message_index(), 1)

    def test_a_store_that_gives_nonsense(self):
        class Nonsense(DictStore):
            def scan(self, collection, after_key, limit):
                return "no list"

        with self.assertRaises(E2eeError.StoreIo):
            Store.foreign(Nonsense(), os.urandom(32))

    def test_a_store_that_calls_back(self):
        class CallsBack(DictStore):
            account = None
            answers = []

            def commit(self, changes):
                if self.account:
                    try:
                        self.account.device_keys()
                    except E2eeError as error:
                        self.answers.append(type(error))
                super().commit(changes)

        backend = CallsBack()
        backend.account = Account.open(
            Store.foreign(backend, os.urandom(32)), "@alice:example.org", "ALICE"
        )
        OutboundMegolmSession.create(backend.account, ROOM, None)
        self.assertEqual(backend.answers, [E2eeError.Busy])

    def test_a_store_is_let_go_of(self):
        backend = DictStore()
        watch = weakref.ref(backend)
        store = Store.foreign(backend, os.urandom(32))
        del backend
        self.assertIsNotNone(watch())
        store.shut_down()
        self.assertIsNone(watch())

    def test_a_store_of_our_own_and_threads(self):
        alice = Account.open(
            Store.foreign(DictStore(), os.urandom(32)), "@alice:example.org", "ALICE"
        )
        session = OutboundMegolmSession.create(alice, ROOM, None)

        def talk(_):
            return [session.encrypt("m.room.message", "{}") for _ in range(10)]

        with ThreadPoolExecutor(4) as threads:
            said = [text for texts in threads.map(talk, range(4)) for text in texts]
        self.assertEqual(len(set(said)), 40)
        self.assertEqual(session.message_index(), 40)

    def test_a_message(self):
        alice, bob = account(), account("@bob:example.org", "BOB")
        upload = json.loads(bob.keys_upload_request())
        one_time_key = dict([upload["one_time_keys"].popitem()])
        channel = OlmChannel.create_outbound_channel(
            alice, bob.device_keys(), json.dumps(one_time_key)
        )
        session = OutboundMegolmSession.create(alice, ROOM, None)
        [item] = json.loads(session.get_session_key_for_sending(json.dumps({
            "encryption": {"algorithm": "m.megolm.v1.aes-sha2"},
            "members": {"@alice:example.org": "join", "@bob:example.org": "join"},
            "device_keys": {"@bob:example.org": {"BOB": json.loads(bob.device_keys())}},
        })))
        encrypted = channel.encrypt("m.room_key", json.dumps(item["content"]))
        session.mark_as_sent(json.dumps([item["device"]]))

        received = OlmChannel.create_from_encrypted_message(
            bob, "@alice:example.org", alice.identity_key(), encrypted, None, None
        )
        room_key = json.loads(received.first_event())["content"]
        inbound = InboundMegolmSession.from_room_key(
            bob, "@alice:example.org", alice.identity_key(), json.dumps(room_key)
        )
        event = {
            "event_id": "$1", "sender": "@alice:example.org", "room_id": ROOM,
            "content": json.loads(session.encrypt("m.room.message", '{"body": "hello"}')),
        }
        plain = json.loads(inbound.decrypt(json.dumps(event)))
        self.assertEqual(plain["content"], {"body": "hello"})
        with self.assertRaises(E2eeError.Replay) as caught:
            inbound.decrypt(json.dumps(dict(event, event_id="$2")))
        self.assertEqual((caught.exception.message_index, caught.exception.event_id), (0, "$1"))


if __name__ == "__main__":
    unittest.main()

"""The module below the package: the same objects with JSON as text on both sides."""

import copy
import inspect
import json
import pickle

import pytest
from devices import ALICE, BOB, KEY, MEGOLM, ROOM, START

import matrixe2ee
from matrixe2ee import E2eeError, raw

HANDLES = ["Store", "Account", "OlmChannel", "OutboundMegolmSession", "InboundMegolmSession"]


def account(user_id=ALICE, device_id="ALICE"):
    return raw.Account.open(raw.Store.in_memory(KEY), user_id, device_id)


def test_a_message_goes_from_one_device_to_the_other_as_text():
    alice, bob = account(), account(BOB, "BOB")
    upload = json.loads(bob.keys_upload_request())
    one_time_key = dict([upload["one_time_keys"].popitem()])
    channel = raw.OlmChannel.create_outbound_channel(
        alice, bob.device_keys(), json.dumps(one_time_key)
    )
    session = raw.OutboundMegolmSession.create(alice, ROOM, None)
    room = {
        "encryption": {"algorithm": MEGOLM},
        "members": {ALICE: "join", BOB: "join"},
        "device_keys": {BOB: {"BOB": json.loads(bob.device_keys())}},
    }
    [item] = json.loads(session.get_session_key_for_sending(json.dumps(room)))
    encrypted = channel.encrypt("m.room_key", json.dumps(item["content"]))
    session.mark_as_sent(json.dumps([item["device"]]))

    received = raw.OlmChannel.create_from_encrypted_message(
        bob, ALICE, alice.identity_key(), encrypted, None, None
    )
    room_key = json.loads(received.first_event())["content"]
    inbound = raw.InboundMegolmSession.from_room_key(
        bob, ALICE, alice.identity_key(), json.dumps(room_key)
    )
    event = {
        "event_id": "$1",
        "sender": ALICE,
        "room_id": ROOM,
        "content": json.loads(session.encrypt("m.room.message", '{"body": "hello"}')),
    }
    assert json.loads(inbound.decrypt(json.dumps(event)))["content"] == {"body": "hello"}
    with pytest.raises(E2eeError.Replay) as caught:
        inbound.decrypt(json.dumps({**event, "event_id": "$2"}))
    assert (caught.value.message_index, caught.value.event_id) == (0, "$1")


def test_results_are_json_text():
    assert raw.version() == matrixe2ee.version()
    assert raw.canonical_json('{"b": 1, "a": 2}') == '{"a":2,"b":1}'
    assert json.loads(raw.keys_claim_request(json.dumps({BOB: ["BOB"]}))) == {
        "one_time_keys": {BOB: {"BOB": "signed_curve25519"}}
    }
    assert account().list_sessions(None) == "[]"
    assert isinstance(account().device_keys(), str)


@pytest.mark.parametrize("value", [{}, [], None, 5, b"{}"])
def test_an_object_in_place_of_text_is_invalid_field_and_is_named(value):
    with pytest.raises(E2eeError.InvalidField) as caught:
        account().sign_json(value)
    assert caught.value.field == "object"


def test_a_text_may_be_as_long_as_it_likes():
    long = "ü" * 1_000_000
    assert raw.canonical_json(json.dumps(long)) == f'"{long}"'
    assert matrixe2ee.canonical_json([long] * 5) == "[" + ",".join([f'"{long}"'] * 5) + "]"


def test_callbacks_are_the_same_classes_as_in_the_package():
    class Still(matrixe2ee.Clock):
        def now_ms(self):
            return START

    store = raw.Store.in_memory(KEY)
    store.set_clock(Still())
    session = raw.OutboundMegolmSession.create(raw.Account.open(store, ALICE, "ALICE"), ROOM)
    assert session.message_index() == 0
    for name in ("Clock", "StoreBackend", "StoreChange", "StoreEntry", "StoreOpener"):
        assert getattr(raw, name) is getattr(matrixe2ee, name)


@pytest.mark.parametrize("double", [copy.copy, copy.deepcopy, pickle.dumps])
def test_an_object_of_raw_is_not_copied_either(double):
    alice = account()
    with pytest.raises(TypeError):
        double(alice)
    assert alice.user_id() == ALICE


def test_records_may_be_copied_and_compared():
    entry = matrixe2ee.StoreEntry(key=b"key", value=b"value")
    change = matrixe2ee.StoreChange(collection="a", key=b"key", value=None)
    for record in (entry, change):
        assert copy.deepcopy(record) == record
        assert pickle.loads(pickle.dumps(record)) == record
    assert entry != matrixe2ee.StoreEntry(key=b"key", value=b"other")


def public(kind):
    return {name for name in vars(kind) if not name.startswith("_")}


@pytest.mark.parametrize("name", HANDLES)
def test_each_method_of_raw_is_in_the_package_with_the_same_arguments(name):
    ours, below = getattr(matrixe2ee, name), getattr(raw, name)
    assert public(ours) == public(below)
    for method in public(below):
        expected = inspect.signature(getattr(below, method)).parameters.values()
        found = inspect.signature(getattr(ours, method)).parameters.values()
        assert [(a.name, a.default is a.empty) for a in found] == [
            (a.name, a.default is a.empty) for a in expected
        ], method
        assert inspect.getdoc(getattr(ours, method)) == inspect.getdoc(getattr(below, method))

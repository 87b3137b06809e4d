"""What servers and strangers send is any JSON that json.loads reads, and ends in an E2eeError: a TypeError
would stop a program at the same event again after each sync."""

import json
import sys

import pytest
from devices import ALICE, ROOM

from matrixe2ee import (
    E2eeError,
    InboundMegolmSession,
    OlmChannel,
    OutboundMegolmSession,
    canonical_json,
    raw,
    verify_signed_json,
)

HALF = json.loads('"\\ud83d"')
# What may stand where a text should be.
NO_TEXTS = [None, True, 5, -1, 1.5, 10**30, float("inf"), float("nan"), [], ["a"], {}, {"a": 1}, HALF]


def nested(depth):
    return json.loads('{"a":' * depth + "1" + "}" * depth)


def names(answers):
    return [answer["error"]["name"] if "error" in answer else "ok" for answer in answers]


@pytest.mark.parametrize("value", NO_TEXTS, ids=repr)
def test_what_is_no_text_where_one_should_be_is_invalid_field_and_is_named(room, value):
    account = room.bob.account
    key = room.alice.identity_key
    content = {"algorithm": "m.olm.v1.curve25519-aes-sha2", "sender_key": key, "ciphertext": {}}
    for field, call in [
        ("partner_user_id", lambda: OlmChannel.create_from_storage(account, value, key)),
        ("partner_identity_key", lambda: OlmChannel.create_from_storage(account, ALICE, value)),
        (
            "partner_identity_key",
            lambda: OlmChannel.create_from_encrypted_message(account, ALICE, value, content),
        ),
        ("sender_key", lambda: InboundMegolmSession.from_room_key(account, ALICE, value, {})),
        ("session_id", lambda: InboundMegolmSession.from_storage(account, ROOM, value)),
        ("room_id", lambda: InboundMegolmSession.from_storage(account, value, "AAAA")),
        ("room_id", lambda: OutboundMegolmSession.create(account, value)),
        ("key_id", lambda: verify_signed_json({}, ALICE, value, key)),
        ("event_type", lambda: room.outbound.encrypt(value, {})),
        # The module below says the same.
        ("session_id", lambda: raw.InboundMegolmSession.from_storage(account._live(), ROOM, value, None)),
    ]:
        with pytest.raises(E2eeError.InvalidField) as caught:
            call()
        assert caught.value.field == field
        assert json.loads(caught.value.json())["field"] == field


def test_an_optional_text_may_be_none_and_nothing_else_that_is_no_text(room):
    find = InboundMegolmSession.from_storage
    session_id = room.inbound.session_id()
    find(room.bob.account, ROOM, session_id, None)
    for value in NO_TEXTS[1:]:
        with pytest.raises(E2eeError.InvalidField):
            find(room.bob.account, ROOM, session_id, value)


ANYTHING = [*NO_TEXTS, "", "{", "text", nested(70), nested(900), {"a": HALF}, {HALF: 1}]


@pytest.mark.parametrize("value", ANYTHING, ids=lambda value: repr(value)[:20])
def test_anything_in_the_place_of_json_is_an_error_of_the_library(room, pair, value):
    account = room.bob.account
    event = room.say("$1", "hello")
    encrypted = pair.to_bob.encrypt("m.dummy", {})
    calls = [
        lambda: room.inbound.decrypt(value),
        lambda: room.inbound.decrypt({**event, "content": value}),
        lambda: room.inbound.decrypt({**event, "content": {**event["content"], "ciphertext": value}}),
        lambda: pair.to_alice.decrypt(value),
        lambda: pair.to_alice.decrypt({**encrypted, "ciphertext": value}),
        lambda: room.bob.receive(room.alice, value),
        lambda: InboundMegolmSession.from_export(account, value),
        lambda: room.outbound.get_session_key_for_sending({"device_keys": value, "members": value}),
        lambda: account.receive_key_counts(value, value),
        lambda: OlmChannel.create_outbound_channel(account, value, value),
        lambda: verify_signed_json(value, ALICE, "ed25519:ALICE", room.alice.fingerprint_key),
    ]
    for call in calls:
        if value == {} and call is calls[8]:
            continue  # a server may have no keys of ours
        with pytest.raises(E2eeError):
            call()
    # And the good one is read afterwards.
    assert room.inbound.decrypt(event)["content"]["body"] == "hello"


@pytest.mark.parametrize(
    "bad",
    [HALF, {"a": HALF}, {HALF: 1}, float("inf"), float("nan"), 10**5000, nested(70), nested(900)],
    ids=lambda value: type(value).__name__,
)
def test_one_bad_event_of_a_batch_is_that_events_error(room, bad):
    good = [room.say("$1", "hello"), room.say("$2", "again")]
    spoiled = room.say("$3", "spoiled")
    spoiled["content"]["session_id"] = bad
    for events in ([good[0], spoiled, good[1]], [good[0], bad, good[1]]):
        answers = room.bob.account.decrypt_room_events(events)
        assert names(answers)[::2] == ["ok", "ok"]
        assert names(answers)[1] not in ("ok", None)
        assert len(names(room.inbound.decrypt_many(events))) == 3


def test_a_text_with_half_of_a_pair_is_read_by_the_library_as_its_escape_is(room):
    event = room.say("$1", "hello")
    as_text = json.dumps({**event, "unsigned": {"a": HALF}})
    as_object = json.loads(as_text)
    seen = set()
    for given in (as_text, as_object):
        try:
            seen.add(room.inbound.decrypt(given)["content"]["body"])
        except E2eeError as error:
            seen.add(error.name())
    assert len(seen) == 1, seen


def test_near_the_end_of_the_stack_it_is_an_error_of_the_library(room):
    def deeper(levels):
        if levels == 0:
            return canonical_json(nested(60))
        return deeper(levels - 1)

    reached = set()
    for levels in range(0, sys.getrecursionlimit(), 10):
        try:
            reached.add(type(deeper(levels)))
        except E2eeError.InvalidJson:
            reached.add("refused")
        except RecursionError:
            break  # of deeper() itself
    assert str in reached


def test_handles_and_keys_are_the_programs_own_affair_and_stay_type_errors(room):
    for call in (
        lambda: OlmChannel.create_from_storage(None, ALICE, room.alice.identity_key),
        lambda: InboundMegolmSession.from_outbound_session("no session"),
    ):
        with pytest.raises(TypeError):
            call()

"""The sending half of a Megolm session."""

import json

import pytest
from devices import BOB, CAROL, KEY, MEGOLM, ROOM, Device, fixture, recipients, say

from matrixe2ee import Account, E2eeError, OutboundMegolmSession, Store


def test_each_message_has_the_next_index(alice):
    session = alice.outbound()
    assert session.message_index() == 0
    content = say(session, "hello")
    assert session.message_index() == 1
    assert content["session_id"] == session.session_id()
    assert (content["algorithm"], content["device_id"]) == (MEGOLM, "ALICE")


def test_the_newest_session_is_the_current_one_of_the_room_and_older_ones_stay(alice):
    with pytest.raises(E2eeError.NotFound):
        OutboundMegolmSession.create_from_storage(alice.account, ROOM)
    first, second = (alice.outbound().session_id() for _ in range(2))
    assert first != second
    stored = OutboundMegolmSession.create_from_storage
    assert stored(alice.account, ROOM).session_id() == second
    assert stored(alice.account, ROOM, first).session_id() == first
    assert stored(alice.account, ROOM, session_id=first).session_id() == first


def test_a_device_gets_the_key_until_it_was_sent_and_then_no_more(alice, bob):
    session = alice.outbound()
    room = recipients(alice, bob)
    [item] = session.get_session_key_for_sending(room)
    assert item["device"] == bob.keys
    assert item["content"]["session_id"] == session.session_id()
    say(session, "in between")
    assert session.get_session_key_for_sending(json.dumps(room)) == [item]
    session.mark_as_sent([bob.keys])
    assert session.get_session_key_for_sending(room) == []


def test_a_blocked_device_is_told_why_it_gets_no_key(alice, bob):
    carol = Device(CAROL, "CAROL")
    session = alice.outbound()
    room = recipients(alice, bob, carol, blocked={CAROL: {"CAROL": "m.blacklisted"}})
    items = {item["device"]["user_id"]: item for item in session.get_session_key_for_sending(room)}
    assert items[CAROL]["withheld"]["code"] == "m.blacklisted"
    assert "content" not in items[CAROL]
    assert "content" in items[BOB]
    session.mark_as_sent([item["device"] for item in items.values()])
    assert session.get_session_key_for_sending(room) == []


@pytest.mark.parametrize("form", [lambda value: value, json.dumps])
def test_the_settings_limit_what_the_room_asks_for(alice, bob, form):
    session = alice.outbound(form({"maximum_rotation_period_msgs": 2}))
    encryption = {"algorithm": MEGOLM, "rotation_period_msgs": 100}
    session.get_session_key_for_sending(recipients(alice, bob, encryption=encryption))
    for _ in range(2):
        say(session, "hello")
    with pytest.raises(E2eeError.SessionExpired) as caught:
        say(session, "one more")
    assert caught.value.reason == "count"


def test_a_session_expires_by_the_clock_of_the_store(alice):
    session = alice.outbound()
    say(session, "hello")
    alice.clock.now += 8 * 24 * 60 * 60 * 1000
    with pytest.raises(E2eeError.SessionExpired) as caught:
        say(session, "a week later")
    assert caught.value.reason == "time"


def test_a_session_that_was_invalidated_encrypts_nothing_more(alice):
    session = alice.outbound()
    session.invalidate()
    with pytest.raises(E2eeError.SessionExpired) as caught:
        say(session, "hello")
    assert caught.value.reason == "invalidated"


def test_somebody_who_has_left_expires_the_session(alice, bob):
    session = alice.outbound()
    alice.share(session, bob)
    with pytest.raises(E2eeError.SessionExpired):
        session.get_session_key_for_sending(recipients(alice))


def test_a_session_that_is_erased_is_gone_for_every_handle(alice):
    session = alice.outbound()
    again = OutboundMegolmSession.create_from_storage(alice.account, ROOM)
    assert again.session_id() == session.session_id()
    session.erase()
    with pytest.raises(E2eeError.NotFound):
        say(again, "hello")


def test_a_relation_stays_readable_for_the_server(room):
    relation = {"rel_type": "m.thread", "event_id": "$0"}
    content = room.outbound.encrypt("m.room.message", {"body": "yes", "m.relates_to": relation})
    assert content["m.relates_to"] == relation
    plain = room.inbound.decrypt(room.alice.event("$1", content))
    assert plain["content"]["m.relates_to"] == relation


def test_a_session_that_libolm_pickled_goes_on_where_it_was():
    pickled = fixture("libolm_sessions.json")
    us = pickled["us"]
    key = pickled["pickle_key"].encode()
    account = Account.from_libolm_pickle(
        Store.in_memory(KEY), us["user_id"], us["device_id"], us["account"], key
    )
    session = OutboundMegolmSession.from_libolm_pickle(
        account, pickled["our_room_id"], us["outbound"], key
    )
    assert session.session_id() == pickled["our_events"][0]["session_id"]
    assert session.message_index() == 3
    nobody = {"encryption": {"algorithm": MEGOLM}, "members": {}, "device_keys": {}}
    with pytest.raises(E2eeError.SessionExpired) as caught:
        session.get_session_key_for_sending(nobody)
    assert caught.value.reason == "recipients_unknown"
    session.mark_as_sent([])
    assert session.get_session_key_for_sending(nobody) == []

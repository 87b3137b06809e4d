"""The receiving half of a Megolm session."""

import json

import pytest
from devices import ALICE, BOB, ROOM, Device, fixture, read, say

from matrixe2ee import E2eeError, InboundMegolmSession


def test_who_has_the_room_key_reads_what_is_said(room):
    assert room.inbound.decrypt(room.say("$1", "hello")) == {
        "type": "m.room.message",
        "content": {"msgtype": "m.text", "body": "hello"},
        "room_id": ROOM,
        "matrixe2ee": {
            "message_index": 0,
            "session_id": room.outbound.session_id(),
            "sender_key": room.alice.identity_key,
            "authenticated": True,
            "owner": "known",
            "sender_fingerprint": "unknown",
            "unauthenticated": [],
        },
    }


@pytest.mark.parametrize("words", ["Grüße 🙂", "\x00", "\u2028", '"\\', ""])
def test_words_of_any_letters_arrive_as_they_were_said(room, words):
    assert read(room.inbound, room.say("$1", words)) == words


def test_an_event_may_be_json_text(room):
    plain = room.inbound.decrypt(json.dumps(room.say("$1", "hello")))
    assert plain["content"]["body"] == "hello"


def test_a_session_says_where_it_comes_from(room):
    assert room.inbound.session_id() == room.outbound.session_id()
    assert room.inbound.sender_key() == room.alice.identity_key
    assert room.inbound.authenticated() is True
    assert room.inbound.first_known_index() == 0


def test_the_sender_reads_back_what_it_said_itself(alice):
    session = alice.outbound()
    own = InboundMegolmSession.from_outbound_session(session)
    assert read(own, alice.event("$1", say(session, "hello"))) == "hello"


def test_the_same_event_may_be_read_again(room):
    event = room.say("$1", "hello")
    assert room.inbound.decrypt(event) == room.inbound.decrypt(event)


@pytest.mark.parametrize("form", [lambda value: value, tuple, json.dumps])
def test_many_events_are_decrypted_in_one_call_in_their_order(room, form):
    events = [room.say(f"${number}", f"message {number}") for number in range(20)]
    replayed = {**events[3], "event_id": "$another"}
    answers = room.inbound.decrypt_many(form([*events, replayed]))
    assert [answer["event"]["content"]["body"] for answer in answers[:20]] == [
        f"message {number}" for number in range(20)
    ]
    error = answers[20]["error"]
    assert (error["name"], error["code"], error["event_id"]) == ("REPLAY", 306, "$3")


def test_a_stored_session_is_found_by_its_room_id_and_sender(room):
    account, session_id = room.bob.account, room.inbound.session_id()
    for sender in (None, ALICE):
        stored = InboundMegolmSession.from_storage(account, ROOM, session_id, sender)
        assert stored.session_id() == session_id
    with pytest.raises(E2eeError.NotFound):
        InboundMegolmSession.from_storage(account, ROOM, session_id, sender_user_id=BOB)


def test_an_export_opens_from_its_index_on_and_is_not_authenticated(room):
    first, second = room.say("$1", "first"), room.say("$2", "second")
    laptop = Device(BOB, "LAPTOP")
    session = InboundMegolmSession.from_export(laptop.account, room.inbound.export_at(1))
    assert session.first_known_index() == 1
    assert session.authenticated() is False
    assert session.decrypt(second)["matrixe2ee"]["owner"] == "unknown"
    with pytest.raises(E2eeError.UnknownIndex):
        session.decrypt(first)
    whole = InboundMegolmSession.from_export(laptop.account, room.inbound.export_at())
    assert read(whole, first) == "first"
    InboundMegolmSession.from_export(laptop.account, whole.export_at(), sender_user_id=ALICE)
    assert session.decrypt(second)["matrixe2ee"]["owner"] == "known"
    assert session.first_known_index() == 0


@pytest.mark.parametrize("index", [-1, 2**32])
def test_an_index_that_cannot_be_is_a_value_error(room, index):
    with pytest.raises(ValueError):
        room.inbound.export_at(index)


def test_the_sessions_of_a_key_export_are_imported_in_one_call(alice, bob):
    own = [InboundMegolmSession.from_outbound_session(alice.outbound()) for _ in range(3)]
    exported = [session.export_at() for session in own]
    report = bob.account.import_sessions([*exported, {}])
    assert (report["imported"], report["merged"], report["known"], report["surplus"]) == (3, 0, 0, 0)
    [failed] = report["failed"]
    assert (failed["index"], failed["error"]["name"]) == (3, "INVALID_FIELD")
    assert bob.account.import_sessions(json.dumps(exported))["known"] == 3
    listed = {session["session_id"] for session in bob.account.list_sessions()}
    assert listed == {session.session_id() for session in own}


def test_a_room_key_proves_what_an_export_could_not(alice, bob):
    outbound = alice.outbound()
    own = InboundMegolmSession.from_outbound_session(outbound)
    session = InboundMegolmSession.from_export(bob.account, json.dumps(own.export_at()))
    assert session.authenticated() is False
    alice.share(outbound, bob)
    assert session.authenticated() is True
    [listed] = bob.account.list_sessions()
    assert (listed["owner_user_id"], listed["authenticated"]) == (ALICE, True)


def test_a_session_that_is_erased_is_gone_for_every_handle(room):
    again = InboundMegolmSession.from_storage(room.bob.account, ROOM, room.inbound.session_id())
    assert again.sender_key() == room.alice.identity_key
    room.inbound.erase()
    with pytest.raises(E2eeError.NotFound):
        again.sender_key()
    assert room.bob.account.list_sessions() == []


def test_a_session_that_libolm_pickled_reads_on(bob):
    pickled = fixture("libolm_sessions.json")
    them = pickled["them"]
    session = InboundMegolmSession.from_libolm_pickle(
        bob.account,
        pickled["room_id"],
        them["identity_key"],
        pickled["us"]["inbound"],
        pickled["pickle_key"].encode(),
        them["user_id"],
    )
    event = {
        "event_id": "$1",
        "sender": them["user_id"],
        "room_id": pickled["room_id"],
        "content": pickled["events"][0],
    }
    plain = session.decrypt(event)
    assert plain["type"] == "org.example.note"
    assert plain["matrixe2ee"]["owner"] == "known"
    assert session.authenticated() is False

"""Accounts: their keys, what is uploaded of them, and all that is done for many at once."""

import json

import pytest
from devices import ALICE, BOB, CAROL, KEY, ROOM, Device, fixture, say

from matrixe2ee import (
    Account,
    E2eeError,
    InboundMegolmSession,
    OlmChannel,
    OutboundMegolmSession,
    Store,
    verify_signed_json,
)


def test_an_account_names_its_device_and_signs_its_keys(alice):
    account = alice.account
    keys = account.device_keys()
    assert (account.user_id(), account.device_id()) == (ALICE, "ALICE")
    assert keys["user_id"] == ALICE
    assert keys["keys"] == {
        "curve25519:ALICE": account.identity_key(),
        "ed25519:ALICE": account.fingerprint_key(),
    }
    verify_signed_json(keys, ALICE, "ed25519:ALICE", account.fingerprint_key())


def test_a_mistyped_name_opens_no_account_where_one_is_expected(alice):
    again = Account.open_existing(alice.store, ALICE, "ALICE")
    assert again.identity_key() == alice.identity_key
    for user, device in ((ALICE, "alice"), (BOB, "ALICE")):
        with pytest.raises(E2eeError.NotFound):
            Account.open_existing(alice.store, user, device)


@pytest.mark.parametrize("form", [lambda value: value, json.dumps])
def test_what_it_signs_can_be_verified_and_not_altered(alice, form):
    signed = alice.account.sign_json(form({"hello": "world", "unsigned": {"age": 1}}))
    assert signed["unsigned"] == {"age": 1}
    verify_signed_json(form(signed), ALICE, "ed25519:ALICE", alice.fingerprint_key)
    with pytest.raises(E2eeError.BadSignature):
        verify_signed_json(
            form({**signed, "hello": "moon"}), ALICE, "ed25519:ALICE", alice.fingerprint_key
        )


def test_an_upload_has_all_kinds_of_keys_and_stays_the_same_until_it_is_answered(alice):
    body = alice.account.keys_upload_request()
    assert set(body) == {"device_keys", "one_time_keys", "fallback_keys"}
    assert body["device_keys"] == alice.keys
    assert alice.account.keys_upload_request() == body


def test_there_is_nothing_to_upload_once_the_server_has_all_keys(alice):
    assert len(alice.upload()["one_time_keys"]) == 50
    assert alice.account.keys_upload_request() is None
    alice.account.receive_key_counts({"signed_curve25519": 49}, ["signed_curve25519"])
    assert len(alice.upload()["one_time_keys"]) == 1
    alice.account.receive_key_counts({"signed_curve25519": 50})
    assert alice.account.keys_upload_request() is None


def test_a_fallback_key_that_was_used_is_replaced(alice):
    alice.upload()
    counts = {"signed_curve25519": 50}
    for unused in (None, ["signed_curve25519"]):
        alice.account.receive_key_counts(counts, unused)
        assert alice.account.keys_upload_request() is None
    alice.account.receive_key_counts(counts, unused_fallback_types=[])
    assert list(alice.account.keys_upload_request()) == ["fallback_keys"]


def test_the_counts_may_be_json_texts_as_well_and_must_be_what_they_say(alice):
    alice.upload()
    alice.account.receive_key_counts('{"signed_curve25519": 48}', '["signed_curve25519"]')
    assert len(alice.upload()["one_time_keys"]) == 2
    with pytest.raises(E2eeError.InvalidField):
        alice.account.receive_key_counts([])


def test_an_upload_that_the_server_refused_is_made_again(alice):
    body = alice.account.keys_upload_request()
    alice.account.receive_keys_upload_response(500, {})
    assert alice.account.keys_upload_request() == body


def test_an_answer_to_no_upload_is_refused(alice):
    alice.upload()
    with pytest.raises(E2eeError.InvalidField):
        alice.account.receive_keys_upload_response(200, {})


@pytest.mark.parametrize("status", [-1, 65_536])
def test_a_status_that_does_not_exist_is_a_value_error_and_changes_nothing(alice, status):
    body = alice.account.keys_upload_request()
    with pytest.raises(ValueError):
        alice.account.receive_keys_upload_response(status, {})
    assert alice.account.keys_upload_request() == body


@pytest.mark.parametrize("form", [lambda value: value, tuple, json.dumps])
def test_events_for_many_devices_are_encrypted_in_one_call(pair, form):
    item = {
        "user_id": BOB,
        "identity_key": pair.bob.identity_key,
        "type": "m.dummy",
        "content": {"n": 2},
    }
    answers = pair.alice.account.encrypt_for_devices(form([item, {**item, "user_id": CAROL}]))
    assert pair.to_alice.decrypt(answers[0]["content"])["content"] == {"n": 2}
    assert answers[1]["error"]["name"] == "NOT_FOUND"


def test_events_of_any_rooms_are_decrypted_in_one_call(room):
    known = room.say("$1", "hello")
    unknown = room.alice.event("$2", say(room.alice.outbound(), "Bob has no key of this session"))
    answers = room.bob.account.decrypt_room_events([known, unknown])
    assert answers[0]["event"]["content"]["body"] == "hello"
    assert answers[1]["error"]["name"] == "NO_SESSION"


def test_a_list_of_nothing_is_answered_by_one(alice):
    assert alice.account.encrypt_for_devices([]) == []
    assert alice.account.decrypt_room_events([]) == []


def test_its_sessions_are_listed_of_one_room_or_of_all(room):
    account = room.bob.account
    for sessions in (account.list_sessions(), account.list_sessions(ROOM)):
        [session] = sessions
        assert session["session_id"] == room.inbound.session_id()
        assert session["owner_user_id"] == ALICE
        assert session["authenticated"] is True
    assert account.list_sessions("!other:example.org") == []
    assert account.list_sessions(after=room.inbound.session_id()) == []
    with pytest.raises(E2eeError.InvalidField):
        account.list_sessions(limit=0)


def test_its_channels_are_listed_page_by_page(pair):
    account = pair.bob.account
    [channel] = account.list_channels(limit=1)
    assert channel["user_id"] == ALICE
    assert channel["session_count"] == 1
    assert account.list_channels(after=channel["identity_key"]) == []


def test_an_account_that_is_erased_is_gone_for_every_handle_and_can_be_made_anew(alice):
    again = Account.open(alice.store, ALICE, "ALICE")
    keys = again.device_keys()
    assert keys == alice.keys
    alice.account.erase()
    with pytest.raises(E2eeError.NotFound):
        again.device_keys()
    assert Account.open(alice.store, ALICE, "ALICE").device_keys() != keys


def test_an_account_that_libolm_pickled_moves_in_with_all_its_sessions():
    pickled = fixture("libolm_sessions.json")
    us, them = pickled["us"], pickled["them"]
    key = pickled["pickle_key"].encode()
    arguments = Store.in_memory(KEY), us["user_id"], us["device_id"], us["account"], key
    account = Account.from_libolm_pickle(*arguments)
    assert account.identity_key() == us["identity_key"]
    with pytest.raises(E2eeError.AlreadyExists):
        Account.from_libolm_pickle(*arguments)
    report = account.import_libolm_sessions(
        [
            {
                "kind": "olm",
                "user_id": them["user_id"],
                "identity_key": them["identity_key"],
                "pickle": us["sessions"][0],
            },
            {
                "kind": "outbound_megolm",
                "room_id": pickled["our_room_id"],
                "pickle": us["outbound"],
            },
            {},
        ],
        key,
    )
    assert (report["imported"], report["known"]) == (2, 0)
    [failed] = report["failed"]
    assert (failed["index"], failed["error"]["name"]) == (2, "INVALID_FIELD")


def test_an_account_that_vodozemac_pickled_moves_in():
    known = fixture("olm_inbound.json")["account"]

    def move_in(key):
        return Account.from_vodozemac_pickle(
            Store.in_memory(KEY), known["user"], known["device"], known["vodozemac_pickle"], key
        )

    account = move_in(bytes(range(32)))
    assert account.identity_key() == known["curve25519"]
    assert account.fingerprint_key() == known["ed25519"]
    with pytest.raises(E2eeError.WrongKey):
        move_in(KEY)
    with pytest.raises(E2eeError.InvalidLength):
        move_in(bytes(3))


@pytest.mark.parametrize(
    "move_in, error",
    [
        (
            lambda a: Account.from_libolm_pickle(a.store, CAROL, "CAROL", "none", KEY),
            E2eeError.InvalidField,
        ),
        (
            lambda a: OutboundMegolmSession.from_libolm_pickle(a.account, ROOM, "none", KEY),
            E2eeError.InvalidField,
        ),
        (
            lambda a: InboundMegolmSession.from_libolm_pickle(
                a.account, ROOM, a.identity_key, "none", KEY
            ),
            E2eeError.InvalidField,
        ),
        (
            lambda a: OlmChannel.from_libolm_pickles(
                a.account, BOB, Device(BOB, "BOB").identity_key, [1], KEY
            ),
            E2eeError.InvalidField,
        ),
        (
            lambda a: OlmChannel.from_vodozemac_pickles(
                a.account, BOB, Device(BOB, "BOB").identity_key, ["none"], KEY
            ),
            E2eeError.WrongKey,
        ),
    ],
)
def test_a_pickle_that_is_none_is_refused(alice, move_in, error):
    with pytest.raises(error):
        move_in(alice)


def test_devices_of_the_same_name_of_two_users_are_two_devices():
    store = Store.in_memory(KEY)
    assert Device(ALICE, "PHONE", store).keys != Device(BOB, "PHONE", store).keys

"""Olm channels: between two devices."""

import json

import pytest
from devices import ALICE, BOB, CAROL, KEY, Device, altered, fixture

from matrixe2ee import Account, E2eeError, OlmChannel, Store


def test_a_first_message_makes_the_channel_of_the_other_side(pair):
    event = pair.to_alice.first_event()
    assert event["type"] == "m.dummy"
    assert event["content"] == {"n": 1}
    assert (event["sender"], event["recipient"]) == (ALICE, BOB)
    assert pair.to_alice.first_event() == event
    with pytest.raises(E2eeError.NotFound):
        pair.to_bob.first_event()


def test_messages_go_both_ways(pair):
    answer = pair.to_alice.encrypt("m.dummy", {"n": 2})
    assert pair.to_bob.decrypt(answer)["content"] == {"n": 2}
    following = pair.to_bob.encrypt("m.dummy", {"n": 3})
    assert pair.to_alice.decrypt(following)["content"] == {"n": 3}


def test_json_text_goes_in_as_well_as_objects(alice, bob):
    keys, one_time_key = json.dumps(bob.keys), json.dumps(bob.one_time_key())
    to_bob = OlmChannel.create_outbound_channel(alice.account, keys, one_time_key)
    to_alice = bob.receive_first(alice, json.dumps(to_bob.encrypt("m.dummy", '{"n": 1}')))
    assert to_alice.first_event()["content"] == {"n": 1}
    to_alice.set_partner_device_keys(json.dumps(alice.keys))
    answer = json.dumps(to_alice.encrypt("m.dummy", '{"n": 2}'))
    assert to_bob.decrypt(answer)["content"] == {"n": 2}
    to_bob.add_outbound_olm_session(json.dumps(bob.one_time_key()))
    assert to_bob.session_count() == 2


def test_a_channel_says_who_is_at_its_other_end(pair):
    assert pair.to_bob.partner() == {
        "user_id": BOB,
        "device_id": "BOB",
        "identity_key": pair.bob.identity_key,
        "fingerprint_key": pair.bob.fingerprint_key,
        "fingerprint": "device_keys",
    }


def test_device_keys_verify_a_fingerprint_that_a_message_taught(pair):
    assert pair.to_alice.partner()["fingerprint"] == "learned"
    pair.to_alice.set_partner_device_keys(pair.alice.keys)
    assert pair.to_alice.partner()["fingerprint"] == "device_keys"


@pytest.mark.parametrize("right", [True, False])
def test_what_the_caller_knows_of_the_sender_is_compared_with_the_first_message(pair, right):
    carol = Device(CAROL, "CAROL")
    channel = OlmChannel.create_from_encrypted_message(
        pair.bob.account,
        carol.user_id,
        carol.identity_key,
        carol.channel_to(pair.bob).encrypt("m.dummy", {}),
        partner_device_id="CAROL",
        partner_fingerprint_key=(carol if right else pair.alice).fingerprint_key,
    )
    if right:
        assert channel.first_event()["sender"] == CAROL
        assert channel.partner()["fingerprint"] == "device_keys"
    else:
        with pytest.raises(E2eeError.MismatchedFingerprint):
            channel.first_event()


def test_a_stored_channel_is_found_by_user_and_identity_key(pair):
    account, key = pair.alice.account, pair.bob.identity_key
    assert OlmChannel.create_from_storage(account, BOB, key).partner() == pair.to_bob.partner()
    with pytest.raises(E2eeError.NotFound):
        OlmChannel.create_from_storage(account, ALICE, key)


def test_a_further_session_is_added_with_a_further_key(pair):
    assert pair.to_bob.session_count() == 1
    pair.to_bob.add_outbound_olm_session(pair.bob.one_time_key())
    assert pair.to_bob.session_count() == 2
    content = pair.to_bob.encrypt("m.dummy", {"n": 2})
    assert pair.to_alice.decrypt(content)["content"] == {"n": 2}
    assert pair.to_alice.session_count() == 2


def test_a_new_session_is_due_after_a_message_that_did_not_decrypt_once_an_hour(pair):
    wrong = altered(pair.to_bob.encrypt("m.dummy", {}), pair.bob)
    due = []
    for later in (0, 0, 61 * 60 * 1000):
        pair.bob.clock.now += later
        before = pair.to_alice.should_create_new_session()
        with pytest.raises(E2eeError.UnableToDecrypt):
            pair.to_alice.decrypt(wrong)
        due.append((before, pair.to_alice.should_create_new_session()))
    assert due[:2] == [(False, True), (False, False)]
    assert True in due[2]


def test_a_channel_that_is_erased_is_gone_for_every_handle(pair):
    again = OlmChannel.create_from_storage(pair.alice.account, BOB, pair.bob.identity_key)
    assert again.session_count() == 1
    pair.to_bob.erase()
    with pytest.raises(E2eeError.NotFound):
        again.encrypt("m.dummy", {})


def test_a_content_keeps_its_letters_and_numbers_on_the_way(pair):
    content = {
        "text": "Grüße, 你好, 🙂 \x00 \u2028",
        "numbers": [0, -1, 2**53 - 1],
        "more": {"null": None, "true": True, "empty": {}},
    }
    encrypted = pair.to_bob.encrypt("m.grüße", content)
    event = pair.to_alice.decrypt(encrypted)
    assert (event["type"], event["content"]) == ("m.grüße", content)


@pytest.fixture
def pickled():
    return fixture("libolm_sessions.json")


def test_sessions_that_libolm_pickled_go_on_where_they_were(pickled):
    us, them = pickled["us"], pickled["them"]
    key = pickled["pickle_key"].encode()
    account = Account.from_libolm_pickle(
        Store.in_memory(KEY), us["user_id"], us["device_id"], us["account"], key
    )
    channel = OlmChannel.from_libolm_pickles(
        account, them["user_id"], them["identity_key"], us["sessions"], key
    )
    assert channel.session_count() == 3
    assert channel.partner()["fingerprint"] == "unknown"
    channel.decrypt(pickled["waiting"][0]["content"])
    assert channel.partner()["fingerprint"] == "learned"


def test_sessions_that_vodozemac_pickled_go_on_where_they_were():
    pickles = fixture("olm_inbound.json")
    known, message = pickles["account"], pickles["events"][2]
    key = bytes(range(32))
    account = Account.from_vodozemac_pickle(
        Store.in_memory(KEY), known["user"], known["device"], known["vodozemac_pickle"], key
    )
    content = message["event"]["content"]
    channel = OlmChannel.from_vodozemac_pickles(
        account,
        message["sender"],
        content["sender_key"],
        [message["session_before"]["vodozemac_pickle_before"]],
        key,
    )
    assert channel.decrypt(content)["content"] == message["plaintext"]["content"]

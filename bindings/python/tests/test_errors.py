"""Each error as its own class, as it comes about.

At the end all of them, also those that only C can have, and NO_SESSION, which stands in the answers of a
batch: see test_account.py.
"""

import json
import re
import traceback

import pytest
from devices import (
    ALICE,
    BOB,
    CAROL,
    KEY,
    ROOM,
    ROOT,
    Connected,
    Device,
    DictStore,
    InRoom,
    altered,
    failing,
    fixture,
    recipients,
    say,
)

from matrixe2ee import (
    Account,
    E2eeError,
    InboundMegolmSession,
    OlmChannel,
    Store,
    canonical_json,
    raw,
    verify_signed_json,
)


def refused(kind, call, *arguments):
    """The error of a call, if its sentence, name and JSON fit together."""
    with pytest.raises(kind) as caught:
        call(*arguments)
    error = caught.value
    assert type(error) is kind
    assert isinstance(error, E2eeError)
    fields = json.loads(error.json())
    assert (fields.pop("detail"), fields.pop("name"), fields.pop("code")) == (
        error.detail,
        error.name(),
        error.code(),
    )
    assert fields == {name: getattr(error, name) for name in fields}
    assert error.detail.strip()
    assert str(error) == error.detail
    return error


def test_a_key_of_the_wrong_length_is_invalid_length():
    refused(E2eeError.InvalidLength, Store.in_memory, b"short")


@pytest.mark.parametrize("text", ["{", "", '{"a": 1, "a": 2}', '{"a": 1.5}', '"\\ud83d"'])
def test_what_is_not_json_is_invalid_json(text):
    refused(E2eeError.InvalidJson, canonical_json, text)


def test_an_argument_that_makes_no_sense_is_invalid_field_and_is_named():
    store = Store.in_memory(KEY)
    assert refused(E2eeError.InvalidField, Account.open, store, "alice", "A").field == "user_id"


def test_an_event_that_is_too_large_is_too_large_and_says_what_the_limit_is(room):
    error = refused(E2eeError.TooLarge, room.inbound.decrypt, " " * 65_537)
    assert error.limit == 65_536
    words = "x" * 65_536
    assert refused(E2eeError.TooLarge, say, room.outbound, words).limit == 65_536


def test_a_key_that_is_none_is_invalid_key(alice):
    signed = alice.account.sign_json({})
    refused(E2eeError.InvalidKey, verify_signed_json, signed, ALICE, "ed25519:ALICE", "AAAA")


def test_a_signature_that_does_not_hold_is_bad_signature(alice, bob):
    signed = alice.account.sign_json({})
    refused(
        E2eeError.BadSignature,
        verify_signed_json,
        signed,
        ALICE,
        "ed25519:ALICE",
        bob.fingerprint_key,
    )
    foreign_key = Device(BOB, "BOB").one_time_key()
    create = OlmChannel.create_outbound_channel
    refused(E2eeError.BadSignature, create, alice.account, bob.keys, foreign_key)


def test_an_algorithm_that_the_call_does_not_handle_is_unknown_algorithm_and_is_named(alice, bob):
    error = refused(
        E2eeError.UnknownAlgorithm, bob.receive, alice, {"algorithm": "m.megolm.v9"}
    )
    assert error.algorithm == "m.megolm.v9"


def test_an_olm_message_for_another_device_is_not_encrypted_for_us(pair):
    content = pair.to_bob.encrypt("m.dummy", {})
    laptop = Device(BOB, "LAPTOP")
    refused(E2eeError.NotEncryptedForUs, laptop.receive_first, pair.alice, content)


def test_an_olm_message_that_was_altered_or_comes_again_is_unable_to_decrypt_and_says_why(pair):
    content = pair.to_bob.encrypt("m.dummy", {})
    decrypt = pair.to_alice.decrypt
    wrong = altered(content, pair.bob)
    assert refused(E2eeError.UnableToDecrypt, decrypt, wrong).reason == "bad_mac"
    decrypt(content)
    error = refused(E2eeError.UnableToDecrypt, decrypt, content)
    assert error.reason == "missing_message_key"


def test_a_room_event_that_was_altered_is_unable_to_decrypt(room):
    event = room.say("$1", "hello")
    event["content"]["ciphertext"] = event["content"]["ciphertext"][:-90] + "A" * 90
    assert refused(E2eeError.UnableToDecrypt, room.inbound.decrypt, event).reason == "bad_mac"


def test_a_message_of_a_type_that_does_not_exist_is_invalid_message(pair):
    content = pair.to_bob.encrypt("m.dummy", {})
    content["ciphertext"][pair.bob.identity_key]["type"] = 7
    refused(E2eeError.InvalidMessage, pair.to_alice.decrypt, content)


def test_a_first_message_in_the_name_of_somebody_else_is_invalid_message(pair):
    laptop = Device(BOB, "LAPTOP")
    content = pair.alice.channel_to(laptop).encrypt("m.dummy", {})
    channel = OlmChannel.create_from_encrypted_message(
        laptop.account, CAROL, pair.alice.identity_key, content
    )
    refused(E2eeError.InvalidMessage, channel.first_event)


def test_device_keys_with_another_fingerprint_are_mismatched_fingerprint(pair):
    other = Device(BOB, "BOB")
    keys = {name: value for name, value in other.keys.items() if name != "signatures"}
    keys["keys"]["curve25519:BOB"] = pair.bob.identity_key
    forged = other.account.sign_json(keys)
    refused(E2eeError.MismatchedFingerprint, pair.to_bob.set_partner_device_keys, forged)


def test_a_device_of_unknown_fingerprint_gets_nothing_that_is_unknown_fingerprint(pair):
    pickled = fixture("libolm_sessions.json")
    us, them, key = pickled["us"], pickled["them"], pickled["pickle_key"].encode()
    account = Account.from_libolm_pickle(
        Store.in_memory(KEY), us["user_id"], us["device_id"], us["account"], key
    )
    channel = OlmChannel.from_libolm_pickles(
        account, them["user_id"], them["identity_key"], us["sessions"], key
    )
    refused(E2eeError.UnknownFingerprint, channel.encrypt, "m.dummy", {})
    one_time_key = pair.alice.one_time_key()
    refused(E2eeError.UnknownFingerprint, pair.to_alice.add_outbound_olm_session, one_time_key)


def test_a_session_that_has_done_its_work_is_session_expired_and_says_why(alice):
    session = alice.outbound()
    session.invalidate()
    assert refused(E2eeError.SessionExpired, say, session, "hello").reason == "invalidated"


def test_a_room_without_encryption_is_room_not_encrypted(alice, bob):
    room = recipients(alice, bob, encryption=None)
    refused(E2eeError.RoomNotEncrypted, alice.outbound().get_session_key_for_sending, room)


def test_an_event_in_another_room_is_wrong_room_and_by_somebody_else_wrong_sender(room):
    event = room.say("$1", "hello")
    decrypt = room.inbound.decrypt
    refused(E2eeError.WrongRoom, decrypt, {**event, "room_id": "!other:example.org"})
    refused(E2eeError.WrongSender, decrypt, {**event, "sender": BOB})


def test_an_event_of_another_session_is_mismatched_session_id(room):
    event = room.alice.event("$1", say(room.alice.outbound(), "hello"))
    refused(E2eeError.MismatchedSessionId, room.inbound.decrypt, event)


def test_an_event_before_the_first_that_can_be_read_is_unknown_index_and_says_which(room):
    event = room.say("$1", "hello")
    laptop = Device(BOB, "LAPTOP")
    later = InboundMegolmSession.from_export(laptop.account, room.inbound.export_at(1))
    error = refused(E2eeError.UnknownIndex, later.decrypt, event)
    assert (error.first_known, error.got) == (1, 0)


def test_an_index_that_another_event_has_used_is_replay_and_names_that_event(room):
    room.say("$1", "first")
    event = room.say("$2", "second")
    room.inbound.decrypt(event)
    try:
        room.inbound.decrypt({**event, "event_id": "$3"})
    except E2eeError.Replay as error:
        assert (error.message_index, error.event_id) == (1, "$2")
    else:
        pytest.fail("it was decrypted")
    refused(E2eeError.Replay, room.inbound.decrypt, {**event, "event_id": "$3"})


def test_what_is_not_stored_is_not_found_and_what_is_stored_already_exists(alice, bob):
    find = OlmChannel.create_from_storage
    refused(E2eeError.NotFound, find, alice.account, BOB, bob.identity_key)
    create, key = OlmChannel.create_outbound_channel, bob.one_time_key()
    create(alice.account, bob.keys, key)
    refused(E2eeError.AlreadyExists, create, alice.account, bob.keys, key)


def test_a_file_that_is_open_is_store_in_use_and_with_another_key_wrong_key(path):
    with Store.open_sqlite(path, KEY):
        refused(E2eeError.StoreInUse, Store.open_sqlite, path, KEY)
    refused(E2eeError.WrongKey, Store.open_sqlite, path, bytes(32))


def test_after_shut_down_every_handle_is_store_closed(room):
    channel = room.alice.channel_to(room.bob)
    room.alice.store.shut_down()
    room.bob.store.shut_down()
    for call in (
        room.alice.account.device_keys,
        channel.session_count,
        room.outbound.session_id,
        room.inbound.session_id,
    ):
        refused(E2eeError.StoreClosed, call)


def test_each_record_that_was_altered_is_corrupt_unless_it_only_helps_to_list():
    records = {}

    def open_account():
        return Account.open(Store.foreign(DictStore(records), KEY), ALICE, "ALICE")

    keys = open_account().device_keys()
    kept = dict(records)
    assert kept
    unread = []
    for name, value in kept.items():
        records.update(kept)
        records[name] = value[:-1] + bytes([value[-1] ^ 1])
        try:
            assert open_account().device_keys() == keys
            unread.append(name[0])
        except E2eeError.Corrupt:
            pass
    # The lists of sessions and channels, which are built anew.
    assert unread == ["vault_index", "vault_index"]
    records.update(kept)
    assert open_account().device_keys() == keys


def test_a_file_that_is_no_database_is_corrupt(path):
    path.write_bytes(b"no database, but a text that is long enough")
    refused(E2eeError.Corrupt, Store.open_sqlite, path, KEY)


def test_a_file_of_a_newer_version_is_newer_format_and_says_which(path):
    Store.open_sqlite(path, KEY).shut_down()
    # SQLite keeps the format's number in bytes 60 to 63 of the file.
    content = bytearray(path.read_bytes())
    supported = content[63]
    content[63] += 7
    path.write_bytes(content)
    error = refused(E2eeError.NewerFormat, Store.open_sqlite, path, KEY)
    assert (error.found, error.supported) == (supported + 7, supported)


def test_a_file_that_cannot_be_made_is_store_io(tmp_path):
    refused(E2eeError.StoreIo, Store.open_sqlite, tmp_path / "missing/alice.sqlite", KEY)


def test_a_clock_that_fails_is_clock_failed(alice):
    alice.clock.now_ms = failing(OSError("no battery"))
    refused(E2eeError.ClockFailed, alice.outbound)


def test_one_except_catches_every_error():
    caught = []
    for call in (
        lambda: Store.in_memory(b""),
        lambda: canonical_json("{"),
        lambda: Connected().to_bob.first_event(),
        lambda: InRoom().outbound.mark_as_sent("{}"),
    ):
        try:
            call()
        except E2eeError as error:
            caught.append(error.name())
    assert caught == ["INVALID_LENGTH", "INVALID_JSON", "NOT_FOUND", "INVALID_FIELD"]


def test_one_error_is_not_another():
    with pytest.raises(E2eeError.InvalidLength):
        try:
            Store.in_memory(b"")
        except E2eeError.NotFound:
            pytest.fail("it is none")


def test_an_error_is_the_same_class_in_the_package_and_in_raw():
    assert E2eeError is raw.E2eeError
    refused(raw.E2eeError.InvalidLength, Store.in_memory, b"")


def test_a_traceback_ends_with_the_class_and_the_sentence():
    error = refused(E2eeError.InvalidLength, Store.in_memory, b"")
    last = traceback.format_exception_only(type(error), error)[-1].strip()
    assert last.endswith(f"E2eeError.InvalidLength: {error.detail}")


def classes():
    return {
        name: kind
        for name, kind in vars(E2eeError).items()
        if isinstance(kind, type) and issubclass(kind, E2eeError)
    }


def made(kind):
    """An error of this class, with whatever in its fields."""
    names = kind.__init__.__code__.co_varnames[1 : kind.__init__.__code__.co_argcount]
    numbers = {"limit", "first_known", "got", "message_index", "found", "supported"}
    return kind(*[1 if name in numbers else "bad_mac" for name in names])


def test_each_error_of_the_header_has_its_class_with_the_same_number_and_name():
    text = (ROOT / "include/matrixe2ee.h").read_text()
    statuses = re.findall(r"MATRIXE2EE_STATUS_(\w+) = ([1-9]\d*)", text)
    header = {name: int(number) for name, number in statuses}
    errors = [made(kind) for kind in classes().values()]
    assert {error.name(): error.code() for error in errors} == header
    assert len(errors) > 30


@pytest.mark.parametrize("name", sorted(classes()))
def test_the_name_of_a_class_is_the_name_of_its_error_and_each_says_what_it_means(name):
    kind = classes()[name]
    assert made(kind).name() == re.sub(r"(?<!^)([A-Z])", r"_\1", name).upper()
    assert kind.__doc__.strip()
    assert str(made(kind)) == "bad_mac"


def test_no_error_repeats_what_was_said(room):
    secret = "the words of a secret"
    event = room.say("$1", secret)
    room.inbound.decrypt(event)
    error = refused(E2eeError.Replay, room.inbound.decrypt, {**event, "event_id": "$2"})
    key = room.inbound.export_at()["session_key"]
    wrong = {"algorithm": "m.megolm.v1.aes-sha2", "room_id": ROOM, "session_key": key}
    other = refused(E2eeError.InvalidKey, room.bob.receive, room.alice, wrong)
    for said in (repr(error), error.json(), repr(other), other.json()):
        assert secret not in said
        assert key[:20] not in said

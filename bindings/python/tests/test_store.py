"""Stores in files and in memory: what opens them, and when they close."""

import os
import pathlib

import pytest
from devices import ALICE, KEY, Device, Watched, failing, say

from matrixe2ee import Account, E2eeError, InboundMegolmSession, OutboundMegolmSession, Store

NEW_KEY = bytes([8]) * 32


def keys_in(store):
    return Account.open(store, ALICE, "ALICE").device_keys()


def test_what_was_stored_in_a_file_is_found_again_with_its_key(path):
    with Store.open_sqlite(path, KEY) as store:
        keys = keys_in(store)
    with Store.open_sqlite(path, KEY) as store:
        assert keys_in(store) == keys
    with pytest.raises(E2eeError.WrongKey):
        Store.open_sqlite(path, bytes(32))


@pytest.mark.parametrize("kind", [str, pathlib.Path, pathlib.PurePosixPath])
def test_a_path_is_a_text_or_a_path(path, kind):
    Store.open_sqlite(kind(path), KEY).shut_down()
    assert path.exists()
    path.unlink()
    Store.open_sqlite_with_passphrase(kind(path), "correct horse").shut_down()
    assert path.exists()


def test_a_path_and_a_passphrase_may_have_letters_of_any_language(tmp_path):
    path = tmp_path / "ключи 🔑.sqlite"
    with Store.open_sqlite_with_passphrase(path, "Überraschung 🎁") as store:
        keys = keys_in(store)
    assert path.exists()
    with Store.open_sqlite_with_passphrase(str(path), "Überraschung 🎁") as store:
        assert keys_in(store) == keys


def test_whatever_gives_a_path_is_one_if_it_gives_text(path):
    class Place:
        def __init__(self, given):
            self.given = given

        def __fspath__(self):
            return self.given

    Store.open_sqlite(Place(str(path)), KEY).shut_down()
    assert path.exists()
    with pytest.raises(TypeError):
        Store.open_sqlite(Place(bytes(path)), KEY)


def test_a_path_or_passphrase_that_is_no_unicode_is_a_unicode_error(tmp_path):
    path = tmp_path / os.fsdecode(b"alice-\xff.sqlite")
    with pytest.raises(UnicodeEncodeError):
        Store.open_sqlite(path, KEY)
    with pytest.raises(UnicodeEncodeError):
        Store.open_sqlite_with_passphrase(tmp_path / "alice.sqlite", "correct \ud83d")
    assert list(tmp_path.iterdir()) == []


def test_a_path_that_names_no_file_is_refused(tmp_path):
    with pytest.raises(E2eeError.InvalidField):
        Store.open_sqlite("", KEY)
    with pytest.raises(E2eeError):
        Store.open_sqlite(tmp_path, KEY)
    with pytest.raises(E2eeError):
        Store.open_sqlite(f"{tmp_path}/alice\0.sqlite", KEY)


def test_the_end_of_with_closes_the_file_even_if_an_account_is_still_open(path):
    with Store.open_sqlite(path, KEY) as store:
        with pytest.raises(E2eeError.StoreInUse):
            Store.open_sqlite(path, KEY)
        account = Account.open(store, ALICE, "ALICE")
    with pytest.raises(E2eeError.StoreClosed):
        account.device_keys()
    Store.open_sqlite(path, KEY).shut_down()


def test_with_raises_what_was_raised_in_it_and_closes_the_store_all_the_same():
    raised = ValueError("no")
    with pytest.raises(ValueError) as caught:
        with Store.in_memory(KEY) as store:
            account = Account.open(store, ALICE, "ALICE")
            raise raised
    assert caught.value is raised
    with pytest.raises(E2eeError.StoreClosed):
        account.user_id()


def test_a_failure_to_write_at_the_end_comes_out_of_with():
    backend = Watched()
    with pytest.raises(E2eeError.StoreIo) as caught:
        with Store.foreign(backend, KEY) as store:
            session = Device(ALICE, "ALICE", store).outbound()
            say(session, "so that indices are reserved")
            backend.before_commit = failing(OSError("the disk is full"))
    assert caught.value.detail == "the backend failed to commit (STORE_IO)"


def test_a_store_may_be_shut_down_twice_and_inside_of_with():
    with Store.in_memory(KEY) as store:
        store.shut_down()
        store.shut_down()
    store.shut_down()
    with pytest.raises(E2eeError.StoreClosed):
        keys_in(store)


def test_a_store_that_was_shut_down_opens_no_account_and_takes_no_key(path):
    store = Store.open_sqlite(path, KEY)
    store.shut_down()
    for use in (keys_in, lambda closed: closed.rekey(NEW_KEY)):
        with pytest.raises(E2eeError.StoreClosed):
            use(store)
    Store.open_sqlite(path, KEY).shut_down()


def test_a_store_that_nobody_holds_any_more_still_serves_its_account(path):
    account = Account.open(Store.open_sqlite(path, KEY), ALICE, "ALICE")
    assert account.user_id() == ALICE
    with pytest.raises(E2eeError.StoreInUse):
        Store.open_sqlite(path, KEY)


def test_another_key_takes_the_place_of_the_former_one(path):
    with Store.open_sqlite(path, KEY) as store:
        store.rekey(NEW_KEY)
        keys = keys_in(store)
    with pytest.raises(E2eeError.WrongKey):
        Store.open_sqlite(path, KEY)
    with Store.open_sqlite(path, NEW_KEY) as store:
        assert keys_in(store) == keys


def test_a_store_without_problems_says_so_and_can_be_copied(path, tmp_path):
    with Store.open_sqlite(path, KEY) as store:
        keys = keys_in(store)
        assert store.problems() == []
        store.salvage(tmp_path / "copy", NEW_KEY)
        with pytest.raises(E2eeError.AlreadyExists):
            store.salvage(tmp_path / "copy", NEW_KEY)
    with Store.open_sqlite(tmp_path / "copy", NEW_KEY) as copy:
        assert keys_in(copy) == keys


def test_a_passphrase_opens_a_store_as_a_key_does(path):
    with Store.open_sqlite_with_passphrase(path, "correct horse") as store:
        keys = keys_in(store)
    with pytest.raises(E2eeError.WrongKey):
        Store.open_sqlite_with_passphrase(path, "battery")
    with Store.open_sqlite_with_passphrase(path, "correct horse") as store:
        store.rekey_with_passphrase("staple")
    with Store.open_sqlite_with_passphrase(path, "staple") as store:
        assert keys_in(store) == keys
    with pytest.raises(E2eeError.InvalidLength):
        Store.open_sqlite_with_passphrase(path, "")


def test_stores_in_memory_have_nothing_in_common():
    assert keys_in(Store.in_memory(KEY)) != keys_in(Store.in_memory(KEY))


def test_one_store_may_hold_several_devices():
    store = Store.in_memory(KEY)
    phone, laptop = (Account.open(store, ALICE, name) for name in ("PHONE", "LAPTOP"))
    assert phone.identity_key() != laptop.identity_key()
    assert Account.open(store, ALICE, "PHONE").identity_key() == phone.identity_key()


def test_a_conversation_goes_on_after_a_restart(path, bob):
    with Store.open_sqlite(path, KEY) as store:
        alice = Device(ALICE, "ALICE", store)
        session = alice.outbound()
        inbound = alice.share(session, bob)
        InboundMegolmSession.from_outbound_session(session)
        first = alice.event("$1", say(session, "before"))
        session_id = session.session_id()
    with Store.open_sqlite(path, KEY) as store:
        alice = Device(ALICE, "ALICE", store)
        stored = OutboundMegolmSession.create_from_storage(alice.account, first["room_id"])
        assert stored.session_id() == session_id
        second = alice.event("$2", say(stored, "after"))
        own = InboundMegolmSession.from_storage(alice.account, first["room_id"], session_id, ALICE)
        for session in (inbound, own):
            assert [session.decrypt(event)["content"]["body"] for event in (first, second)] == [
                "before",
                "after",
            ]

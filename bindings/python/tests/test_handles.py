"""Handles: how they end, and what happens to those who use them then."""

import copy
import gc
import os
import pickle
import weakref
from concurrent.futures import ThreadPoolExecutor

import pytest
from devices import ALICE, BOB, KEY, ROOM, Connected, Device, DictStore, InRoom, read, say

import matrixe2ee
from matrixe2ee import (
    Account,
    E2eeError,
    InboundMegolmSession,
    OlmChannel,
    OutboundMegolmSession,
    Store,
)


class Everything:
    """A handle of each kind, by its class, and what asks it something."""

    def __init__(self):
        pair, room = Connected(), InRoom()
        self.all = {
            Store: (pair.alice.store, lambda store: Account.open(store, ALICE, "ALICE")),
            Account: (pair.alice.account, Account.user_id),
            OlmChannel: (pair.to_bob, OlmChannel.session_count),
            OutboundMegolmSession: (room.outbound, OutboundMegolmSession.session_id),
            InboundMegolmSession: (room.inbound, InboundMegolmSession.session_id),
        }
        self.devices = [pair.alice, pair.bob, room.alice, room.bob]


KINDS = [Store, Account, OlmChannel, OutboundMegolmSession, InboundMegolmSession]
each_kind = pytest.mark.parametrize("kind", KINDS)
each_but_the_store = pytest.mark.parametrize("kind", KINDS[1:])


@pytest.fixture
def everything():
    return Everything()


@each_but_the_store
def test_with_gives_the_handle_and_releases_it_at_its_end(everything, kind):
    handle, ask = everything.all[kind]
    with handle as inside:
        assert inside is handle
        assert ask(handle)
    with pytest.raises(E2eeError.StaleHandle):
        ask(handle)


@each_but_the_store
def test_with_releases_a_handle_also_when_something_is_raised(everything, kind):
    handle, ask = everything.all[kind]
    with pytest.raises(KeyError):
        with handle:
            raise KeyError("no")
    with pytest.raises(E2eeError.StaleHandle):
        ask(handle)


@each_kind
def test_a_handle_that_was_released_says_so_and_may_be_released_again(everything, kind):
    handle, ask = everything.all[kind]
    assert ask(handle)
    handle.release()
    handle.release()
    with pytest.raises(E2eeError.StaleHandle) as caught:
        ask(handle)
    assert (caught.value.code(), caught.value.name()) == (4, "STALE_HANDLE")
    with pytest.raises(E2eeError.StaleHandle):
        with handle:
            pytest.fail("it was released")


def test_what_is_stored_stays_when_a_handle_is_released(room):
    with room.inbound as inbound:
        session_id = inbound.session_id()
    account = room.bob.account
    stored = InboundMegolmSession.from_storage(account, ROOM, session_id)
    assert stored.session_id() == session_id


def test_two_handles_on_one_object_share_its_state_and_end_apart(alice):
    first = alice.outbound()
    second = OutboundMegolmSession.create_from_storage(alice.account, ROOM)
    say(first, "hello")
    assert second.message_index() == 1
    first.release()
    say(second, "hello")
    assert second.message_index() == 2


def test_a_store_that_was_released_still_serves_what_was_opened_on_it(alice):
    alice.store.release()
    assert alice.outbound().message_index() == 0
    with pytest.raises(E2eeError.StaleHandle):
        alice.store.shut_down()


def test_a_released_handle_is_refused_as_an_argument(pair, room):
    pair.alice.store.release()
    pair.alice.account.release()
    room.outbound.release()
    account = pair.alice.account
    for call in (
        lambda: Account.open(pair.alice.store, ALICE, "ALICE"),
        lambda: Account.from_libolm_pickle(pair.alice.store, ALICE, "A", "", KEY),
        lambda: OutboundMegolmSession.create(account, ROOM),
        lambda: OutboundMegolmSession.create_from_storage(account, ROOM),
        lambda: OlmChannel.create_from_storage(account, BOB, pair.bob.identity_key),
        lambda: InboundMegolmSession.from_room_key(account, BOB, "", {}),
        lambda: InboundMegolmSession.from_outbound_session(room.outbound),
    ):
        with pytest.raises(E2eeError.StaleHandle):
            call()


def test_a_handle_on_a_closed_store_is_refused_as_an_argument(room):
    room.alice.store.shut_down()
    for call in (
        lambda: Account.open(room.alice.store, ALICE, "ALICE"),
        lambda: OutboundMegolmSession.create(room.alice.account, ROOM),
        lambda: InboundMegolmSession.from_outbound_session(room.outbound),
    ):
        with pytest.raises(E2eeError.StoreClosed):
            call()


def test_a_handle_of_another_kind_as_an_argument_is_a_type_error(everything):
    store, account = everything.all[Store][0], everything.all[Account][0]
    for wrong in (None, "store", account, object(), Store):
        with pytest.raises(TypeError):
            Account.open(wrong, ALICE, "ALICE")
    for wrong in (None, store, KEY):
        with pytest.raises(TypeError):
            OutboundMegolmSession.create(wrong, ROOM)
    assert Account.open(store, ALICE, "ALICE").user_id() == ALICE


@pytest.mark.parametrize(
    "call",
    [
        lambda: Store.in_memory("x" * 32),
        lambda: Store.in_memory(32),
        lambda: Store.in_memory(None),
        lambda: Store.open_sqlite(None, KEY),
        lambda: Store.open_sqlite(5, KEY),
        lambda: Store.open_sqlite_with_passphrase("none.sqlite", b"correct horse"),
    ],
)
def test_an_argument_of_another_type_is_a_type_error(call):
    with pytest.raises(TypeError):
        call()


@pytest.mark.parametrize("names", [(None, "ALICE"), (ALICE, b"ALICE"), (5, "ALICE")])
def test_a_name_that_is_no_text_is_invalid_field(names):
    with pytest.raises(E2eeError.InvalidField):
        Account.open(Store.in_memory(KEY), *names)


@each_kind
def test_a_handle_is_made_by_its_class_methods_only(kind):
    with pytest.raises(TypeError, match=kind.__name__):
        kind()


@each_kind
@pytest.mark.parametrize("double", [copy.copy, copy.deepcopy, pickle.dumps])
def test_a_handle_is_not_copied_and_not_pickled(everything, kind, double):
    handle, ask = everything.all[kind]
    with pytest.raises(TypeError, match=kind.__name__):
        double(handle)
    assert ask(handle)


@each_kind
def test_the_text_of_a_handle_is_its_kind_and_nothing_secret(everything, kind):
    handle, _ = everything.all[kind]
    expected = f"matrixe2ee.{kind.__name__}"
    assert repr(handle) == str(handle) == f"<{expected}>"
    handle.release()
    assert repr(handle) == f"<{expected} (released)>"


@each_kind
def test_handles_are_compared_by_identity_and_may_be_keys_and_watched(everything, kind):
    handle, _ = everything.all[kind]
    assert handle == handle
    assert {handle: "found"}[handle] == "found"
    assert weakref.ref(handle)() is handle


def test_a_file_is_free_again_when_the_last_handle_on_it_is_gone(path):
    store = Store.open_sqlite(path, KEY)
    account = Account.open(store, ALICE, "ALICE")
    del store
    gc.collect()
    with pytest.raises(E2eeError.StoreInUse):
        Store.open_sqlite(path, KEY)
    assert account.user_id() == ALICE
    del account
    gc.collect()
    Store.open_sqlite(path, KEY).shut_down()


def test_a_file_is_free_again_when_the_last_handle_on_it_is_released(path):
    store = Store.open_sqlite(path, KEY)
    account = Account.open(store, ALICE, "ALICE")
    store.release()
    account.release()
    Store.open_sqlite(path, KEY).shut_down()


def test_handles_in_a_circle_are_collected(path):
    circle = {"store": Store.open_sqlite(path, KEY)}
    circle["self"] = circle
    del circle
    gc.collect()
    Store.open_sqlite(path, KEY).shut_down()


def test_a_store_of_our_own_that_holds_its_store_is_let_go_of_by_shut_down():
    backend = DictStore()
    backend.store = Store.foreign(backend, KEY)
    watch = weakref.ref(backend)
    backend.store.shut_down()
    del backend
    gc.collect()
    assert watch() is None


def test_many_handles_come_and_go(alice):
    session_id = alice.outbound().session_id()
    for _ in range(2_000):
        stored = OutboundMegolmSession.create_from_storage(alice.account, ROOM)
        assert stored.session_id() == session_id


def on_threads(what):
    """Does the same on four threads; gives what each gave."""
    with ThreadPoolExecutor(4) as threads:
        return list(threads.map(what, range(4)))


def test_threads_share_one_session_and_no_index_is_used_twice(room):
    said = sum(
        on_threads(lambda own: [room.say(f"${own}-{n}", f"{own} {n}") for n in range(25)]), []
    )
    assert room.outbound.message_index() == 100
    assert len({event["content"]["ciphertext"] for event in said}) == 100
    heard = on_threads(lambda own: [read(room.inbound, event) for event in said[own::4]])
    assert sorted(sum(heard, [])) == sorted(f"{own} {n}" for own in range(4) for n in range(25))


def test_releasing_a_handle_that_other_threads_use_is_safe(alice):
    for _ in range(20):
        session = alice.outbound()
        answers = on_threads(
            lambda own, session=session: session.release() if own == 0 else say_until_stale(session)
        )
        assert all(count <= 10 for count in answers[1:])
        with pytest.raises(E2eeError.StaleHandle):
            session.message_index()


def say_until_stale(session):
    for count in range(10):
        try:
            say(session, "hello")
        except (E2eeError.StaleHandle, E2eeError.StoreClosed):
            return count
    return 10


def test_releasing_a_handle_that_other_threads_pass_as_an_argument_is_safe():
    for _ in range(20):
        account = Device(ALICE, "ALICE").account

        def use(own, account=account):
            if own == 0:
                account.release()
                return 0
            for count in range(10):
                try:
                    OutboundMegolmSession.create(account, ROOM)
                except E2eeError.StaleHandle:
                    return count
            return 10

        assert on_threads(use)[0] == 0
        with pytest.raises(E2eeError.StaleHandle):
            OutboundMegolmSession.create(account, ROOM)


def test_shutting_down_a_store_that_other_threads_use_is_store_closed_for_them():
    for _ in range(20):
        alice = Device(ALICE, "ALICE")
        session = alice.outbound()
        on_threads(lambda own: alice.store.shut_down() if own == 0 else say_until_stale(session))
        with pytest.raises(E2eeError.StoreClosed):
            say(session, "hello")


def test_a_handle_may_go_while_another_thread_uses_it(path):
    with Store.open_sqlite(path, KEY) as store:
        session = Device(ALICE, "ALICE", store).outbound()
        with ThreadPoolExecutor(1) as threads:
            talking = threads.submit(say_until_stale, session)
            del session
        assert talking.result() == 10


def test_a_batch_runs_while_another_thread_does_something_else(room):
    events = [room.say(f"${number}", "hello") for number in range(100)]
    with ThreadPoolExecutor(2) as threads:
        batches = [threads.submit(room.inbound.decrypt_many, events) for _ in range(2)]
    for batch in batches:
        assert [answer["event"]["content"]["body"] for answer in batch.result()] == ["hello"] * 100


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_handle_that_crossed_a_fork_is_forked(alice):
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            answer = alice.account.user_id()
        except E2eeError as error:
            answer = error.name()
        os.write(writing, answer.encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as answer:
        assert answer.read() == "FORKED"
    assert os.waitpid(child, 0)[1] == 0
    assert alice.account.user_id() == ALICE


def test_the_package_has_no_other_kinds_of_handles():
    found = {
        kind
        for kind in vars(matrixe2ee).values()
        if isinstance(kind, type) and hasattr(kind, "release")
    }
    assert found == set(KINDS)

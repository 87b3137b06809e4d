"""Stores and clocks of our own."""

import asyncio
import gc
import weakref
from concurrent.futures import ThreadPoolExecutor

import pytest
from devices import (
    ALICE,
    KEY,
    ROOM,
    START,
    Device,
    DictStore,
    StillClock,
    Watched,
    failing,
    say,
)

from matrixe2ee import (
    Account,
    Clock,
    E2eeError,
    Store,
    StoreBackend,
    StoreChange,
    StoreEntry,
    StoreOpener,
    broken_store_rules,
)


# Python says on stderr that this one cannot even be printed, and pytest warns of that.
unprintable = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


class Unprintable(Exception):
    def __repr__(self):
        raise RuntimeError("not even that")

    __str__ = __repr__


# Whatever a program may raise, or what may be raised in it: also what is no Exception.
RAISED = [
    ValueError("password: 1234"),
    ValueError("half a character: \ud83d"),
    OSError(28, "No space left on device", "alice.sqlite"),
    KeyboardInterrupt(),
    SystemExit(1),
    GeneratorExit(),
    StopIteration(),
    asyncio.CancelledError(),
    MemoryError(),
    RecursionError(),
    E2eeError.Corrupt("password"),
    E2eeError.StoreIo("password: 1234, and more than that"),
    E2eeError.StoreIo("half a character: \ud83d"),
    E2eeError.StoreIo(None),
]
NAMES = [f"{type(error).__name__}-{number}" for number, error in enumerate(RAISED)]


def test_a_store_of_our_own_keeps_an_account():
    records = {}
    with Store.foreign(DictStore(records), KEY) as store:
        keys = Device(ALICE, "ALICE", store).keys
    with Store.foreign(DictStore(records), KEY) as store:
        assert Device(ALICE, "ALICE", store).keys == keys
    with pytest.raises(E2eeError.WrongKey):
        Store.foreign(DictStore(records), bytes(32))


def test_what_it_is_given_says_nothing_of_the_user():
    records = {}
    with Store.foreign(DictStore(records), KEY) as store:
        Device(ALICE, "ALICE", store).outbound()
    texts = [part for (_, key), value in records.items() for part in (key, value)]
    assert texts
    assert not [text for text in texts if b"alice" in text.lower() or ROOM.encode() in text]


def test_a_store_of_our_own_may_be_rekeyed_but_has_no_passphrase():
    records, new_key = {}, bytes(32)
    with Store.foreign(DictStore(records), KEY) as store:
        with pytest.raises(E2eeError.InvalidField):
            store.rekey_with_passphrase("correct horse")
        store.rekey(new_key)
    Store.foreign(DictStore(records), new_key).shut_down()
    with pytest.raises(E2eeError.WrongKey):
        Store.foreign(DictStore(records), KEY)


def test_a_commit_gets_changes_of_bytes_and_text():
    seen = []

    class Seen(DictStore):
        def commit(self, changes):
            seen.extend(changes)
            super().commit(changes)

    Device(ALICE, "ALICE", Store.foreign(Seen(), KEY))
    assert seen
    for change in seen:
        assert isinstance(change, StoreChange)
        assert type(change.collection) is str
        assert type(change.key) is bytes
        assert change.value is None or type(change.value) is bytes


@pytest.mark.parametrize("raised", RAISED, ids=NAMES)
def test_whatever_is_raised_in_a_commit_is_store_io_and_nothing_was_encrypted(raised):
    backend = Watched()
    session = Device(ALICE, "ALICE", Store.foreign(backend, KEY)).outbound({"reserve_ahead": 0})
    backend.before_commit = failing(raised)
    with pytest.raises(E2eeError.StoreIo) as caught:
        say(session, "hello")
    assert caught.value.detail in {
        "the backend failed to commit (STORE_IO)",
        "the backend failed to commit (CORRUPT)",
    }
    backend.before_commit = lambda: None
    say(session, "hello")
    assert session.message_index() == 1


def test_an_error_of_the_library_may_say_in_few_words_what_happened():
    backend = Watched()
    session = Device(ALICE, "ALICE", Store.foreign(backend, KEY)).outbound()
    backend.before_commit = failing(E2eeError.StoreIo("disk full"))
    with pytest.raises(E2eeError.StoreIo) as caught:
        say(session, "hello")
    assert caught.value.detail == "the backend failed to commit: disk full"


@pytest.mark.parametrize("raised", RAISED, ids=NAMES)
@pytest.mark.parametrize("method", ["get", "scan", "commit"])
def test_whatever_is_raised_while_a_store_is_opened_is_store_io(method, raised):
    backend = DictStore()
    setattr(backend, method, failing(raised))
    with pytest.raises(E2eeError.StoreIo):
        Account.open(Store.foreign(backend, KEY), ALICE, "ALICE")
    assert Account.open(Store.foreign(DictStore(), KEY), ALICE, "ALICE").user_id() == ALICE


@unprintable
@pytest.mark.parametrize("method", ["get", "scan", "commit"])
def test_an_exception_that_cannot_be_printed_is_store_io_too(method):
    backend = DictStore()
    setattr(backend, method, failing(Unprintable()))
    with pytest.raises(E2eeError.StoreIo):
        Account.open(Store.foreign(backend, KEY), ALICE, "ALICE")


@pytest.mark.parametrize(
    "method, answer",
    [
        ("get", "text"),
        ("get", 5),
        ("get", [b""]),
        ("scan", None),
        ("scan", "no list"),
        ("scan", [b"key"]),
        ("scan", [StoreEntry(key="key", value=b"value")]),
        ("scan", [StoreEntry(key=b"key", value=None)]),
    ],
)
def test_a_store_that_answers_nonsense_is_noticed(method, answer):
    backend = DictStore()
    setattr(backend, method, lambda *_: answer)
    with pytest.raises((E2eeError.StoreIo, E2eeError.Corrupt)):
        Account.open(Store.foreign(backend, KEY), ALICE, "ALICE")


def test_a_store_without_methods_is_store_io():
    with pytest.raises(E2eeError.StoreIo):
        Store.foreign(StoreBackend(), KEY)


def test_a_store_that_is_none_is_a_type_error():
    for none in (None, {}, DictStore):
        with pytest.raises(TypeError):
            Store.foreign(none, KEY)


def test_a_store_that_calls_back_is_told_busy():
    backend = Watched()
    alice = Device(ALICE, "ALICE", Store.foreign(backend, KEY))
    answers = []

    def call_back():
        for call in (alice.account.device_keys, alice.store.shut_down):
            try:
                answers.append(call())
            except E2eeError as error:
                answers.append(type(error))

    backend.before_commit = call_back
    alice.outbound()
    assert set(answers) == {E2eeError.Busy}


def test_a_store_of_our_own_serves_many_threads():
    session = Device(ALICE, "ALICE", Store.foreign(DictStore(), KEY)).outbound()
    with ThreadPoolExecutor(4) as threads:
        said = list(threads.map(lambda number: say(session, str(number)), range(40)))
    assert len({content["ciphertext"] for content in said}) == 40
    assert session.message_index() == 40


def test_a_store_that_was_shut_down_lets_go_of_its_backend():
    backend = DictStore()
    watch = weakref.ref(backend)
    store = Store.foreign(backend, KEY)
    del backend
    assert watch() is not None
    store.shut_down()
    gc.collect()
    assert watch() is None


def test_a_store_of_our_own_is_let_go_of_with_the_last_handle():
    backend = DictStore()
    watch = weakref.ref(backend)
    account = Account.open(Store.foreign(backend, KEY), ALICE, "ALICE")
    del backend
    assert watch() is not None
    account.release()
    gc.collect()
    assert watch() is None


class Opener(StoreOpener):
    def __init__(self, kind):
        self.kind = kind
        self.records = {}

    def open(self):
        return self.kind(self.records)


def callable_opener(kind):
    records = {}
    return lambda: kind(records)


@pytest.fixture(params=[Opener, callable_opener])
def opener(request):
    return request.param


class Forgetful(DictStore):
    """Deletes nothing."""

    def commit(self, changes):
        super().commit([change for change in changes if change.value is not None])


class Unsorted(DictStore):
    def scan(self, collection, after_key, limit):
        return super().scan(collection, after_key, limit)[::-1]


class Empty(DictStore):
    """Forgets all that was there when it is opened."""

    def __init__(self, _):
        super().__init__()


class Generous(DictStore):
    """Gives more than was asked for."""

    def scan(self, collection, after_key, limit):
        return super().scan(collection, after_key, limit + 1)


def test_a_good_store_breaks_no_rules(opener):
    assert broken_store_rules(opener(DictStore)) == []


@pytest.mark.parametrize("kind", [Forgetful, Unsorted, Empty, Generous])
def test_a_rule_that_is_broken_is_named(opener, kind):
    broken = broken_store_rules(opener(kind))
    assert broken
    assert all(isinstance(rule, str) and rule.strip() for rule in broken)


@unprintable
@pytest.mark.parametrize("raised", [*RAISED, Unprintable()], ids=[*NAMES, "Unprintable"])
def test_an_opener_that_raises_breaks_a_rule_and_nothing_else(raised):
    assert broken_store_rules(failing(raised))


@pytest.mark.parametrize("opened", [None, {}, "store"])
def test_an_opener_that_opens_no_store_breaks_a_rule(opened):
    assert broken_store_rules(lambda: opened)


def test_an_opener_that_is_none_is_a_type_error():
    for none in (None, DictStore(), "store"):
        with pytest.raises(TypeError):
            broken_store_rules(none)


def test_a_clock_of_our_own_is_asked(alice):
    class Counting(Clock):
        asked = 0

        def now_ms(self):
            self.asked += 1
            return START

    clock = Counting()
    alice.store.set_clock(clock)
    alice.outbound()
    assert clock.asked > 0


@unprintable
@pytest.mark.parametrize("raised", [*RAISED, Unprintable()], ids=[*NAMES, "Unprintable"])
def test_whatever_is_raised_by_a_clock_is_clock_failed_and_says_no_more(alice, raised):
    alice.clock.now_ms = failing(raised)
    with pytest.raises(E2eeError.ClockFailed) as caught:
        alice.outbound()
    assert "1234" not in caught.value.detail
    del alice.clock.now_ms
    assert alice.outbound().message_index() == 0


@pytest.mark.parametrize("now", [-1, None, "noon", 1.5, 2**63])
def test_a_time_that_is_none_is_clock_failed(alice, now):
    alice.clock.now = now
    with pytest.raises(E2eeError.ClockFailed):
        alice.outbound()


def test_a_clock_that_is_none_is_a_type_error(alice):
    for none in (None, lambda: START, StillClock):
        with pytest.raises(TypeError):
            alice.store.set_clock(none)


def test_a_clock_that_calls_back_is_told_busy(alice):
    def call_back():
        with pytest.raises(E2eeError.Busy):
            alice.account.user_id()
        answers.append("busy")
        return START

    answers = []
    alice.clock.now_ms = call_back
    alice.outbound()
    assert "busy" in answers


def test_a_clock_is_let_go_of_when_another_takes_its_place():
    clock = StillClock()
    watch = weakref.ref(clock)
    store = Store.in_memory(KEY)
    store.set_clock(clock)
    del clock
    assert watch() is not None
    store.set_clock(StillClock())
    gc.collect()
    assert watch() is None

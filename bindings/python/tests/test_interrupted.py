"""Ctrl-C while the library works: Python then leaves a callback before its first line."""

import sys

import pytest
from devices import KEY, ROOM, DictStore, StillClock

from matrixe2ee import Account, E2eeError, OutboundMegolmSession, Store, raw

HELLO = {"msgtype": "m.text", "body": "Hello"}

# Python can tell nobody that the callback failed, and says so on stderr.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.fixture
def interrupt_at():
    """Raises KeyboardInterrupt once before the first line of a callback of the generated module."""

    def interrupt(name):
        def profile(frame, event, _argument):
            code = frame.f_code
            if event == "call" and code.co_name == name and code.co_filename == raw.__file__:
                sys.setprofile(None)
                raise KeyboardInterrupt

        sys.setprofile(profile)

    yield interrupt
    sys.setprofile(None)


def test_a_commit_that_ctrl_c_has_prevented_is_no_success(interrupt_at):
    backend = DictStore()
    with Store.foreign(backend, KEY) as store:
        account = Account.open(store, "@alice:example.org", "PHONE")
        session = OutboundMegolmSession.create(account, ROOM)
        before = dict(backend.records)
        interrupt_at("commit")
        with pytest.raises(E2eeError.StoreIo, match="interrupted"):
            session.encrypt("m.room.message", HELLO)
        assert backend.records == before
        session.encrypt("m.room.message", HELLO)
        assert backend.records != before


def test_a_record_that_ctrl_c_has_prevented_from_being_read_is_not_missing(interrupt_at):
    backend = DictStore()
    Store.foreign(backend, KEY).shut_down()
    interrupt_at("get")
    with pytest.raises(E2eeError.StoreIo):
        Store.foreign(backend, KEY)
    Store.foreign(backend, KEY)


def test_a_time_that_ctrl_c_has_prevented_from_being_told_is_not_zero(interrupt_at):
    with Store.in_memory(KEY) as store:
        store.set_clock(StillClock())
        account = Account.open(store, "@alice:example.org", "PHONE")
        interrupt_at("now_ms")
        with pytest.raises(E2eeError.ClockFailed):
            OutboundMegolmSession.create(account, ROOM)
        OutboundMegolmSession.create(account, ROOM)

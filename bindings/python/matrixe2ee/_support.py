"""What all handles have in common."""

from __future__ import annotations

from types import TracebackType
from typing import Any, Callable, Generic, Optional, Type, TypeVar, Union

from . import raw

Raw = TypeVar("Raw")
Self = TypeVar("Self", bound="Handle[Any]")

# The sentence, and not the generated list of fields: for people who read a traceback.
raw.E2eeError.__str__ = lambda error: str(error.detail)  # type: ignore


def _refuse_copy(handle: object, protocol: object) -> Any:
    """For copy and pickle: a second object with the same number would free it a second time."""
    raise TypeError(f"{type(handle).__name__} is an open object: it cannot be copied or pickled")


for _kind in (
    raw.Store, raw.Account, raw.OlmChannel, raw.OutboundMegolmSession, raw.InboundMegolmSession,
    raw.StoreBackendImpl, raw.StoreOpenerImpl, raw.ClockImpl,
):
    _kind.__reduce_ex__ = _refuse_copy  # type: ignore


class Handle(Generic[Raw]):
    """An open object of the library. `with` releases it at its end; so does Python, when nobody uses
    it any more. A handle may be used from any thread."""

    __slots__ = ("_raw", "__weakref__")
    _raw: Optional[Raw]

    def __init__(self) -> None:
        raise TypeError(f"{type(self).__name__} is made by one of its class methods")

    @classmethod
    def _of(cls: Type[Self], handle: Any) -> Self:
        new = cls.__new__(cls)
        new._raw = handle
        return new

    def _live(self) -> Raw:
        handle = self._raw
        if handle is None:
            error: Any = raw.E2eeError
            raise error.StaleHandle("the handle was released")
        return handle

    __reduce_ex__ = _refuse_copy

    def release(self) -> None:
        """Lets go of the object: this handle answers STALE_HANDLE from now on. Other handles on the
        same object stay as they are. A second call does nothing."""
        self._raw = None

    def __enter__(self: Self) -> Self:
        self._live()
        return self

    def __exit__(
        self,
        kind: Optional[Type[BaseException]],
        error: Optional[BaseException],
        trace: Optional[TracebackType],
    ) -> None:
        self.release()

    def __repr__(self) -> str:
        return f"<matrixe2ee.{type(self).__name__}{'' if self._raw is not None else ' (released)'}>"


def live(handle: Handle[Raw]) -> Raw:
    """A handle that is an argument."""
    if not isinstance(handle, Handle):
        raise TypeError(f"an object of matrixe2ee is required, not {type(handle).__name__!r}")
    return handle._live()


class StoreHandle(Handle[raw.Store]):
    """`with` shuts the store down at its end."""

    __slots__ = ()

    def __exit__(
        self,
        kind: Optional[Type[BaseException]],
        error: Optional[BaseException],
        trace: Optional[TracebackType],
    ) -> None:
        if self._raw is not None:
            self._raw.shut_down()


class _Opener(raw.StoreOpener):
    def __init__(self, open: Callable[[], raw.StoreBackend]) -> None:
        self._open = open

    def open(self) -> raw.StoreBackend:
        return self._open()


def as_opener(opener: Union[raw.StoreOpener, Callable[[], raw.StoreBackend]]) -> raw.StoreOpener:
    if isinstance(opener, raw.StoreOpener):
        return opener
    if not callable(opener):
        raise TypeError(f"a StoreOpener or a callable is required, not {type(opener).__name__!r}")
    return _Opener(opener)

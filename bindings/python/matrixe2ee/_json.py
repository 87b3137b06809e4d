"""JSON, as the package takes it and gives it."""

from __future__ import annotations

import json
import math
from typing import Any, Dict, FrozenSet, List, Mapping, Sequence, Union

from . import raw

JsonObject = Dict[str, Any]
JsonList = List[Any]
# An object or list of Python's, or its JSON text.
JsonObjectLike = Union[str, Mapping[str, Any]]
JsonListLike = Union[str, Sequence[Any]]

# Made once: json.dumps and json.loads look for options at each call.
_decode = json.JSONDecoder().decode
_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode

# More than the library reads: it refuses what is nested that deeply, or only the part that is.
_DEPTH = 100
# What json.loads has read as infinite.
_TOO_LARGE = "1e400"


def to_json(value: Any) -> str:
    """Text stays as it is. What json.loads has read goes in, whatever it is, so that the library judges it
    and one bad item of a list is that item's error. TypeError: what no JSON can have become."""
    if isinstance(value, str):
        text = value
    else:
        try:
            text = _encode(value)
        except (TypeError, ValueError, RecursionError):
            try:
                text = _careful(value, frozenset())
            except RecursionError:
                error: Any = raw.E2eeError
                raise error.InvalidJson("a value is nested too deeply to be written as JSON") from None
    try:
        if not text.isascii():
            text.encode()
    except UnicodeEncodeError:
        # Half of a surrogate pair: JSON has an escape for it, though no text has it.
        text = text.encode("utf-8", "backslashreplace").decode()
    return text


def _careful(value: Any, outer: FrozenSet[int]) -> str:
    """As `_encode`, for what that refuses. `outer` are the lists and objects around the value."""
    if isinstance(value, float) and not math.isfinite(value):
        return _TOO_LARGE
    if value is None or isinstance(value, (str, bool, int, float)):
        try:
            return _encode(value)
        except ValueError:  # more digits than Python writes
            return _TOO_LARGE
    if id(value) in outer:
        raise ValueError("a value that holds itself cannot be written as JSON")
    if len(outer) >= _DEPTH:
        return "null"
    inner = outer | {id(value)}
    if isinstance(value, Mapping):
        # `{"name":0}` without its end
        members = [f"{_encode({key: 0})[1:-2]}{_careful(value[key], inner)}" for key in value]
        return "{" + ",".join(members) + "}"
    if isinstance(value, Sequence) and not isinstance(value, (bytes, bytearray, memoryview)):
        return "[" + ",".join([_careful(item, inner) for item in value]) + "]"
    raise TypeError(f"JSON has no {type(value).__name__}")


def to_object(text: str) -> JsonObject:
    value: JsonObject = _decode(text)
    return value


def to_list(text: str) -> JsonList:
    value: JsonList = _decode(text)
    return value

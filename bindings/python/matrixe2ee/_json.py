"""JSON, as the package takes it and gives it."""

from __future__ import annotations

import json
from typing import Any, Dict, List, Mapping, Sequence, Union

JsonObject = Dict[str, Any]
JsonList = List[Any]
# An object or list of Python's, or its JSON text.
JsonObjectLike = Union[str, Mapping[str, Any]]
JsonListLike = Union[str, Sequence[Any]]

# Made once: json.dumps and json.loads look for options at each call.
_decode = json.JSONDecoder().decode
_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode


def to_json(value: Any) -> str:
    """Text stays as it is."""
    return value if isinstance(value, str) else _encode(value)


def to_object(text: str) -> JsonObject:
    value: JsonObject = _decode(text)
    return value


def to_list(text: str) -> JsonList:
    value: JsonList = _decode(text)
    return value

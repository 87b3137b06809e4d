"""JSON, as the package takes it and gives it."""

from __future__ import annotations

import json
from typing import Any, Dict, List, Mapping, Sequence, Union

JsonObject = Dict[str, Any]
JsonList = List[Any]
# An object or list of Python's, or its JSON text.
JsonObjectLike = Union[str, Mapping[str, Any]]
JsonListLike = Union[str, Sequence[Any]]

_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode


def to_json(value: Any) -> str:
    """Text stays as it is."""
    return value if isinstance(value, str) else _encode(value)


def to_object(text: str) -> JsonObject:
    value: JsonObject = json.loads(text)
    return value


def to_list(text: str) -> JsonList:
    value: JsonList = json.loads(text)
    return value

"""Stands in for the package `matrixe2ee` until it is there: the generated module, with Python's objects
in and out. test_postgres.sh puts that module beside it as raw.py."""

import functools
import json

from . import raw
from .raw import *  # noqa: F403
from .raw import E2eeError as E2eeError  # not in the module's list


def _text(value):
    return json.dumps(value) if isinstance(value, (dict, list)) else value


def _objects(method):
    @functools.wraps(method)
    def call(*arguments):
        answer = method(*map(_text, arguments))
        is_json = isinstance(answer, str) and answer[:1] in "{["
        return json.loads(answer) if is_json else answer

    return call


for _class in (raw.Account, raw.OlmChannel, raw.OutboundMegolmSession, raw.InboundMegolmSession):
    for _name, _method in list(vars(_class).items()):
        if isinstance(_method, classmethod):
            if not _name.startswith("_"):
                setattr(_class, _name, classmethod(_objects(_method.__func__)))
        elif not _name.startswith("_"):
            setattr(_class, _name, _objects(_method))
raw.Store.__enter__ = lambda store: store
raw.Store.__exit__ = lambda store, *_: store.shut_down()
canonical_json = _objects(raw.canonical_json)

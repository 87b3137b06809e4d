#!/usr/bin/env python3
"""Writes the typed half of the package: `facade.py GENERATED_MODULE _handles.py`.

The generated module takes and gives JSON as text. The package takes Python objects or text, and gives
Python objects. Signatures and docstrings are the generated module's, so that each sentence stands
once, in the library's source; the tables below say what is JSON.
"""

import ast
import pathlib
import sys
import textwrap

HANDLES = ["Store", "Account", "OlmChannel", "OutboundMegolmSession", "InboundMegolmSession"]
FUNCTIONS = ["keys_claim_request", "read_keys_claim_response", "verify_signed_json", "canonical_json",
             "version", "broken_store_rules"]

# What goes in, by the argument's name, or by method and name. The rest is plain.
OBJECT, LIST, ANY = "JsonObjectLike", "JsonListLike", "Any"
ARGUMENTS = {
    "recipient_device_keys": OBJECT, "recipient_one_time_key": OBJECT, "one_time_key": OBJECT,
    "device_keys": OBJECT, "content": OBJECT, "event": OBJECT, "events": LIST, "items": LIST,
    "settings": OBJECT, "recipients": OBJECT, "body": OBJECT, "one_time_counts": OBJECT,
    "unused_fallback_types": LIST, "object": OBJECT, "room_key_content": OBJECT,
    "session_data": OBJECT, "request": OBJECT, "response": OBJECT, "pickles": LIST, "sessions": LIST,
    "value": ANY, "devices": LIST, "keys_claim_request.devices": OBJECT,
}
# What comes out as JSON. The rest is plain.
RESULTS = {
    "Store": {"problems": "JsonList"},
    "Account": {
        "device_keys": "JsonObject", "keys_upload_request": "Optional[JsonObject]",
        "sign_json": "JsonObject", "encrypt_for_devices": "JsonList",
        "decrypt_room_events": "JsonList", "list_sessions": "JsonList", "list_channels": "JsonList",
        "import_libolm_sessions": "JsonObject", "import_sessions": "JsonObject",
    },
    "OlmChannel": {
        "first_event": "JsonObject", "encrypt": "JsonObject", "decrypt": "JsonObject",
        "partner": "JsonObject",
    },
    "OutboundMegolmSession": {"get_session_key_for_sending": "JsonList", "encrypt": "JsonObject"},
    "InboundMegolmSession": {
        "decrypt": "JsonObject", "decrypt_many": "JsonList", "export_at": "JsonObject",
    },
    "": {"keys_claim_request": "JsonObject", "read_keys_claim_response": "JsonObject"},
}
# Arguments that Python has a richer type for.
OTHER_ARGUMENTS = {
    "path": ("Union[str, os.PathLike[str]]", "os.fspath({})"),
    "opener": ("Union[StoreOpener, Callable[[], StoreBackend]]", "as_opener({})"),
}

HEAD = '''"""Made by facade.py from the generated module. The objects and functions of the package."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Callable, ClassVar, List, Optional, Type, Union

from . import raw
from ._json import JsonList, JsonListLike, JsonObject, JsonObjectLike, to_json, to_list, to_object
from ._support import Handle, StoreHandle, as_opener, live
from .raw import Clock, StoreBackend, StoreOpener

'''


def docstring(node, indent):
    text = ast.get_docstring(node) or ""
    lines = text.splitlines() or [""]
    body = "\n".join([lines[0], *[(indent + line).rstrip() for line in lines[1:]]])
    quotes = '"""' if "\n" not in body else f'\n{indent}"""'
    return f'{indent}"""{body}{quotes}\n'


def is_optional(annotation):
    return "_DEFAULT" in annotation


class Argument:
    def __init__(self, function, node, has_default):
        self.name = node.arg
        plain = ast.unparse(node.annotation).replace("typing.", "")
        kind = ARGUMENTS.get(f"{function}.{self.name}", ARGUMENTS.get(self.name))
        self.has_default = has_default
        self.convert = "{}"
        if self.name in OTHER_ARGUMENTS:
            self.type, self.convert = OTHER_ARGUMENTS[self.name]
        elif kind:
            self.type = kind
            self.convert = "None if {0} is None else to_json({0})" if has_default else "to_json({})"
        elif plain in HANDLES:
            self.type, self.convert = plain, "live({})"
        elif has_default:
            # Union[object, Optional[str]]
            self.type = plain.split("Optional[")[1].rstrip("]")
        else:
            self.type = plain
        if has_default:
            self.type = f"Optional[{self.type}]"

    def declare(self):
        return f"{self.name}: {self.type}" + (" = None" if self.has_default else "")

    def pass_on(self):
        return self.convert.format(self.name)


def arguments_of(function):
    nodes = [node for node in function.args.args if node.arg not in ("self", "cls")]
    first_default = len(nodes) - len(function.args.defaults)
    return [Argument(function.name, node, at >= first_default) for at, node in enumerate(nodes)]


def call_of(owner, function, target):
    """The signature's arguments, its result, and the body's lines."""
    arguments = arguments_of(function)
    result = RESULTS.get(owner, {}).get(function.name)
    plain = ast.unparse(function.returns).replace("typing.", "") if function.returns else "None"
    call = f"{target}({', '.join(argument.pass_on() for argument in arguments)})"
    declared = ", ".join(argument.declare() for argument in arguments)
    if plain in HANDLES:
        return declared, plain, f"return cls._of({call})"
    if result is None:
        return declared, plain, call if plain == "None" else f"return {call}"
    if result.startswith("Optional"):
        return declared, result, f"text = {call}\n        return None if text is None else to_object(text)"
    read = {"JsonObject": "to_object", "JsonList": "to_list"}[result]
    return declared, result, f"return {read}({call})"


def method(owner, function):
    indent = "    "
    is_constructor = any(ast.unparse(d) == "classmethod" for d in function.decorator_list)
    first, target = ("cls", f"raw.{owner}.{function.name}") if is_constructor else (
        "self", f"self._live().{function.name}")
    declared, result, body = call_of(owner, function, target)
    head = f"{indent}@classmethod\n" if is_constructor else ""
    separator = ", " if declared else ""
    return (f"{head}{indent}def {function.name}({first}{separator}{declared}) -> {result}:\n"
            f"{docstring(function, indent * 2)}{indent * 2}{body}\n")


def handle(node):
    base = "StoreHandle" if node.name == "Store" else f"Handle[raw.{node.name}]"
    methods = [method(node.name, item) for item in node.body
               if isinstance(item, ast.FunctionDef) and not item.name.startswith("_")]
    return f"class {node.name}({base}):\n{docstring(node, '    ')}\n" + "\n".join(methods)


def free_function(function):
    declared, result, body = call_of("", function, f"raw.{function.name}")
    body = body.replace("\n        ", "\n    ")
    return f"def {function.name}({declared}) -> {result}:\n{docstring(function, '    ')}    {body}\n"


PLAIN = {"String": "str", "UInt32": "int", "UInt64": "int", "Int64": "int", "Bool": "bool",
         "OptionalString": "Optional[str]", "OptionalUInt32": "Optional[int]"}


def error_fields(module):
    """{error: types of its fields}, from the code that reads them."""
    converter = next(node for node in module.body if isinstance(node, ast.ClassDef)
                     and node.name == "_UniffiFfiConverterTypeE2eeError")
    fields = {}
    for call in ast.walk(converter):
        if isinstance(call, ast.Call) and ast.unparse(call.func).startswith("E2eeError."):
            readers = [ast.unparse(argument.func) for argument in call.args]
            fields[ast.unparse(call.func).split(".")[1]] = [
                PLAIN[reader.split("FfiConverter")[1].split(".")[0]] for reader in readers]
    return fields


def errors(module):
    """What type checkers see: the generator makes these classes in a way that they cannot follow."""
    types = error_fields(module)
    base, variants = [node for node in module.body
                      if isinstance(node, ast.ClassDef) and node.name == "E2eeError"]
    seen = []
    names = []
    for variant in variants.body:
        if not isinstance(variant, ast.ClassDef):
            continue
        init = next(item for item in variant.body
                    if isinstance(item, ast.FunctionDef) and item.name == "__init__")
        parameters = [argument.arg for argument in init.args.args[1:]]
        declared = [f"{name}: {kind}" for name, kind in zip(parameters, types[variant.name])]
        fields = "".join(f"        {field}\n" for field in declared)
        seen.append(f"    class _{variant.name}(E2eeError):\n{docstring(variant, ' ' * 8)}{fields}"
                    f"        def __init__(self, {', '.join(declared)}) -> None: ...\n")
        names.append(f"        {variant.name}: ClassVar[Type[_{variant.name}]]\n")
    return (
        "if TYPE_CHECKING:\n"
        f"    class E2eeError(Exception):\n{docstring(base, ' ' * 8)}        detail: str\n"
        "        def code(self) -> int: ...\n        def name(self) -> str: ...\n"
        "        def json(self) -> str: ...\n"
        f"{''.join(names)}\n" + "\n".join(seen) + "else:\n    E2eeError = raw.E2eeError\n"
    )


def main():
    module = ast.parse(pathlib.Path(sys.argv[1]).read_text())
    classes = {node.name: node for node in module.body if isinstance(node, ast.ClassDef)}
    functions = {node.name: node for node in module.body if isinstance(node, ast.FunctionDef)}
    public = {name for name in functions if not name.startswith("_")}
    public.remove("confirm_callback")  # for the generated module itself
    if public != set(FUNCTIONS):
        sys.exit(f"facade.py does not know these functions: {public ^ set(FUNCTIONS)}")
    parts = [errors(module)]
    parts += [handle(classes[name]) for name in HANDLES]
    parts += [free_function(functions[name]) for name in FUNCTIONS]
    pathlib.Path(sys.argv[2]).write_text(HEAD + "\n\n".join(parts))


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""Checks that nothing is missing in the generated code: each object, method and function of the C ABI
(tests/symbols.txt) and each error of the header has its counterpart in Kotlin, Swift and Python."""

import ast
import pathlib
import re
import sys

root = pathlib.Path(__file__).parent.parent
generated = root / "bindings" / "generated"
OBJECTS = ["store", "account", "olm_channel", "outbound_megolm_session", "inbound_megolm_session"]
# What only C has: releasing, error objects, and what is a constant elsewhere.
ONLY_C = re.compile(r"_free$|^error_|^status_name$|^abi_version$|^wipe$")


def pascal(name):
    return "".join(part.capitalize() for part in name.lower().split("_"))


def camel(name):
    return name[0] + pascal(name)[1:]


surface = {}  # object ("" for free functions) -> names
for symbol in (root / "tests" / "symbols.txt").read_text().split():
    name = symbol.removeprefix("matrixe2ee_")
    if ONLY_C.search(name):
        continue
    owner = next((o for o in OBJECTS if name.startswith(o + "_")), "")
    surface.setdefault(owner, []).append(name.removeprefix(owner + "_"))
header = (root / "include" / "matrixe2ee.h").read_text()
errors = [pascal(e) for e in re.findall(r"MATRIXE2EE_STATUS_(\w+) = [1-9]", header)]


def python_names(code):
    """{class: names}, with the functions of the module under ""."""
    names = {}

    def walk(node, owner):
        for item in node.body:
            if isinstance(item, (ast.FunctionDef, ast.ClassDef)):
                names.setdefault(owner, set()).add(item.name)
            if isinstance(item, ast.ClassDef):
                walk(item, item.name)

    walk(ast.parse(code), "")
    return names


def sliced_names(code, start, name):
    """The same by the beginnings of classes: each ends where the next begins."""
    names = {"": set(re.findall(name, code))}
    for part in re.split(start, code)[1:]:
        owner = re.match(r"\w+", part).group()
        names.setdefault(owner, set()).update(re.findall(name, part))
    return names


kotlin = sliced_names(
    (generated / "kotlin/org/matrixe2ee/matrixe2ee.kt").read_text(),
    r"\n(?:public interface|open class|sealed class) ",
    r"\b(?:fun|class) `?(\w+)`? ?\(",
)
swift = sliced_names(
    (generated / "swift/MatrixE2ee.swift").read_text(),
    r"\n(?:public protocol|open class|public enum|public\s+enum|enum) ",
    r"\b(?:(?:func|case) `?(?=\w+`?\()|struct )(\w+)",
)
python = python_names((generated / "python/matrixe2ee.py").read_text())

missing = []
checked = 0
for language, names, error_class, cased in [
    ("Kotlin", kotlin, "E2eeException", camel),
    ("Swift", swift, "E2eeError", camel),
    ("Python", python, "E2eeError", str),
]:
    wanted = [(pascal(o) if o else "", cased(m)) for o, methods in surface.items() for m in methods]
    wanted += [(error_class, error) for error in errors]
    wanted += [("Clock", cased("now_ms"))]
    wanted += [("StoreBackend", method) for method in ["get", "scan", "commit"]]
    wanted += [("", record) for record in ["StoreEntry", "StoreChange"]]
    for owner, name in wanted:
        checked += 1
        if name not in names.get(owner, ()):
            missing.append(f"{language}: {owner or 'the module'} has no {name}")

print(*missing, sep="\n", end="\n" if missing else "")
print(f"names: {checked - len(missing)} passed, {len(missing)} failed")
sys.exit(bool(missing))

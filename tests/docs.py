#!/usr/bin/env python3
"""Checks README.md, the other pages beside it and docs/: the table of errors is the header's, the JSON
blocks are JSON, and the files, targets of make and tests that are named exist."""

import json
import pathlib
import re
import sys

root = pathlib.Path(__file__).parent.parent
wrong = []

header = (root / "include" / "matrixe2ee.h").read_text()
errors = set(re.findall(r"MATRIXE2EE_STATUS_(\w+) = ([1-9]\d*),", header))
table = re.findall(r"^\| (\d+) \| `(\w+)` \|", (root / "docs" / "json.md").read_text(), re.M)
for name, code in errors ^ {(name, code) for code, name in table}:
    wrong.append(f"docs/json.md: {code} {name} stands in the table or in the header only")

pages = [*root.glob("*.md"), *(root / "docs").glob("*.md")]
targets = set(re.findall(r"^([a-z][a-z-]*):", (root / "Makefile").read_text(), re.M))
folders = "benches|bindings|docs|examples|fuzz|include|packaging|src|tests|tools"
# What a build makes.
MADE = re.compile(r"bindings/(generated|python/dist|kotlin/target|kotlin/android/target)")
for page in pages:
    text = page.read_text()
    for block in re.findall(r"^```json\n(.*?)^```", text, re.M | re.S):
        try:
            json.loads(block)
        except ValueError as problem:
            wrong.append(f"{page.name}: {problem}: {block}")
    for link in re.findall(r"\]\(([^)#:]+)\)", text):
        if not (page.parent / link).exists():
            wrong.append(f"{page.name}: {link} does not exist")
    # In code, not in sentences.
    code = re.findall(r"`([^`\n]+)`", text) + re.findall(r"^    \S.*$", text, re.M)
    for line in code:
        for path in re.findall(rf"(?<![\w/.-])(?:{folders})/[\w./-]*", line):
            if not MADE.match(path) and not (root / path.rstrip(".")).exists():
                wrong.append(f"{page.name}: {path} does not exist")
        for target in re.findall(r"\bmake ([a-z][a-z-]*)", line):
            if target not in targets:
                wrong.append(f"{page.name}: make {target} does not exist")
        for test in re.findall(r"--test (\w+)", line):
            if not (root / "tests" / f"{test}.rs").exists():
                wrong.append(f"{page.name}: tests/{test}.rs does not exist")

print(*wrong, sep="\n", end="\n" if wrong else "")
sys.exit(bool(wrong))

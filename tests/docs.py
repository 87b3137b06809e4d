#!/usr/bin/env python3
"""Checks README.md and docs/: the table of errors is the header's, the JSON blocks are JSON, and the
files that are linked to exist."""

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

pages = [root / "README.md", *(root / "docs").glob("*.md")]
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

print(*wrong, sep="\n", end="\n" if wrong else "")
sys.exit(bool(wrong))

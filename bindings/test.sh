#!/bin/sh
# Checks what bindings/generate.sh has made: nothing is missing, and the Python bindings work.
set -eu
cd "$(dirname "$0")/.."
python3 bindings/check.py
python3 -m py_compile bindings/generated/python/matrixe2ee.py
PYTHONPATH=bindings/generated/python python3 bindings/python/smoke.py

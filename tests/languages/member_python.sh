#!/bin/sh
# Starts member.py with the wheel (bindings/python/environment.sh).
set -eu
root=$(cd "$(dirname "$0")/../.." && pwd)
exec "$root/.cache/python/venv/bin/python" "$root/tests/languages/member.py" "$@"

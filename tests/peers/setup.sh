#!/bin/sh
# Makes the environment of tests/peers.rs in .cache/peers (or $1): a Python with vodozemac from
# PyPI, and one with libolm (Debian's python3-olm, installed by root).
# What cannot be had is SKIPPED; with CI=true it is an error.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
folder=${1:-$here/../../.cache/peers}
mkdir -p "$folder"
folder=$(cd "$folder" && pwd)

skip() {
    echo "SKIPPED: $1" >&2
    [ "${CI:-}" != true ] || exit 1
}

vodozemac() {
    "$folder/venv/bin/python" -c 'import vodozemac' 2>/dev/null \
        && cmp -s "$here/requirements.txt" "$folder/requirements.txt"
}

if ! vodozemac; then
    rm -rf "$folder/venv"
    if python3 -m venv "$folder/venv" \
        && "$folder/venv/bin/pip" install --quiet --disable-pip-version-check --no-deps \
            --only-binary :all: -r "$here/requirements.txt"; then
        cp "$here/requirements.txt" "$folder/requirements.txt"
    fi
fi
rm -f "$folder/vodozemac-python"
if vodozemac; then
    printf '#!/bin/sh\nexec "%s/venv/bin/python" "$@"\n' "$folder" >"$folder/vodozemac-python"
    chmod +x "$folder/vodozemac-python"
else
    skip "vodozemac could not be installed from PyPI"
fi

rm -f "$folder/libolm-python"
if "$here/../../tools/need.sh" python-olm; then
    printf '#!/bin/sh\nexec /usr/bin/python3 "$@"\n' >"$folder/libolm-python"
    chmod +x "$folder/libolm-python"
else
    skip "python3-olm is not installed and could not be"
fi

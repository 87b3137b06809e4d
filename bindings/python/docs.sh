#!/bin/sh
# docs.sh FOLDER: the API documentation of the Python package as HTML, from the same sentences as all others.
set -eu
root=$(cd "$(dirname "$0")/../.." && pwd)
venv=$root/.cache/python/venv
"$root/bindings/python/environment.sh"
"$venv/bin/pdoc" ] || { echo "docs.sh needs the environment of test.sh"; exit 1; }
"$venv/bin/pip" install --quiet --disable-pip-version-check --no-index --force-reinstall "$root"/bindings/python/dist/*.whl
"$venv/bin/pdoc" --docformat markdown -o "$1" matrixe2ee

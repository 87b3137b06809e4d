#!/bin/sh
# docs.sh FOLDER: the API documentation of the Python package as HTML, from the same sentences as all
# others. After build.sh.
set -eu
folder=$(cd "$1" && pwd)
cd "$(dirname "$0")"
./environment.sh
../../.cache/python/venv/bin/pdoc --docformat markdown -o "$folder" matrixe2ee

#!/bin/sh
# Tests examples/python/postgres_store.py with a PostgreSQL server of its own, which it starts and stops.
# test_postgres.sh WHEEL: with that wheel of the library, in the environment .cache/postgres.
# What cannot be had is SKIPPED; with CI=true it is an error.
set -eu
cd "$(dirname "$0")/../.."
python=.cache/postgres/bin/python
wanted=bindings/python/requirements-postgres.txt

skip() {
    echo "SKIPPED: postgres ($1)"
    [ "${CI:-}" != true ] || exit 1
    exit 0
}

tools/need.sh python3 venv postgresql || skip "no server"
if ! cmp -s "$wanted" .cache/postgres/requirements.txt; then
    rm -rf .cache/postgres
    python3 -m venv .cache/postgres
    .cache/postgres/bin/pip install --quiet --disable-pip-version-check --only-binary :all: -r "$wanted" ||
        skip "psycopg could not be installed from PyPI"
    cp "$wanted" .cache/postgres/requirements.txt
fi

$python -m pip install --quiet --disable-pip-version-check --no-deps --no-index --force-reinstall "$1"
PYTHONPATH=examples/python $python -m pytest -q -p no:cacheprovider bindings/python/tests/test_postgres_store.py

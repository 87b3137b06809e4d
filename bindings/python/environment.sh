#!/bin/sh
# Makes the environment .cache/python/venv: what tests need, and the wheel that build.sh has made.
set -eu
cd "$(dirname "$0")"
venv=../../.cache/python/venv
if ! cmp -s requirements-test.txt $venv/requirements.txt; then
    rm -rf $venv
    python3 -m venv $venv
    $venv/bin/pip install --quiet --disable-pip-version-check -r requirements-test.txt
    cp requirements-test.txt $venv/requirements.txt
fi
sum=$(cat dist/*.whl | sha256sum)
if [ "$sum" != "$(cat $venv/wheel 2> /dev/null)" ]; then
    $venv/bin/pip install --quiet --disable-pip-version-check --no-index --force-reinstall dist/*.whl
    echo "$sum" > $venv/wheel
fi

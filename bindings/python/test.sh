#!/bin/sh
# Tests the wheel that build.sh has made: installed into an empty environment as a user does it, its types,
# its behaviour (tests/), the README's program, the example, and a store in a database.
set -eu
cd "$(dirname "$0")/../.."
here=bindings/python
wheel=$(echo "$PWD"/$here/dist/*.whl)
cache=$PWD/.cache/python
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
unset PYTHONPATH

python3 -m venv "$work/empty"
"$work/empty/bin/pip" install --quiet --disable-pip-version-check --no-index "$wheel"
tools/readme_program.sh python > "$work/first.py"
(cd "$work" && empty/bin/python -X dev -W error first.py > first)
grep -q one_time_keys "$work/first"
grep -q ciphertext "$work/first"
echo "ok      the Python program of the README, in an empty environment"

rm "$work"/empty/lib/python*/site-packages/matrixe2ee/*.so
! "$work/empty/bin/python" -c 'import matrixe2ee' 2> "$work/said"
grep -q 'ImportError: the library of this package cannot be loaded: .*libmatrixe2ee_uniffi' "$work/said"
echo "ok      a package without its library says so"

$here/environment.sh
python="$cache/venv/bin/python"

export MYPYPATH=examples/python
$python -m mypy --strict --no-error-summary --cache-dir "$cache/mypy" "$work/first.py" examples/python/device.py \
    examples/python/homeserver.py examples/python/alice_and_bob.py tests/languages/member.py $here/tests/typed_program.py
# raw is the generator's.
(cd $here && $python -m mypy --strict --no-error-summary --follow-imports=silent --cache-dir "$cache/mypy" \
    matrixe2ee/_*.py)
echo "ok      mypy --strict, of programs on the package and of the package"

PYTHONPATH=examples/python $python -X dev -m pytest -q -p no:cacheprovider $here/tests --ignore $here/tests/test_postgres_store.py
$python -X dev -W error examples/python/alice_and_bob.py > "$work/story"
tail -1 "$work/story" | grep -qx 'All is as it should be.'
echo "ok      examples/python"

$here/test_postgres.sh "$wheel"

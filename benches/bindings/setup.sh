#!/bin/sh
# Prepares the programs of benches/bindings: in .cache/bench (or $1) a script that starts each. After
# `make wheel jar`. What cannot be had is SKIPPED, and its column stays empty.
set -eu
root=$(cd "$(dirname "$0")/../.." && pwd)
folder=${1:-$root/.cache/bench}
here=$root/benches/bindings
mkdir -p "$folder"
folder=$(cd "$folder" && pwd)
cd "$root"
rm -f "$folder/ours" "$folder/pypi_vodozemac" "$folder/kotlin"

# script NAME COMMAND...: a script that runs this command with its own arguments behind it.
script() {
    name=$1
    shift
    { echo '#!/bin/sh'; printf 'exec env '; printf "'%s' " "$@"; echo '"$@"'; } > "$folder/$name"
    chmod +x "$folder/$name"
}

python=$folder/venv/bin/python
wanted=tests/peers/requirements.txt
if tools/need.sh python3 venv && { cmp -s $wanted "$folder/requirements.txt" ||
    { rm -rf "$folder/venv" && python3 -m venv "$folder/venv" &&
      "$python" -m pip install -q --disable-pip-version-check --no-deps --only-binary :all: -r $wanted &&
      cp $wanted "$folder/requirements.txt"; }; }; then
    script pypi_vodozemac "PYTHONPATH=$here/python" "$python" "$here/python/pypi_vodozemac.py"
else
    echo "SKIPPED: vodozemac could not be installed from PyPI"
fi

# shellcheck disable=SC2012  # no odd names
wheel=$(ls -t bindings/python/dist/*.whl target/wheels/*.whl 2>/dev/null | head -1)
if [ -x "$python" ] && [ -n "$wheel" ] &&
    "$python" -m pip install -q --disable-pip-version-check --no-deps --force-reinstall "$wheel"; then
    script ours "PYTHONPATH=$here/python" "$python" "$here/python/ours.py"
else
    echo "SKIPPED: the benchmark in Python (there is no wheel)"
fi

if [ -x bindings/kotlin/maven.sh ] &&
    bindings/kotlin/maven.sh -f "$here/kotlin/pom.xml" -Dbuild.folder="$folder/kotlin-classes" package; then
    script kotlin java -cp "$folder/kotlin-classes/classes:$folder/kotlin-classes/lib/*" BenchKt
else
    echo "SKIPPED: the benchmark in Kotlin (there is no jar, or it could not be compiled)"
fi

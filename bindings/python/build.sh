#!/bin/sh
# Makes the wheel for Python in bindings/python/dist from bindings/generated (`make bindings`).
# maturin builds it, with the library and the generator that generate.sh has built. Then the library in
# it is stripped, and the generated module is the adapted one, under the name of raw.
set -eu
cd "$(dirname "$0")"
root=$(cd ../.. && pwd)
generated=$root/bindings/generated
tools=$root/.cache/python/tools
"$root/tools/need.sh" python3 venv

if ! cmp -s requirements-build.txt "$tools/requirements.txt"; then
    rm -rf "$tools"
    python3 -m venv "$tools"
    "$tools/bin/pip" install --quiet --disable-pip-version-check -r requirements-build.txt
    cp requirements-build.txt "$tools/requirements.txt"
fi

cp "$generated/python/matrixe2ee.py" matrixe2ee/raw.py
python3 facade.py matrixe2ee/raw.py matrixe2ee/_handles.py

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
target=${BINDINGS_TARGET_DIR:-$root/target/bindings}
# Under the name that maturin knows.
mkdir "$work/bin"
ln -s "$target/debug/bindings-generator" "$work/bin/uniffi-bindgen"
PATH="$work/bin:$PATH" CARGO_TARGET_DIR=$target \
    "$tools/bin/maturin" build --quiet --release --out "$work/built" > "$work/log" 2>&1 \
    || { cat "$work/log"; exit 1; }
"$tools/bin/python" -m wheel unpack --dest "$work" "$work"/built/*.whl > "$work/log"
package=$(echo "$work"/matrixe2ee-*/)
rm -r "$package/matrixe2ee/matrixe2ee"
cp "$generated/library/libmatrixe2ee_uniffi.so" "$package/matrixe2ee/"
rm -rf dist
mkdir dist
"$tools/bin/python" -m wheel pack --dest-dir dist "$package" > "$work/log"
for wheel in dist/*.whl; do echo "bindings/python/$wheel: $(wc -c < "$wheel") bytes"; done

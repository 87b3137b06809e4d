#!/bin/sh
# Makes bindings/generated: in library/ the shared library with the bindings' symbols and without
# those of C, as the packages carry it, and the Kotlin, Swift and Python code for it. The library is
# called libmatrixe2ee_uniffi.so, so that nothing takes the one for C for it. The names are set in
# uniffi.toml; adapt_python.py and adapt_kotlin.py say what is changed in the generator's work.
set -eu
cd "$(dirname "$0")/.."
target=${BINDINGS_TARGET_DIR:-target/bindings}
generated=bindings/generated
features='--no-default-features --features uniffi,bundled-sqlite'

# As `make lib`: `cargo build` would leave out link-time optimisation.
# shellcheck disable=SC2086  # a list
cargo rustc --locked --release --lib --crate-type cdylib $features --target-dir "$target"

bindgen() {
    cargo run --quiet --locked --package bindings-generator --target-dir "$target" -- "$@"
}

rm -rf "$generated"
mkdir -p "$generated/library"
for language in kotlin swift python; do
    bindgen generate "$target/release/libmatrixe2ee.so" \
        --language $language --out-dir "$generated/$language" --no-format
done
# uniffi 0.32.2 writes a method's name `open` as Swift writes keywords: in the C header, where that is
# an error, and in a place of the Swift code where it is a warning.
sed -i 's/`open`/open/' "$generated/swift/MatrixE2eeFFI.h"
sed -i 's/^\( *\)`open`: {/\1open: {/' "$generated/swift/MatrixE2ee.swift"
bindings/adapt_python.py "$generated/python/matrixe2ee.py"
bindings/adapt_kotlin.py "$generated/kotlin/org/matrixe2ee/matrixe2ee.kt"
# Only now: the generator reads the symbols that this takes away.
strip -o "$generated/library/libmatrixe2ee_uniffi.so" "$target/release/libmatrixe2ee.so"
cp "$generated/library/libmatrixe2ee_uniffi.so" "$generated/python/"

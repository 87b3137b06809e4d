#!/bin/sh
# Makes bindings/generated: the library with the bindings' symbols, and the Kotlin, Swift and Python
# code for it. The names are set in uniffi.toml.
set -eu
cd "$(dirname "$0")/.."
target=${BINDINGS_TARGET_DIR:-target/bindings}

# A development build, without optimising the dependencies: the generator needs no speed.
run() {
    command=$1
    shift
    cargo "$command" --locked --features uniffi-cli --target-dir "$target" \
        --config 'profile.dev.package."*".opt-level=0' "$@"
}

run build --lib --bin uniffi-bindgen
rm -rf bindings/generated
for language in kotlin swift python; do
    run run --quiet --bin uniffi-bindgen -- generate "$target/debug/libmatrixe2ee.so" \
        --language $language --out-dir bindings/generated/$language --no-format
done
cp "$target/debug/libmatrixe2ee.so" bindings/generated/python/

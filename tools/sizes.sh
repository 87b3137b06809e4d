#!/bin/sh
# sizes.sh: how big each artefact is that has been built, stripped, and compressed with gzip -9:
# after `make lib`, `make wheel`, `make jar`, `make swift-package`, those of them that were made.
set -u
cd "$(dirname "$0")/.." || exit 1
copy=$(mktemp)
trap 'rm -f "$copy"' EXIT

megabytes() { awk -v bytes="$1" 'BEGIN { printf "%.1f MB", bytes / 1e6 }'; }

# row NAME FILE [STRIP...]
row() {
    name=$1
    file=$2
    shift 2
    [ -f "$file" ] || return 0
    cp "$file" "$copy"
    [ $# = 0 ] || "$@" "$copy"
    printf '%-48s %10s %10s\n' "$name" "$(megabytes "$(wc -c < "$copy")")" \
        "$(megabytes "$(gzip -9 -c "$copy" | wc -c)")"
}

printf '%-48s %10s %10s\n' artefact stripped gzip
row "C and C++, shared: libmatrixe2ee.so" target/capi/lib/libmatrixe2ee.so strip
row "C and C++, static: libmatrixe2ee.a" target/capi/lib/libmatrixe2ee.a strip --strip-debug
row "Python, Kotlin, Swift: libmatrixe2ee_uniffi.so" bindings/generated/library/libmatrixe2ee_uniffi.so strip
for file in bindings/python/dist/*.whl; do
    row "Python: $(basename "$file" | cut -c 1-33)" "$file"
done
for file in bindings/kotlin/target/*.jar; do
    case $file in *-sources.jar | *-javadoc.jar) continue ;; esac
    row "Kotlin: $(basename "$file")" "$file"
done
for file in target/swift/*.tar.gz target/swift/*.zip; do
    row "Swift: $(basename "$file")" "$file"
done
for file in target/swift/MatrixE2ee/lib/libmatrixe2ee_uniffi.so*; do
    [ -L "$file" ] || row "Swift: $(basename "$file")" "$file" strip
done

#!/bin/sh
# Makes the Swift package for this machine from bindings/generated (`make bindings`): the folder
# target/swift/MatrixE2ee, and an archive of it. Then compiles it, if there is a Swift toolchain.
set -eu
cd "$(dirname "$0")/../.."
version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
generated=bindings/generated
out=target/swift
package=$out/MatrixE2ee

# Only what has changed, so that only that is compiled again.
put() {
    mkdir -p "$package/$(dirname "$2")"
    cmp -s "$1" "$package/$2" || cp "$1" "$package/$2"
}

mkdir -p "$package"
# What is no longer in bindings/swift goes.
(cd "$package" && find Sources Tests -type f 2> /dev/null || true) | while read -r file; do
    case $file in
        */MatrixE2ee.swift | */MatrixE2eeFFI.h) ;;
        *) [ -e "bindings/swift/$file" ] || rm "$package/$file" ;;
    esac
done
(cd bindings/swift && find Package.swift Sources Tests -type f) | while read -r file; do
    put "bindings/swift/$file" "$file"
done
put "$generated/swift/MatrixE2ee.swift" Sources/MatrixE2ee/MatrixE2ee.swift
put "$generated/swift/MatrixE2eeFFI.h" Sources/MatrixE2eeFFI/include/MatrixE2eeFFI.h
put LICENSE LICENSE
echo "$version" > "$out/VERSION" && put "$out/VERSION" VERSION

# Programs ask for the library under its soname, the linker under its plain name.
soname=$(readelf -d "$generated/library/libmatrixe2ee_uniffi.so" | sed -n 's/.*soname: \[\(.*\)\]/\1/p')
# Of an earlier version.
mkdir -p "$package/lib"
find "$package/lib" -type f ! -name "$soname" -delete
put "$generated/library/libmatrixe2ee_uniffi.so" "lib/$soname"
ln -sf "$soname" "$package/lib/libmatrixe2ee_uniffi.so"

archive=$out/MatrixE2ee-$version-$(uname -s | tr '[:upper:]' '[:lower:]')-$(uname -m).tar.gz
tar -C "$out" --exclude=.build --owner=0 --group=0 --numeric-owner -czf "$archive" MatrixE2ee
echo "$package, $archive: $(wc -c < "$archive") bytes"

tools/swift.sh --install || { [ $? = 3 ] && [ "${CI:-}" != true ] && exit 0; exit 1; }
tools/swift.sh swift build --package-path "$package" --scratch-path "$out/build/package"

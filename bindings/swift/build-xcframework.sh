#!/bin/sh
# Makes the Swift package for iOS (devices and simulator) and macOS, with a static library for each in
# an XCFramework: the folder target/apple/MatrixE2ee and a zip of the XCFramework, with its checksum.
#
# NOT RUN YET: no Mac was there when this was written. Only its syntax, and that of the package's
# manifest, have been checked. The steps are those of other libraries with bindings made by uniffi.
#
# Needs a Mac with Xcode, and Rust from rustup.
set -eu
cd "$(dirname "$0")/../.."
[ "$(uname -s)" = Darwin ] || { echo 'build-xcframework.sh: this needs a Mac' >&2; exit 1; }

out=target/apple
build=$out/build
package=$out/MatrixE2ee
framework=$package/MatrixE2eeFFI.xcframework
features='--no-default-features --features uniffi,bundled-sqlite'
export IPHONEOS_DEPLOYMENT_TARGET=13.0 MACOSX_DEPLOYMENT_TARGET=11.0

targets='aarch64-apple-ios aarch64-apple-ios-sim x86_64-apple-ios aarch64-apple-darwin x86_64-apple-darwin'
# shellcheck disable=SC2086  # lists
rustup target add $targets
for target in $targets; do
    # As `make lib`: `cargo build` would leave out link-time optimisation.
    # shellcheck disable=SC2086
    cargo rustc --locked --release --lib --crate-type staticlib $features --target "$target" \
        --target-dir "$build"
done
library() { echo "$build/$1/release/libmatrixe2ee.a"; }

# The same code for all of them; the generator reads what to write from a library.
rm -rf "$out/generated" "$package"
cargo run --locked --package bindings-generator --target-dir "$build" -- \
    generate "$(library aarch64-apple-darwin)" --language swift --out-dir "$out/generated" --no-format

mkdir -p "$package"
cp -R bindings/swift/apple/Package.swift bindings/swift/Tests LICENSE "$package/"
mkdir -p "$package/Sources"
cp -R bindings/swift/Sources/MatrixE2ee "$package/Sources/"
sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1 > "$package/VERSION"

# The two corrections of bindings/generate.sh.
# shellcheck disable=SC2016  # backticks of Swift
sed 's/^\( *\)`open`: {/\1open: {/' "$out/generated/MatrixE2ee.swift" \
    > "$package/Sources/MatrixE2ee/MatrixE2ee.swift"
# In a folder of its own: the module maps of several frameworks would get into each other's way.
headers=$out/headers
rm -rf "$headers"
mkdir -p "$headers/MatrixE2eeFFI"
# shellcheck disable=SC2016
sed 's/`open`/open/' "$out/generated/MatrixE2eeFFI.h" > "$headers/MatrixE2eeFFI/MatrixE2eeFFI.h"
cp bindings/swift/Sources/MatrixE2eeFFI/include/module.modulemap "$headers/MatrixE2eeFFI/"

# One library for each platform; those with two kinds of processors hold both.
mkdir -p "$out/ios" "$out/simulator" "$out/macos"
lipo -create "$(library aarch64-apple-ios)" -output "$out/ios/libmatrixe2ee_uniffi.a"
lipo -create "$(library aarch64-apple-ios-sim)" "$(library x86_64-apple-ios)" \
    -output "$out/simulator/libmatrixe2ee_uniffi.a"
lipo -create "$(library aarch64-apple-darwin)" "$(library x86_64-apple-darwin)" \
    -output "$out/macos/libmatrixe2ee_uniffi.a"
xcodebuild -create-xcframework \
    -library "$out/ios/libmatrixe2ee_uniffi.a" -headers "$headers" \
    -library "$out/simulator/libmatrixe2ee_uniffi.a" -headers "$headers" \
    -library "$out/macos/libmatrixe2ee_uniffi.a" -headers "$headers" \
    -output "$framework"

swift test --package-path "$package"

# For a package that names the XCFramework by URL: .binaryTarget(name:url:checksum:).
rm -rf "$package/.build"
ditto -c -k --sequesterRsrc --keepParent "$framework" "$out/MatrixE2eeFFI.xcframework.zip"
echo "$out/MatrixE2eeFFI.xcframework.zip"
swift package --package-path "$package" compute-checksum "$out/MatrixE2eeFFI.xcframework.zip"

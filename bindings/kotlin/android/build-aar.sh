#!/bin/sh
# Makes the package for Android from the jar's classes, with the library for three processors.
# NOBODY HAS RUN THIS WITH REAL ANDROID TOOLS YET: see README.md here, which also says what it needs.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../../.." && pwd)
version=$(sed -n 's/^version = "\(.*\)"/\1/p' "$root/Cargo.toml" | head -1)
classes=$root/bindings/kotlin/target/matrixe2ee-jvm-$version.jar
output=${OUTPUT:-$here/target}
target=${ANDROID_TARGET_DIR:-$root/target/android}

: "${ANDROID_NDK_HOME:?set it to the folder of the Android NDK}"
cargo ndk --version > /dev/null || { echo "cargo ndk is missing: cargo install cargo-ndk --locked"; exit 1; }
[ -e "$classes" ] || { echo "$classes is missing: make jar"; exit 1; }
set -- "$ANDROID_NDK_HOME"/toolchains/llvm/prebuilt/*/bin/llvm-strip
strip=$1

package=$output/package
rm -rf "$output"
mkdir -p "$package/META-INF"

# The same version of Android as in AndroidManifest.xml.
library() {
    abi=$1
    triple=$2
    (cd "$root" && cargo ndk --platform 21 -t "$abi" rustc --locked --release --lib --crate-type cdylib \
        --no-default-features --features uniffi,bundled-sqlite --target-dir "$target")
    mkdir -p "$package/jni/$abi"
    "$strip" --strip-unneeded -o "$package/jni/$abi/libmatrixe2ee_uniffi.so" \
        "$target/$triple/release/libmatrixe2ee.so"
}
library arm64-v8a aarch64-linux-android
library armeabi-v7a armv7-linux-androideabi
library x86_64 x86_64-linux-android

# The classes without the library for Linux.
mkdir "$output/classes"
(cd "$output/classes" && jar xf "$classes" org META-INF/matrixe2ee-jvm.kotlin_module)
jar --create --no-manifest --file "$package/classes.jar" -C "$output/classes" .

cp "$here/AndroidManifest.xml" "$package/"
cp "$here/consumer-rules.pro" "$package/proguard.txt"
cp "$root/LICENSE" "$package/META-INF/"
: > "$package/R.txt"
aar=$output/matrixe2ee-android-$version.aar
jar --create --no-manifest --file "$aar" -C "$package" .
echo "$aar: $(wc -c < "$aar") bytes"

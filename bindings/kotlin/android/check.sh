#!/bin/sh
# Tries build-aar.sh as far as that goes without Android's tools: stand-ins for cargo and the NDK take
# their place, the rest is real.
set -eu
cd "$(dirname "$0")"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
fail() {
    echo "FAILED  bindings/kotlin/android: $1"
    exit 1
}

version=$(sed -n 's/^version = "\(.*\)"/\1/p' ../../../Cargo.toml | head -1)
grep -q "<version>$version</version>" pom.xml || fail "pom.xml is not of version $version"
for artifact in jna kotlin-stdlib; do
    of() { sed -n "/<artifactId>$artifact</,/<.version>/s/.*<version>\(.*\)<.*/\1/p" "$1"; }
    wanted=$(of ../pom.xml)
    [ "$wanted" = "\${kotlin.stdlib.version}" ] &&
        wanted=$(sed -n 's/.*<kotlin.stdlib.version>\(.*\)<.*/\1/p' ../pom.xml)
    [ "$(of pom.xml)" = "$wanted" ] || fail "pom.xml has another $artifact than the jar"
done
sh -n build-aar.sh

mkdir -p "$work/bin" "$work/ndk/toolchains/llvm/prebuilt/none/bin"
cat > "$work/bin/cargo" << 'CARGO'
#!/bin/sh
# cargo ndk --platform 21 -t ABI rustc ... --target-dir FOLDER
[ "$2" = --version ] && exit
echo "$*" >> "$LOG"
case $5 in
    arm64-v8a) triple=aarch64-linux-android ;;
    armeabi-v7a) triple=armv7-linux-androideabi ;;
    x86_64) triple=x86_64-linux-android ;;
esac
for folder in "$@"; do :; done
mkdir -p "$folder/$triple/release"
echo "for $5" > "$folder/$triple/release/libmatrixe2ee.so"
CARGO
# llvm-strip --strip-unneeded -o OUTPUT INPUT
printf '#!/bin/sh\ncp "$4" "$3"\n' > "$work/ndk/toolchains/llvm/prebuilt/none/bin/llvm-strip"
chmod +x "$work/bin/cargo" "$work/ndk/toolchains/llvm/prebuilt/none/bin/llvm-strip"
PATH="$work/bin:$PATH" LOG="$work/log" ANDROID_NDK_HOME="$work/ndk" OUTPUT="$work/out" \
    ANDROID_TARGET_DIR="$work/target" ./build-aar.sh > "$work/said" || fail "build-aar.sh"

mkdir "$work/aar" "$work/classes"
(cd "$work/aar" && jar xf "$work/out/matrixe2ee-android-$version.aar")
(cd "$work/classes" && jar xf "$work/aar/classes.jar")
for abi in arm64-v8a armeabi-v7a x86_64; do
    [ "$(cat "$work/aar/jni/$abi/libmatrixe2ee_uniffi.so")" = "for $abi" ] || fail "the library for $abi"
done
for file in AndroidManifest.xml proguard.txt R.txt META-INF/LICENSE; do
    [ -e "$work/aar/$file" ] || fail "the AAR has no $file"
done
[ -e "$work/classes/org/matrixe2ee/Store.class" ] || fail "the AAR has no classes"
[ -z "$(find "$work/classes" -name '*.so')" ] || fail "the AAR has the library for Linux"

# The interface in C is for 64-bit systems: it must not be compiled for armeabi-v7a.
features=$(sed -n '/armeabi-v7a/s/.*\(--no-default-features --features [^ ]*\).*/\1/p' "$work/log")
# shellcheck disable=SC2086  # a list
tree=$(cd ../../.. && cargo tree --locked --target armv7-linux-androideabi -e normal,features --depth 1 \
    $features -f '{p} [{f}]' | head -1)
case $tree in
    *capi*) fail "the library for 32 bits has the interface in C: $tree" ;;
    *uniffi*) ;;
    *) fail "the features of the library are not to be seen: $tree" ;;
esac

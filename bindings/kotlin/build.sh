#!/bin/sh
# Makes the package for Kotlin from bindings/generated: the jar in bindings/kotlin/target, also
# installed in .cache/m2; then the example, and the member of tests/languages that is made of it.
# What has not changed is not made again.
set -eu
cd "$(dirname "$0")/../.."
package=bindings/kotlin
generated=bindings/generated/kotlin/org/matrixe2ee/matrixe2ee.kt
sources=$package/target/generated-sources/uniffi/org/matrixe2ee
version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -1)
jar=$package/target/matrixe2ee-jvm-$version.jar
installed=.cache/m2/org/matrixe2ee/matrixe2ee-jvm/$version/matrixe2ee-jvm-$version.jar

# What a machine lacks is no error, but to the tests of a change.
$package/toolchain.sh || { [ "${CI:-}" != true ]; exit; }

grep -q "<version>$version</version>" $package/pom.xml || {
    echo "$package/pom.xml is not of version $version, as Cargo.toml is"
    exit 1
}

# JNA looks for the library in a folder of this name.
case $(uname -s)-$(uname -m) in
    Linux-x86_64) native=linux-x86-64 ;;
    Linux-aarch64) native=linux-aarch64 ;;
    Linux-*) native=linux-$(uname -m) ;;
    *) echo "The jar is made on Linux only, so far."; exit 1 ;;
esac

# has_changed STAMP FILE...: whether these are other files than when the stamp was made.
has_changed() {
    stamp=$1
    shift
    sum=$(cat "$@" | sha256sum)
    [ ! -e "$stamp" ] || [ "$sum" != "$(cat "$stamp")" ]
}

if has_changed $package/target/stamp $generated bindings/generated/library/libmatrixe2ee_uniffi.so \
    $package/pom.xml $package/adapt.awk $package/build.sh || ! cmp -s "$jar" "$installed"; then
    rm -rf $package/target
    mkdir -p $sources
    awk -f $package/adapt.awk $generated > $sources/matrixe2ee.kt
    $package/maven.sh -f $package/pom.xml -Dnative.folder=$native install
    echo "$sum" > $package/target/stamp
fi

if has_changed examples/kotlin/target/stamp "$jar" examples/kotlin/*.kt examples/kotlin/pom.xml \
    tests/languages/*.kt; then
    rm -rf examples/kotlin/target
    $package/maven.sh -f examples/kotlin/pom.xml -P member compile
    echo "$sum" > examples/kotlin/target/stamp
fi
echo "$jar: $(wc -c < "$jar") bytes"

#!/bin/sh
# Tests the jar that build.sh has made, as a program on it gets it: the JUnit tests, the example, the
# README's program in a project of its own, and what can be tried of the package for Android.
set -eu
cd "$(dirname "$0")/../.."
package=bindings/kotlin
$package/toolchain.sh || { [ "${CI:-}" != true ]; exit; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
unset LD_LIBRARY_PATH

rm -rf $package/tests/target
$package/maven.sh -f $package/tests/pom.xml test
count=$(sed -n 's/^<testsuite .* tests="\([0-9]*\)".*/\1/p' $package/tests/target/surefire-reports/*.xml |
    awk '{ sum += $1 } END { print sum + 0 }')

java -cp 'examples/kotlin/target/classes:examples/kotlin/target/lib/*' AliceAndBobKt > "$work/story"
tail -1 "$work/story" | grep -qx 'All is as it should be.'
echo "ok      examples/kotlin"

mkdir "$work/bare"
cp examples/kotlin/target/lib/*.jar "$work/bare"
(cd "$work/bare" && mkdir classes && cd classes && jar xf ../matrixe2ee-jvm-*.jar && rm ../matrixe2ee-jvm-*.jar linux-*/*)
! java -cp "examples/kotlin/target/classes:$work/bare/classes:$work/bare/*" AliceAndBobKt > "$work/said" 2>&1
grep -q 'UnsatisfiedLinkError: this package of matrixe2ee has no library for linux-' "$work/said"
echo "ok      a package without its library says so"

# As the README says: the jar is put into the repository, here that of this checkout.
rm -r .cache/m2/org/matrixe2ee
$package/maven.sh -f $package/pom.xml install:install-file
program=$package/tests/readme/target/program
rm -rf $package/tests/readme/target
mkdir -p $program
tools/readme_program.sh kotlin > $program/First.kt
maven="$PWD/$package/maven.sh"
project="$PWD/$package/tests/readme/pom.xml"
(cd "$work" && "$maven" -f "$project" compile exec:java > first)
grep -q '"one_time_keys"' "$work/first"
grep -q '"ciphertext"' "$work/first"
echo "ok      the Kotlin program of the README"

$package/android/check.sh
echo "ok      bindings/kotlin/android, as far as it can be tried without Android's tools"

echo "$count passed, 0 failed"

#!/bin/sh
# Starts Member.kt, which bindings/kotlin/build.sh has compiled with the example.
set -eu
example=$(cd "$(dirname "$0")/../../examples/kotlin/target" && pwd)
exec java -XX:TieredStopAtLevel=1 -cp "$example/classes:$example/lib/*" MemberKt "$@"

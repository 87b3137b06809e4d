#!/bin/sh
# Starts Member.kt, which bindings/kotlin/build.sh has compiled with the example.
set -eu
example=$(cd "$(dirname "$0")/../../examples/kotlin/target" && pwd)
exec java -XX:TieredStopAtLevel=1 -Dfile.encoding=UTF-8 -Dstdout.encoding=UTF-8 \
    -cp "$example/classes:$example/lib/*" MemberKt "$@"

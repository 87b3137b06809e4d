#!/bin/sh
# maven.sh ARGUMENTS...: Maven as all of this uses it. What it downloads, and the jar itself as
# installed, is in .cache/m2 of this checkout.
set -eu
root=$(cd "$(dirname "$0")/../.." && pwd)
# Short runs: the optimising compiler would not pay.
export MAVEN_OPTS="${MAVEN_OPTS:--XX:TieredStopAtLevel=1}"
exec mvn -q -B -ntp -Dstyle.color=never -Dmaven.repo.local="$root/.cache/m2" "$@"

#!/bin/sh
# One room with a device in each language. The packages have been built (make wheel jar swift-package lib).
set -eu
cd "$(dirname "$0")/../.."
members=tests/languages
bindings/python/environment.sh
set -- alice=$members/member_python.sh bob=$members/member_kotlin.sh carol=$members/member_c.sh
# Says SKIPPED if there is no Swift.
if tools/swift.sh --install; then
    $members/member_swift.sh --build
    set -- "$@" dave=$members/member_swift.sh
fi
# The library for C is in the way of all of them, even under the names that the packages' own have: each
# takes the one that it brought.
in_the_way=$PWD/target/in_the_way
mkdir -p "$in_the_way"
for file in target/capi/lib/libmatrixe2ee.so bindings/generated/library/*.so target/swift/MatrixE2ee/lib/*; do
    cp target/capi/lib/libmatrixe2ee.so "$in_the_way/$(basename "$file")"
done
export LD_LIBRARY_PATH="$in_the_way"
# What the members tell of themselves is of interest only if something fails.
mkdir -p .cache/logs
python3 $members/drive.py "$@" 2> .cache/logs/members.log || { tail -40 .cache/logs/members.log; exit 1; }

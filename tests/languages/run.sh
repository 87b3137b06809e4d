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
# What the members tell of themselves is of interest only if something fails.
mkdir -p .cache/logs
python3 $members/drive.py "$@" 2> .cache/logs/members.log || { tail -40 .cache/logs/members.log; exit 1; }

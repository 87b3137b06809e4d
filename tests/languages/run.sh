#!/bin/sh
# One room with a device in each language. The packages have been built (make wheel jar swift-package lib).
set -eu
cd "$(dirname "$0")/../.."
members=tests/languages
bindings/python/environment.sh
$members/member_c.sh --build
set -- alice=$members/member_python.sh bob=$members/member_kotlin.sh carol=$members/member_c.sh
# Says SKIPPED if there is no Swift.
if tools/swift.sh --install; then
    $members/member_swift.sh --build
    set -- "$@" dave=$members/member_swift.sh
fi
python3 $members/drive.py "$@"

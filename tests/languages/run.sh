#!/bin/sh
# One room with a device in each language; the packages have been built (make wheel jar swift-package lib).
set -eu
cd "$(dirname "$0")/../.."
members=tests/languages
set -- alice=$members/member_python.sh bob=$members/member_kotlin.sh carol=$members/member_c.sh
if tools/swift.sh --version > /dev/null 2>&1; then
    set -- "$@" dave=$members/member_swift.sh
else
    echo "SKIPPED: swift (no toolchain)"
fi
python3 $members/drive.py "$@"

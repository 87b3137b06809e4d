#!/bin/sh
# abi.sh [HEADER]: what C programs were compiled against still fits. Compares the header's types and
# functions with those of the last release, which tests/c/released.abi keeps (a fresh clone has no
# tags). New functions and new errors are no change: they break nobody.
#
#     UPDATE=1 tests/c/abi.sh     writes that file anew: at a release; before it, if something changes
#                                 that no release had; and after a function was put at the end of a
#                                 table that begins with its size, which abidiff cannot tell from
#                                 others. Any other change needs a new SOVERSION: the version's y.
set -eu
cd "$(dirname "$0")/../.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
released=tests/c/released.abi
header=${1:-include/matrixe2ee.h}
version=$(sed -n 's/^version = "\([0-9]*\.[0-9]*\)\..*/\1/p' Cargo.toml | head -1)

# A library with the header's functions and empty bodies: it has all of the ABI in its debug
# information. That the real one has it too is seen to by tests/header.rs, which makes the header of
# the code, and by the job `exports`.
g++ -E -P -x c++ "$header" | awk '
    /^[a-z].*[ *]matrixe2ee_[a-z0-9_]*\(/ && !/^typedef/ { inside = 1 }
    inside && /\);$/ { sub(/;$/, " { for (;;) {} }"); inside = 0 }
    { print }' > "$work/header.cpp"
echo "MATRIXE2EE_$version { matrixe2ee_*; };" > "$work/versions"
(cd "$work" && g++ -std=c++17 -g -O0 -fPIC -shared header.cpp -o libmatrixe2ee.so \
    -Wl,-soname,"libmatrixe2ee.so.$version" -Wl,--version-script=versions)
# Any processor with pointers of 64 bits has the same.
abidw --no-corpus-path --no-comp-dir-path --no-show-locs "$work/libmatrixe2ee.so" |
    sed "s/ architecture='[^']*'//" > "$work/now.abi"
grep -q "<elf-symbol name='matrixe2ee_version'" "$work/now.abi"

if [ -n "${UPDATE:-}" ]; then
    cp "$work/now.abi" $released
    exit
fi
abidiff --no-added-syms $released "$work/now.abi" && exit
echo "The ABI is not the released one any more: see tests/c/abi.sh."
exit 1

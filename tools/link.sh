#!/bin/sh
# link.sh ARCHIVE FOLDER SOVERSION LIBRARIES...: makes the two libraries that are installed out of
# cargo's static library; LIBRARIES are what they need of the system.
#
#     libmatrixe2ee.a     one object in which only the functions of the header are global. Cargo's has
#                         Rust's runtime and SQLite as global symbols, too: it would not link beside
#                         another Rust library, and would put its SQLite in place of the program's.
#     libmatrixe2ee.so    the same object, linked; each symbol has the version MATRIXE2EE_SOVERSION, so
#                         that two copies in one process keep apart. Cargo's own has no versions, and
#                         rustc gives the linker a script of symbols beside which there can be no other.
#
# LD, OBJCOPY, AR and CC name other tools, as for another processor. These are GNU's. On macOS, where
# nothing is installed like this, the same is done by `ld -r -exported_symbols_list` (each name with _ in
# front of it), and a version of a symbol does not exist: there, libraries have two-level namespaces.
set -eu
cd "$(dirname "$0")/.."
archive=$1 out=$2 soversion=$3
shift 3
symbols=tests/symbols.txt
made_of=$(cksum "$archive" $symbols tools/link.sh; echo "${LD:-} ${OBJCOPY:-} ${AR:-} ${CC:-} $soversion $*")
[ ! -f "$out/made_of" ] || [ "$(cat "$out/made_of")" != "$made_of" ] || exit 0
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$out"

# Nothing is pulled out of the archive but for the functions and what they need. Groups go, because
# a linker that meets the same group in another Rust library would keep one of them.
# shellcheck disable=SC2046  # a list
"${LD:-ld}" -r --force-group-allocation $(sed 's/^/-u /' $symbols) "$archive" -o "$work/all.o"
# .llvmbc is Rust's standard library once more, for a compiler.
"${OBJCOPY:-objcopy}" --keep-global-symbols=$symbols --strip-debug --remove-section=.llvmbc \
    --remove-section=.llvmcmd "$work/all.o" "$work/matrixe2ee.o"

rm -f "$work/libmatrixe2ee.a"
"${AR:-ar}" rcsD "$work/libmatrixe2ee.a" "$work/matrixe2ee.o"
{
    echo "MATRIXE2EE_$soversion {"
    echo '    global:'
    sed 's/.*/        &;/' $symbols
    echo '    local: *;'
    echo '};'
} > "$work/versions"
"${CC:-cc}" -shared "$work/matrixe2ee.o" -o "$work/libmatrixe2ee.so" \
    -Wl,-soname,"libmatrixe2ee.so.$soversion" -Wl,--version-script="$work/versions" \
    -Wl,--gc-sections -Wl,-O1 -Wl,--as-needed -Wl,-z,relro,-z,now -Wl,-z,noexecstack \
    -Wl,-z,defs "$@"
# At once, so that no half of them is ever installed.
rm -f "$out/made_of"
mv "$work/libmatrixe2ee.a" "$work/libmatrixe2ee.so" "$out/"
echo "$made_of" > "$out/made_of"

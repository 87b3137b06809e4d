#!/bin/sh
# Keeps the README true: its programs in C and C++ compile as they stand, without a warning, and run;
# its line of static libraries is the one that pkg-config gives; its links and JSON are right.
# INSTALLED is where the library is installed; without it, it is installed for this.
set -eu
cd "$(dirname "$0")/.."
export RUST_BACKTRACE=0

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
if [ -z "${INSTALLED:-}" ]; then
    INSTALLED=$work/installed
    make --no-print-directory install PREFIX="$INSTALLED" > "$work/log" 2>&1 || { cat "$work/log"; exit 1; }
fi
export PKG_CONFIG_PATH="$INSTALLED/lib/pkgconfig"
export LD_LIBRARY_PATH="$INSTALLED/lib"
warnings="-g -Wall -Wextra -Wpedantic -Werror"
flags=$(pkg-config --cflags --libs matrixe2ee)

tests/docs.py
echo "ok      the errors, JSON blocks and links of README.md and docs"

grep -q -F -e "$(sed -n 's/^Libs.private: //p' "$PKG_CONFIG_PATH/matrixe2ee.pc")" README.md
echo "ok      the static libraries of the README"

# The first block of code in each language.
tools/readme_program.sh c > "$work/first.c"
tools/readme_program.sh cpp > "$work/first.cpp"
mkdir "$work/c" "$work/cpp"
# shellcheck disable=SC2086  # lists of flags
(
    gcc -std=c11 $warnings "$work/first.c" -o "$work/c/first" $flags
    cd "$work/c" && ./first > first.out
    grep -q '"one_time_keys"' first.out
)
echo "ok      the C program of the README"
# shellcheck disable=SC2086
(
    g++ -std=c++17 $warnings "$work/first.cpp" -o "$work/cpp/first" $flags
    cd "$work/cpp" && ./first > first.out
    grep -q '"one_time_keys"' first.out
    grep -q '"ciphertext"' first.out
)
echo "ok      the C++ program of the README"

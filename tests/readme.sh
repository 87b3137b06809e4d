#!/bin/sh
# Keeps the README and the examples true: the C program of the README and examples/c compile as they
# stand, without a warning, and run, examples/c under valgrind and the sanitizers. The README's line
# of static libraries is the one that pkg-config gives.
set -eu
cd "$(dirname "$0")/.."
export RUST_BACKTRACE=0

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
make --no-print-directory install PREFIX="$work/installed" > "$work/log" 2>&1 || { cat "$work/log"; exit 1; }
export PKG_CONFIG_PATH="$work/installed/lib/pkgconfig"
export LD_LIBRARY_PATH="$work/installed/lib"
static="$work/installed/lib/libmatrixe2ee.a $(sed -n 's/^Libs.private: //p' "$PKG_CONFIG_PATH/matrixe2ee.pc")"
warnings="-std=c11 -g -Wall -Wextra -Wpedantic -Werror"
flags=$(pkg-config --cflags --libs matrixe2ee)

tests/docs.py
echo "ok      the errors, JSON blocks and links of README.md and docs"

# The first C block of the README.
tools/readme_program.sh c > "$work/first.c"
# shellcheck disable=SC2086  # lists of flags
(
    gcc $warnings "$work/first.c" -o "$work/first" $flags
    cd "$work" && ./first > first.out
    grep -q '"one_time_keys"' first.out
)
echo "ok      the C program of the README"

grep -q -F -e "$(sed -n 's/^Libs.private: //p' "$PKG_CONFIG_PATH/matrixe2ee.pc")" README.md
echo "ok      the static libraries of the README"

example="-D_XOPEN_SOURCE=700 $(pkg-config --cflags jansson) $(echo examples/c/*.c)"
json=$(pkg-config --libs jansson)
# shellcheck disable=SC2086
(
    gcc $warnings $example -o "$work/shared" $flags $json
    valgrind -q --leak-check=full --errors-for-leak-kinds=definite,indirect --error-exitcode=9 \
        "$work/shared" > "$work/example.out"
)
echo "ok      examples/c/alice_and_bob.c, valgrind, shared library"
# shellcheck disable=SC2086
(
    gcc $warnings -fsanitize=address,undefined -fno-sanitize-recover=all \
        -I"$work/installed/include" $example -o "$work/sanitized" $static $json
    "$work/sanitized" > "$work/example.out"
)
echo "ok      examples/c/alice_and_bob.c, sanitizers, static library"

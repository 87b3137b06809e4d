#!/bin/sh
# Builds and runs the C and C++ programs against an installed library:
# with gcc and clang, as C11 without a warning, under address and undefined
# behaviour sanitizers (static library) and under valgrind (shared library).
# `make test-c` calls it after `make lib`.
set -u
cd "$(dirname "$0")/../.." || exit 1
export RUST_BACKTRACE=0

need() {
    for tool in "$@"; do
        command -v "$tool" > /dev/null && continue
        [ "$(id -u)" = 0 ] && apt-get install -y -q clang valgrind cmake pkg-config > /dev/null 2>&1
        command -v "$tool" > /dev/null || { echo "$tool is missing"; exit 1; }
    done
}
need gcc g++ clang clang++ valgrind pkg-config cmake

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
log=$work/log
export TMPDIR="$work"
passed=0
failed=0

# report NAME COMMAND...: runs the command and prints one line.
report() {
    label=$1
    shift
    if "$@" > "$log" 2>&1; then
        passed=$((passed + 1))
        echo "ok      $label"
    else
        failed=$((failed + 1))
        echo "FAILED  $label"
        sed 's/^/        /' "$log" | tail -40
    fi
}

make --no-print-directory install PREFIX="$work/installed" > "$log" 2>&1 || { cat "$log"; exit 1; }
lib=$work/installed/lib
export PKG_CONFIG_PATH="$lib/pkgconfig"
export LD_LIBRARY_PATH="$lib"
cflags=$(pkg-config --cflags matrixe2ee)
libs=$(pkg-config --libs matrixe2ee)
static="$lib/libmatrixe2ee.a $(sed -n 's/^Libs.private: //p' "$lib/pkgconfig/matrixe2ee.pc")"
warnings="-Wall -Wextra -Wpedantic -Werror"
sanitize="-fsanitize=address,undefined -fno-sanitize-recover=all"

# build COMPILER SOURCE OUTPUT FLAGS...
build() {
    case $1,$2 in
        gcc,*.cpp) language="g++ -std=c++17" ;;
        clang,*.cpp) language="clang++ -std=c++17" ;;
        *) language="$1 -std=c11 -D_XOPEN_SOURCE=700" ;;
    esac
    input=$2 output=$3
    shift 3
    # shellcheck disable=SC2086  # lists of flags
    $language -g -pthread $warnings $cflags "$input" -o "$output" "$@"
}

with_sanitizers() {
    # shellcheck disable=SC2086
    build "$1" "$2" "$work/program" $sanitize $static && "$work/program"
}

with_valgrind() {
    # shellcheck disable=SC2086
    build "$1" "$2" "$work/program" $libs &&
        valgrind -q --leak-check=full --errors-for-leak-kinds=definite,indirect --error-exitcode=9 \
            --fair-sched=yes "$work/program"
}

# Each function that can fail is in the program that passes NULL to everything.
nothing_forgotten() {
    missing=0
    for function in $(grep -v -e _version -e _status_name tests/symbols.txt); do
        grep -q "\b$function\b" tests/c/every_argument_null.c || { echo "$function"; missing=1; }
    done
    return $missing
}

cmake_consumer() {
    cat > "$work/CMakeLists.txt" << END
cmake_minimum_required(VERSION 3.16)
project(consumer C)
find_package(matrixe2ee $(pkg-config --modversion matrixe2ee) REQUIRED)
foreach(kind matrixe2ee static)
  add_executable(with_\${kind} $PWD/tests/c/round_trip.c)
  target_compile_definitions(with_\${kind} PRIVATE _XOPEN_SOURCE=700)
  target_link_libraries(with_\${kind} matrixe2ee::\${kind})
endforeach()
END
    cmake -S "$work" -B "$work/cmake" -DCMAKE_PREFIX_PATH="$work/installed" &&
        cmake --build "$work/cmake" && "$work/cmake/with_matrixe2ee" && "$work/cmake/with_static"
}

exports() {
    nm -D --defined-only "$lib/libmatrixe2ee.so" | cut -d ' ' -f 3 | LC_ALL=C sort > "$work/exports"
    diff tests/symbols.txt "$work/exports" && readelf -d "$lib/libmatrixe2ee.so" | grep -q 'soname: \[libmatrixe2ee\.so\.[0-9.]*\]'
}

report "exported symbols and soname" exports
report "every function is in every_argument_null" nothing_forgotten
for source in tests/c/*.c tests/c/*.cpp; do
    name=$(basename "$source")
    for compiler in gcc clang; do
        report "$name, $compiler, sanitizers, static library" with_sanitizers $compiler "$source"
        report "$name, $compiler, valgrind, shared library" with_valgrind $compiler "$source"
    done
done
report "find_package(matrixe2ee), shared and static" cmake_consumer

echo "$passed passed, $failed failed"
[ "$failed" = 0 ]

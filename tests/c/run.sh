#!/bin/sh
# run.sh: builds and runs the C and C++ programs against an installed library: with gcc and clang,
# as C11, C++17 and C++20 without a warning, under address and undefined behaviour sanitizers (static
# library) and under valgrind (shared library); and what stands in tests/c/jobs.sh. As many jobs at
# once as there are processors. `make test-c` calls it after `make lib`.
set -u
cd "$(dirname "$0")/../.." || exit 1
export RUST_BACKTRACE=0

WORK=$(mktemp -d)
trap 'rm -rf "$WORK"' EXIT
INSTALLED=$WORK/installed
make --no-print-directory install PREFIX="$INSTALLED" > "$WORK/log" 2>&1 || { cat "$WORK/log"; exit 1; }
export WORK INSTALLED

# One job a line: its name for jobs.sh and its arguments.
{
    for source in tests/c/*.c; do
        for compiler in gcc clang; do
            echo "valgrind $compiler c11 $source"
            echo "sanitizers $compiler c11 $source"
        done
    done
    for source in tests/c/*.cpp tests/cpp/*.cpp; do
        echo "valgrind g++ c++20 $source"
        echo "sanitizers g++ c++17 $source"
        echo "valgrind clang++ c++17 $source"
        echo "sanitizers clang++ c++20 $source"
    done
    for job in example_c_valgrind example_cpp example_c_sanitizers readme cmake_c cmake_cpp \
        headers_in_cpp doxygen staged exports abi beside_rust beside_sqlite unloaded memory nothing_forgotten nothing_untried; do
        echo "$job"
    done
} > "$WORK/jobs"
# What takes long begins first; see the seconds that each line of the results ends with.
slow='valgrind .*\.c$|valgrind .*/objects|/callbacks|example'
{
    grep -E "$slow" "$WORK/jobs"
    grep -v -E "$slow" "$WORK/jobs"
} | xargs -P "$(nproc)" -L 1 tests/c/jobs.sh | tee "$WORK/results"

passed=$(grep -c '^ok ' "$WORK/results")
failed=$(($(wc -l < "$WORK/jobs") - passed))
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]

#!/bin/sh
# jobs.sh JOB ARGUMENTS...: does one of the jobs of run.sh, and prints one line, or what went wrong.
# INSTALLED is where the library is installed, WORK a folder that is removed later.
set -u
place=$(mktemp -d "$WORK/job-XXXXXX")
export TMPDIR="$place"
lib=$INSTALLED/lib
export PKG_CONFIG_PATH="$lib/pkgconfig"
export LD_LIBRARY_PATH="$lib"
cflags="$(pkg-config --cflags matrixe2ee) -Itests/c"
libs=$(pkg-config --libs matrixe2ee)
static="$lib/libmatrixe2ee.a $(sed -n 's/^Libs.private: //p' "$PKG_CONFIG_PATH/matrixe2ee.pc")"
warnings="-Wall -Wextra -Wpedantic -Werror"
sanitize="-fsanitize=address,undefined -fno-sanitize-recover=all"
checked="valgrind -q --leak-check=full --errors-for-leak-kinds=definite,indirect --error-exitcode=9 --fair-sched=yes"

# build COMPILER STANDARD SOURCE FLAGS...: makes $place/program.
build() {
    compiler=$1 standard=$2 source=$3
    shift 3
    [ "$standard" != c11 ] || standard="c11 -D_XOPEN_SOURCE=700"
    # shellcheck disable=SC2086  # lists of flags
    $compiler -std=$standard -g -pthread $warnings $cflags "$source" -o "$place/program" "$@"
}

# shellcheck disable=SC2086
sanitizers() { build "$@" $sanitize $static && "$place/program"; }

# shellcheck disable=SC2086
valgrind() { build "$@" $libs && command $checked "$place/program"; }

# Each function that can fail is in the program that passes NULL to everything, and each has its place
# in C++.
nothing_forgotten() {
    missing=0
    for function in $(grep -v -e _version -e _status_name tests/symbols.txt); do
        grep -q "\b$function\b" tests/c/every_argument_null.c || { echo "$function in C"; missing=1; }
    done
    for function in $(cat tests/symbols.txt); do
        # In the code, not in a comment.
        sed 's,//.*,,' include/matrixe2ee.hpp include/matrixe2ee/*.hpp | grep -q "\b$function\b" ||
            { echo "$function in C++"; missing=1; }
    done
    return $missing
}

# Each method in C++ is called by a test in C++.
nothing_untried() {
    missing=0
    methods=$(awk '/\\cond/ { inside = 1 } !inside; /\\endcond/ { inside = 0 }' \
        include/matrixe2ee.hpp include/matrixe2ee/*.hpp |
        sed -n -E 's/^ *(static |virtual |inline |explicit )*[A-Za-z0-9_:<>]+ [*&]?([a-z0-9_]*[a-z0-9])\(.*/\2/p' |
        grep -v -x bool | sort -u)
    [ "$(echo "$methods" | wc -l)" -gt 60 ] || { echo "methods were not found: $methods"; return 1; }
    for method in $methods; do
        grep -q "\b$method(" tests/cpp/*.cpp tests/cpp/*.hpp || { echo "$method"; missing=1; }
    done
    return $missing
}

# Without sanitizers and valgrind: what the program looks for would be in their memory, too.
memory() {
    for compiler in gcc clang; do
        for library in "$libs" "$static"; do
            # shellcheck disable=SC2086
            build $compiler c11 tests/c/plain/memory.c -O1 $library && "$place/program" || return 1
        done
    done
}

# The listed functions and nothing else: in the shared library with their version, in the static one as
# its only global symbols.
exports() {
    soname=$(readelf -d "$lib/libmatrixe2ee.so" | sed -n 's/.*soname: \[\(.*\)\]/\1/p')
    version=MATRIXE2EE_${soname#libmatrixe2ee.so.}
    [ "$version" = "MATRIXE2EE_$(pkg-config --modversion matrixe2ee | cut -d . -f 1,2)" ] || return 1
    nm -D --defined-only "$lib/libmatrixe2ee.so" | cut -d ' ' -f 3 | grep -v -x "$version" |
        LC_ALL=C sort > "$place/shared"
    nm -g --defined-only "$lib/libmatrixe2ee.a" | sed -n 's/^[0-9a-f]\{16\} . //p' |
        LC_ALL=C sort > "$place/static"
    sed "s/\$/@@$version/" tests/symbols.txt | diff - "$place/shared" &&
        diff tests/symbols.txt "$place/static"
}

# Another Rust library in the program, before and after this one: each has a runtime of its own.
beside_rust() {
    rustc --edition 2024 --crate-type staticlib tests/c/beside/other.rs -o "$place/libother.a" || return 1
    beside "$place/libother.a" tests/c/beside/rust.c
}

# The program's own SQLite, before and after this library: neither calls the other's.
beside_sqlite() {
    gcc -std=c11 -c tests/c/beside/sqlite.c -o "$place/libother.a" || return 1
    beside "$place/libother.a" tests/c/beside/own_sqlite.c
}

# beside OTHER SOURCE
beside() {
    for compiler in gcc clang; do
        # shellcheck disable=SC2086
        for libraries in "$1 $static" "${static%%.a *}.a $1 ${static#*.a }"; do
            build $compiler c11 "$2" $libraries && "$place/program" || return 1
        done
    done
}

# Unloaded and loaded again, and forked afterwards. What it leaves behind each time is its table of
# handles and a page.
unloaded() {
    build gcc c11 tests/c/beside/unloaded.c -rdynamic -ldl || return 1
    for run in "" "valgrind -q --error-exitcode=9"; do
        for kernel in "" old; do
            # shellcheck disable=SC2086
            command $run "$place/program" "$lib/libmatrixe2ee.so" $kernel || return 1
        done
    done
}

# The ABI is the released one; and the comparison finds what it has to.
abi() {
    tests/c/abi.sh || return 1
    changed() { sed -z "$1" include/matrixe2ee.h > "$place/changed.h" && tests/c/abi.sh "$place/changed.h"; }
    changed 's/uint32_t matrixe2ee_abi_version(void);/&\nuint32_t matrixe2ee_new(void);/' || return 1
    changed 's/STATUS_FORKED = 7,/& MATRIXE2EE_STATUS_NEW = 999,/' || return 1
    for change in 's/STATUS_FORKED = 7,/STATUS_FORKED = 999,/' \
        's/uint32_t matrixe2ee_abi_version(void);//' \
        's/uint32_t matrixe2ee_abi_version(void);/uint64_t matrixe2ee_abi_version(void);/' \
        's/\*now_ms)(void/*later)(void); int64_t (*now_ms)(void/' \
        's/int64_t (\*now_ms)(void/int32_t (*now_ms)(void/' 's/bool \*out/int *out/'; do
        ! changed "$change" || { echo "not noticed: $change"; return 1; }
    done
}

# Each header in C++ stands alone, and has no warning even where many are asked for.
headers_in_cpp() {
    for header in matrixe2ee.hpp $(cd include && echo matrixe2ee/*.hpp); do
        echo "#include <$header>"
    done > "$place/all"
    while read -r line; do
        echo "$line" > "$place/one.cpp"
        for compiler in "g++ -std=c++17" "clang++ -std=c++20"; do
            # shellcheck disable=SC2086
            $compiler $warnings -Wshadow -Wconversion -Wsign-conversion -Wold-style-cast \
                -I"$INSTALLED/include" -fsyntax-only "$place/one.cpp" || return 1
        done
    done < "$place/all"
}

# A program outside of the tree that finds the package, shared and static.
consumer() {
    mkdir "$place/consumer"
    cp "$@" "$place/consumer"
    (
        cd "$place/consumer" || exit
        cat > CMakeLists.txt << END
cmake_minimum_required(VERSION 3.16)
project(consumer $LANGUAGE)
set(CMAKE_CXX_STANDARD 17)
find_package(matrixe2ee $(pkg-config --modversion matrixe2ee) REQUIRED)
foreach(kind matrixe2ee static)
  add_executable(with_\${kind} $(basename "$1"))
  target_compile_definitions(with_\${kind} PRIVATE _XOPEN_SOURCE=700)
  target_link_libraries(with_\${kind} matrixe2ee::\${kind})
endforeach()
END
        unset LD_LIBRARY_PATH
        cmake -S . -B build -DCMAKE_PREFIX_PATH="$INSTALLED" && cmake --build build || exit
        for kind in matrixe2ee static; do
            (mkdir "in_$kind" && cd "in_$kind" && "../build/with_$kind") || exit
        done
    )
}

cmake_c() { LANGUAGE=C consumer tests/c/round_trip.c tests/c/story.h tests/c/test.h; }

cmake_cpp() {
    tools/readme_program.sh cpp > "$place/first.cpp"
    LANGUAGE=CXX consumer "$place/first.cpp"
}

# Installed for a package: under DESTDIR, while the files name the prefix; it is used from there.
staged() {
    make --no-print-directory -o lib install DESTDIR="$place/stage" PREFIX=/opt/somewhere \
        LIBDIR=/opt/somewhere/lib64 || return 1
    [ "$(ls "$place/stage")" = opt ] && [ "$(ls "$place/stage/opt/somewhere")" = "include
lib64" ] || return 1
    ! grep -r "$place" "$place/stage/opt/somewhere/lib64/pkgconfig" \
        "$place/stage/opt/somewhere/lib64/cmake" || return 1
    export PKG_CONFIG_PATH="$place/stage/opt/somewhere/lib64/pkgconfig"
    export PKG_CONFIG_SYSROOT_DIR="$place/stage"
    export LD_LIBRARY_PATH="$place/stage/opt/somewhere/lib64"
    tools/readme_program.sh c > "$place/first.c"
    tools/readme_program.sh cpp > "$place/first.cpp"
    # shellcheck disable=SC2046
    (
        cd "$place" &&
            gcc first.c -o first $(pkg-config --cflags --libs matrixe2ee) && ./first &&
            g++ -std=c++17 first.cpp -o first $(pkg-config --cflags --libs matrixe2ee) && ./first
    )
}

# The examples run without a word about memory, and end well.
c_example="gcc -std=c11 -D_XOPEN_SOURCE=700 -g $warnings"
example_c_valgrind() {
    # shellcheck disable=SC2046,SC2086
    $c_example examples/c/*.c -o "$place/program" \
        $(pkg-config --cflags --libs matrixe2ee jansson) && command $checked "$place/program"
}

example_c_sanitizers() {
    # shellcheck disable=SC2046,SC2086
    $c_example $sanitize -I"$INSTALLED/include" examples/c/*.c -o "$place/program" $static \
        $(pkg-config --cflags --libs jansson) && "$place/program"
}

example_cpp() {
    # shellcheck disable=SC2046,SC2086
    g++ -std=c++17 $warnings $sanitize examples/cpp/*.cpp -o "$place/program" \
        $(pkg-config --cflags --libs matrixe2ee nlohmann_json) && "$place/program" &&
        "$place/program" | grep '^All is as it should be\.$'
}

readme() { tests/readme.sh; }

# Doxygen has nothing to complain about, and finds what is there.
doxygen() {
    tools/doxygen.sh "$place/html" > "$place/words" 2>&1 || return 1
    ! grep . "$place/words" || return 1
    grep -q 'matrixe2ee_account_open' "$place/html/matrixe2ee_8h.html" &&
        grep -q 'ERRORS\.' "$place/html/matrixe2ee_8h.html" &&
        [ -f "$place/html/structmatrixe2ee_1_1SessionExpired.html" ]
}

start=$(date +%s)
"$@" > "$place/log" 2>&1
status=$?
seconds=$(($(date +%s) - start))
if [ $status = 0 ]; then
    echo "ok      $* (${seconds} s)"
    grep '^SKIPPED:' "$place/log"
else
    printf 'FAILED  %s\n%s\n' "$*" "$(tail -40 "$place/log" | sed 's/^/        /')"
fi
rm -rf "$place"
# xargs ends early only for 255.
[ $status = 0 ]

#!/bin/sh
# tsan.sh: the tests that have threads, in Rust and in C, under ThreadSanitizer. The library, Rust's
# standard library, SQLite and the programs in C all tell it what they read and write.
set -u
cd "$(dirname "$0")/.." || exit 1
host=$(rustc -vV | sed -n 's/^host: //p')
export RUSTFLAGS=-Zsanitizer=thread CC=clang CFLAGS='-fsanitize=thread -g1'
# A child that was forked beside other threads goes on, as children of programs do.
export TSAN_OPTIONS="die_after_fork=0 second_deadlock_stack=1 history_size=4"
build="-Zbuild-std --target $host --target-dir target/tsan --locked"

# Of the library's own tests the files that have threads, and every other test that makes some. Not
# tests/crash: it kills processes, which proves nothing here.
own=$(grep -rlE 'thread::' src --include='*.rs' | sed -E 's,^src/(.*)\.rs,\1,; s,/,::,g')
tests=$(grep -lE 'thread::|in_threads' tests/*.rs tests/*/*.rs | sed -E 's,^tests/([a-z_]+)(\.rs|/.*),\1,' |
    grep -vx -e common -e crash -e faults -e c | sort -u | sed 's/^/--test /')
# shellcheck disable=SC2086  # lists
cargo +nightly test $build --lib -- $own faults::shut_down faults::power || exit 1
# shellcheck disable=SC2086
cargo +nightly test $build $tests --test fork || exit 1

# The static library as it is installed. The runtime is Rust's, which is newer than clang's.
# shellcheck disable=SC2086
cargo +nightly rustc $build --lib --crate-type staticlib --no-default-features \
    --features capi,bundled-sqlite,hardened-alloc || exit 1
runtime=$(rustc +nightly --print sysroot)/lib/rustlib/$host/lib/librustc-nightly_rt.tsan.a
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failed=0
for source in $(grep -l pthread tests/c/*.c); do
    name=$(basename "$source" .c)
    # shellcheck disable=SC2046
    clang -std=c11 -D_XOPEN_SOURCE=700 -g -fsanitize=thread -Iinclude -Itests/c \
        $(pkg-config --cflags jansson) -c "$source" -o "$work/$name.o" &&
        clang "$work/$name.o" "target/tsan/$host/debug/libmatrixe2ee.a" \
            -Wl,--whole-archive "$runtime" -Wl,--no-whole-archive -rdynamic \
            $(pkg-config --libs jansson) -lgcc_s -lutil -lrt -lpthread -lresolv -lm -ldl -lc \
            -o "$work/$name" &&
        TMPDIR=$work "$work/$name" && echo "$name in C: no race" || { echo "$name in C FAILED"; failed=1; }
done
exit $failed

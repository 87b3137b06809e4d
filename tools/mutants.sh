#!/bin/sh
# mutants.sh SHARD TESTS [FILE...]: changes one thing at a time in these files, and lists what no test
# notices. SHARD is one part of many, 0/8 to 7/8; TESTS are arguments of cargo test. The lists stay in
# .cache/mutants.out.
set -u
cd "$(dirname "$0")/.." || exit 1
shard=$1 tests=$2
shift 2
[ $# -gt 0 ] ||
    set -- 'src/store/**/*.rs' 'src/sessions/olm/**/*.rs' 'src/sessions/megolm/**/*.rs' 'src/capi/*.rs'
files=
for file in "$@"; do files="$files --file $file"; done
# Not in the tree: what was built for one mutant serves the next.
export CARGO_TARGET_DIR="$PWD/target/mutants"
# Globs are for cargo-mutants. A mutant that goes on for ever is noticed, too.
set -f
# shellcheck disable=SC2086  # lists
exec .cache/cargo-mutants/bin/cargo-mutants mutants $files ${shard:+--shard $shard} --output .cache \
    --cap-lints=true --minimum-test-timeout 300 -- --locked $tests

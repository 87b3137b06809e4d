#!/bin/sh
# fuzz.sh SECONDS [TARGET...]: runs every fuzz target that long, one after the other, and prints a
# table. What crashes is kept in fuzz/artifacts.
set -u
cd "$(dirname "$0")/.." || exit 1
seconds=$1
shift
# Sanitizers and coverage are unstable flags, which a stable compiler takes with this.
export RUSTC_BOOTSTRAP=1
# SQLite comes from another compiler, whose unnamed constants the sanitizer takes for doubles.
export ASAN_OPTIONS=detect_odr_violation=0
fuzz=.cache/cargo-fuzz/bin/cargo-fuzz
logs=.cache/logs
mkdir -p "$logs"
[ $# -gt 0 ] || set -- $("$fuzz" list)

# Without --cfg fuzzing: MACs and signatures are checked, as they are in the library.
"$fuzz" build --no-cfg-fuzzing --target-dir target/fuzz || exit 1
programs=$(dirname target/fuzz/*/release/canonical_json)

table=
crashed=0
for target in "$@"; do
    log=$logs/fuzz-$target.log
    mkdir -p "fuzz/corpus/$target" "fuzz/artifacts/$target"
    echo "$target: $seconds seconds"
    "$programs/$target" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -max_len=16384 \
        -print_final_stats=1 -artifact_prefix="fuzz/artifacts/$target/" \
        "fuzz/corpus/$target" "fuzz/seeds/$target" > "$log" 2>&1
    status=$?
    crashes=0
    if [ $status != 0 ]; then
        crashes=1
        crashed=1
        grep -a -A 3 'panicked at\|^==.*ERROR\|SUMMARY' "$log" | head -20
    fi
    statistic() { sed -n "s/^stat::$1: *//p" "$log" | tail -1; }
    coverage=$(grep -ao 'cov: [0-9]*' "$log" | tail -1 | cut -d ' ' -f 2)
    table="$table$(printf '%-18s %12s %8s %10s %8s' "$target" "$(statistic number_of_executed_units)" \
        "$(statistic average_exec_per_sec)" "${coverage:--}" $crashes)
"
done
printf '\n%-18s %12s %8s %10s %8s\n%s' target executions exec/s coverage crashes "$table"
exit $crashed

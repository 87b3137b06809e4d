#!/usr/bin/env bash
# `make test`: runs the parts of the test suite, two at a time, and says what ran. Linking the library
# keeps one processor busy, and Kotlin and Swift compile alone: so the others have something to do.
# A line that begins with "SKIPPED:" is repeated at the end; with CI=true it is a failure.
set -u
cd "$(dirname "$0")/.." || exit 1
logs=.cache/logs
mkdir -p "$logs"
packages='lib bindings wheel jar swift-package'

# In the order in which they begin; behind each what must have ended before. All make the packages if
# they are asked alone; here that is a part of its own, and two never make the same.
parts=(
    "packages"
    "test-core"
    "test-c packages"
    "test-swift packages"
    "test-kotlin packages"
    "test-python packages"
    "test-languages test-swift test-kotlin test-python"
    "test-bindings packages"
    "test-peers test-core"
    "test-deny"
)

# The limit only ends what hangs: an ordinary run takes a fraction of it.
run() {
    case $1 in
        packages) set -- -k $packages ;;
        *) set -- $(printf -- '-o %s ' $packages) "$1" ;;
    esac
    exec timeout 1800 make --no-print-directory "$@" < /dev/null
}

# report PART STATUS SECONDS: prints what it said, and keeps its line for the end.
report() {
    printf '\n== %s\n' "$1"
    cat "$logs/$1.log"
    local skipped result=passed
    skipped=$(grep -a 'SKIPPED:' "$logs/$1.log")
    if [ "$2" != 0 ]; then
        result="FAILED ($2)"
    elif [ -n "$skipped" ] && [ "${CI:-}" = true ]; then
        result="FAILED: something was skipped"
    fi
    if [ "$result" = passed ]; then passed=$((passed + 1)); else failed=$((failed + 1)); fi
    summary+=("$(printf '%-14s %4d s  %s' "$1" "$3" "$result")")
    [ -z "$skipped" ] || summary+=("$skipped")
}

# ready: the first part that has not begun and waits for nothing.
ready() {
    local part need
    for part in "${parts[@]}"; do
        set -- $part
        [ -z "${begun[$1]:-}" ] || continue
        for need in "${@:2}"; do [ -n "${ended[$need]:-}" ] || continue 2; done
        echo "$1"
        return
    done
}

# Jobs in process groups of their own: Ctrl-C ends them here, and is not ignored in them.
set -m
trap 'for job in $(jobs -p); do kill -- -"$job" 2> /dev/null; done' EXIT
trap 'exit 130' INT TERM

# Mostly a download, which takes minutes: the packages wait for it.
tools/swift.sh --install > "$logs/swift.log" 2>&1 < /dev/null &

declare -A begun=() ended=() name_of=()
passed=0
failed=0
summary=()
running=0
while [ ${#ended[@]} -lt ${#parts[@]} ]; do
    part=$(ready)
    if [ $running -lt 2 ] && [ -n "$part" ]; then
        echo "$part begins"
        begun[$part]=$SECONDS
        run "$part" > "$logs/$part.log" 2>&1 &
        name_of[$!]=$part
        running=$((running + 1))
        continue
    fi
    wait -n -p job
    status=$?
    part=${name_of[$job]:-}
    [ -n "$part" ] || continue
    ended[$part]=yes
    running=$((running - 1))
    report "$part" $status $((SECONDS - begun[$part]))
done

printf '\n== What ran\n'
printf '%s\n' "${summary[@]}"
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]

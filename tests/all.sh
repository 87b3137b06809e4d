#!/usr/bin/env bash
# `make test`: runs the parts of the test suite one after the other and says what ran.
# A line that begins with "SKIPPED:" is repeated at the end; with CI=true it is a failure.
set -u
cd "$(dirname "$0")/.." || exit 1
logs=.cache/logs
mkdir -p "$logs"
passed=0
failed=0
summary=()

# Mostly a download, which takes minutes: test-swift waits for it.
tools/swift.sh --install > "$logs/swift.log" 2>&1 &

for part in test-core test-c test-bindings test-python test-kotlin test-swift test-languages \
    test-peers test-deny; do
    printf '\n== make %s\n' "$part"
    start=$SECONDS
    # The limit only ends what hangs: an ordinary run takes a fraction of it.
    timeout --foreground 1800 make --no-print-directory "$part" 2>&1 | tee "$logs/$part.log"
    status=${PIPESTATUS[0]}
    skipped=$(grep -a 'SKIPPED:' "$logs/$part.log")
    if [ "$status" != 0 ]; then
        result="FAILED ($status)"
    elif [ -n "$skipped" ] && [ "${CI:-}" = true ]; then
        result="FAILED: something was skipped"
    else
        result=passed
    fi
    if [ "$result" = passed ]; then passed=$((passed + 1)); else failed=$((failed + 1)); fi
    summary+=("$(printf '%-14s %4d s  %s' "$part" $((SECONDS - start)) "$result")")
    [ -n "$skipped" ] && summary+=("$skipped")
done

printf '\n== What ran\n'
printf '%s\n' "${summary[@]}"
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]

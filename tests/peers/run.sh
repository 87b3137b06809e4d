#!/bin/sh
# Runs tests/peers.rs against the live libraries. PEER_SEED=<number> repeats a run.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
export MATRIXE2EE_PEERS="${MATRIXE2EE_PEERS:-$here/../../.cache/peers}"
"$here/setup.sh" "$MATRIXE2EE_PEERS"
MATRIXE2EE_PEERS=$(cd "$MATRIXE2EE_PEERS" && pwd)
cd "$here/../.."
exec cargo test --locked --test peers "$@"

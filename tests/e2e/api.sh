#!/usr/bin/env bash
# Tests the API against its description: schemathesis sends requests that the description allows, and others.
set -euo pipefail
cd "$(dirname "$0")/../.."

binary=${1:?usage: tests/e2e/api.sh BINARY}
st=${ST:-target/venv/bin/st}

export PORT=18090 ADMIN_ADDRESS=127.0.0.1:18091 SEED=1 POD_NAME=web-0 LIVENESS_FAILURE_RATE=20 LOG_LEVEL=warn
log=$(mktemp)
"$binary" >"$log" 2>&1 &
service=$!
trap 'kill "$service" 2>/dev/null || true; rm -f "$log"' EXIT
for _ in $(seq 50); do
  curl -sf "http://$ADMIN_ADDRESS/healthz" >/dev/null && break
  sleep 0.1
done

SCHEMATHESIS_HOOKS=tests/e2e/api_hooks.py "$st" run "http://$ADMIN_ADDRESS/openapi.json" --seed 7 --max-examples "${EXAMPLES:-60}" --no-color

# Afterwards, the service still works and can be reset.
curl -sf "http://$ADMIN_ADDRESS/metrics" >/dev/null
curl -sf -X POST "http://$ADMIN_ADDRESS/v1/reset" >/dev/null
[ "$(curl -s "http://$ADMIN_ADDRESS/v1/faults" | grep -o '"name":"[a-z-]*"')" = '"name":"liveness-rate"' ]
if grep -q panicked "$log"; then
  cat "$log" >&2
  exit 1
fi
echo "the API holds"

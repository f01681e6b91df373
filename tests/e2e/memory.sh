#!/usr/bin/env bash
# Tries to kill a container by filling its memory, at 16, 32 and 64 MiB, and fails if it dies or stops answering.
#   tests/e2e/memory.sh BINARY [ATTACKS]
set -euo pipefail
cd "$(dirname "$0")/../.."
PATH="$PATH:/usr/sbin"
binary=$1
image=localhost/kube-probesim:memory-test
name=probesim-memory-test-$$
port=${MEMORY_TEST_PORT:-18480} admin=$((${MEMORY_TEST_PORT:-18480} + 1))
attacks=${2:-$(python3 tests/e2e/attacks.py list)}
SECONDS_EACH=${MEMORY_TEST_SECONDS:-6}

remove() { podman rm --force --time 0 "$name" >/dev/null 2>&1 || true; }
context=$(mktemp -d)
trap 'remove; rm -rf "$context"' EXIT
cp "$binary" "$context/kube-probesim"
printf 'FROM scratch\nCOPY kube-probesim /\nENTRYPOINT ["/kube-probesim"]\n' >"$context/Dockerfile"
podman build --quiet -t "$image" "$context" >/dev/null

failed=0
printf '%-18s %4s %9s %-6s %-34s %s\n' attack MiB peak-KiB alive refused answered
for memory in ${MEMORY_TEST_SIZES:-16 32 64}; do
  for attack in $attacks; do
    python3 tests/e2e/attacks.py "$attack" "$port" "$context"
    remove
    podman --runtime "$(command -v runc)" run --detach --name "$name" --network host \
      --ulimit nofile=1024:1024 --ulimit nproc=4096:4096 --memory "${memory}m" --memory-swap "${memory}m" \
      --volume "$context/faults.json:/faults.json:ro" --env-file "$context/environment" "$image" >/dev/null
    started=false
    for _ in $(seq 100); do
      curl --silent --fail --max-time 1 --output /dev/null "http://127.0.0.1:$admin/healthz" && started=true && break
      sleep 0.05
    done
    [ "$started" = true ] || { podman logs "$name" 2>&1 | tail -3; echo "it does not start" >&2; exit 1; }
    # An attack on rules that were refused would prove nothing.
    in_force=$(curl --silent --max-time 5 "http://127.0.0.1:$admin/v1/state" | grep -o '"name":"' | wc -l)
    [ "$in_force" -ge "$(grep -o '"name":' "$context/faults.json" | wc -l)" ] || { podman logs "$name" 2>&1 | grep WARN | cut -c -300; echo "the rules are not in force" >&2; exit 1; }
    pid=$(podman inspect --format '{{.State.Pid}}' "$name")
    group=$(awk -F: '$2 == "memory" {print "/sys/fs/cgroup/memory" $3 "/memory.max_usage_in_bytes"}
                     $1 == 0 && $2 == "" {print "/sys/fs/cgroup" $3 "/memory.peak"}' "/proc/$pid/cgroup" | head -1)
    result=ok
    answered=$(python3 tests/e2e/memory.py "$attack" "$port" "$SECONDS_EACH") || result=failed
    peak=$(cat "$group" 2>/dev/null || echo 0)
    refused=$(curl --silent --max-time 5 "http://127.0.0.1:$admin/metrics" |
      sed -n 's/^probesim_limits_hit_total{limit="\(.*\)"} \([1-9].*\)/\1=\2/p' | paste -sd, || true)
    alive=$(podman inspect --format '{{.State.Running}}' "$name")
    [ "$alive" = true ] || result=failed
    printf '%-18s %4s %9s %-6s %-34s %s\n' "$attack" "$memory" "$((peak / 1024))" "$alive" "${refused:--}" "$answered"
    [ "$result" = ok ] || failed=$((failed + 1))
  done
done
[ "$failed" = 0 ] || { echo "FAILED: $failed attacks killed or silenced it" >&2; exit 1; }

#!/usr/bin/env bash
# Builds the image from a static binary, and runs it as a cluster would: read-only, without capabilities, as any user, in
# 16 MiB.
#   tests/e2e/container.sh BINARY
set -euo pipefail
cd "$(dirname "$0")/../.."
PATH="$PATH:/usr/sbin"
binary=$1
image=localhost/kube-probesim:test
name=probesim-test
port=18080 admin=18081
MOST_BYTES=7450000
MOST_RESIDENT_KIB=3840

say() { printf -- '--- %s\n' "$*"; }
fail() { printf 'FAILED: %s\n' "$*" >&2; podman logs "$name" >&2 2>/dev/null || true; exit 1; }
remove() { podman rm --force --time 0 "$name" >/dev/null 2>&1 || true; }
trap remove EXIT

# runc, limits that an unprivileged container may have, and the host's network, since not every host can create another.
start() {
  remove
  podman --runtime "$(command -v runc)" run --detach --name "$name" --network host \
    --ulimit nofile=4096:4096 --ulimit nproc=4096:4096 \
    --read-only --cap-drop=ALL --security-opt no-new-privileges --user 12345 --memory 16m \
    --env PORT="$port" --env ADMIN_ADDRESS="127.0.0.1:$admin" "$@" "$image" >/dev/null
  for _ in $(seq 200); do
    curl --silent --fail --max-time 1 --output /dev/null "http://127.0.0.1:$admin/healthz" && return
    sleep 0.05
  done
  fail "it does not start"
}
status() { curl --silent --max-time 5 --output /dev/null --write-out '%{http_code}' "http://127.0.0.1:$port$1" || true; }
code() { local code=0; curl --silent --max-time "${2:-2}" --output /dev/null "http://127.0.0.1:$port$1" || code=$?; echo "$code"; }
metric() { curl --silent --max-time 5 "http://127.0.0.1:$admin/metrics" | awk -v name="$1" 'index($0, name) == 1 {sum += $NF} END {print sum + 0}'; }
expect() { [ "$2" = "$3" ] || fail "$1: $3 instead of $2"; }
# Stops it and prints how many milliseconds that took.
stop() {
  local began; began=$(date +%s%N)
  podman kill --signal TERM "$name" >/dev/null
  timeout 30 podman wait "$name" >/dev/null || fail "it does not stop"
  echo $((($(date +%s%N) - began) / 1000000))
}

say "the image holds one file and says what it is"
case "$(uname -m)" in x86_64) arch=amd64 ;; aarch64) arch=arm64 ;; *) fail "no image for $(uname -m)" ;; esac
mkdir -p dist
cp "$binary" "dist/kube-probesim-$arch"
podman build --quiet --target prebuilt --platform "linux/$arch" --build-arg VERSION=0.1.0 -t "$image" . >/dev/null
files=$(podman save --format docker-archive "$image" | tar -xO --wildcards '*.tar' | tar -t 2>/dev/null | grep -v '/$' | sort -u)
expect "files" "kube-probesim" "$files"
expect "user" "65532:65532" "$(podman inspect --format '{{.Config.User}}' "$image")"
expect "label" "kube-probesim" "$(podman inspect --format '{{index .Config.Labels "org.opencontainers.image.title"}}' "$image")"
bytes=$(stat -c %s "$binary")
[ "$bytes" -le "$MOST_BYTES" ] || fail "the binary has $bytes bytes, more than $MOST_BYTES"

say "it serves under the restrictions of the manifest"
start --env FAILURE_RATE=0
for path in /healthz /readyz /startupz /dependency /metrics /; do expect "$path" 200 "$(status "$path")"; done
resident=$(metric process_resident_memory_bytes)
[ $((resident / 1024)) -le "$MOST_RESIDENT_KIB" ] || fail "idle, $resident bytes are resident"
# Lone connections cost about 4 page faults each, since musl's malloc unmaps what each one frees.
pid=$(podman inspect --format '{{.State.Pid}}' "$name")
faults() { awk '{print $10}' "/proc/$pid/stat"; }
connect() { for _ in $(seq "$1"); do status /healthz >/dev/null; done; }
connect 150
before=$(faults)
connect 100
faulted=$(($(faults) - before))
[ "$faulted" -lt 600 ] || fail "100 connections, one after the other, cost $faulted page faults"
took=$(stop)
[ "$took" -lt 1000 ] || fail "idle, it took $took ms to stop"
expect "exit code" 0 "$(podman inspect --format '{{.State.ExitCode}}' "$name")"
expect "killed for memory" false "$(podman inspect --format '{{.State.OOMKilled}}' "$name")"
printf 'binary %s bytes, resident when idle %s bytes, %s page faults of 100 connections, stopped in %s ms\n' \
  "$bytes" "$resident" "$faulted" "$took"

say "more connections than fit into 16 MiB are refused and counted, and nothing is killed"
start --env LATENCY=2000
python3 - "$port" <<'PYTHON'
import socket, sys, time
sockets = []
for _ in range(2000):
    try:
        one = socket.create_connection(("127.0.0.1", int(sys.argv[1])), 2)
        one.sendall(b"GET /healthz HTTP/1.1\r\nhost: a\r\n\r\n")
        sockets.append(one)
    except OSError:
        pass
time.sleep(3)
answered = 0
for one in sockets:
    one.settimeout(0.1)
    try:
        answered += one.recv(12) == b"HTTP/1.1 200"
    except OSError:
        pass
print(f"{answered} of {len(sockets)} were answered")
sys.exit(0 if answered >= 200 else 1)
PYTHON
[ "$(metric 'probesim_limits_hit_total{limit="memory"}')" -ge 500 ] || fail "the excess was not refused"
expect "after the crowd" 200 "$(status /healthz)"
expect "killed for memory" false "$(podman inspect --format '{{.State.OOMKilled}}' "$name")"
took=$(stop)

say "clients that do not read their metrics are cut off, and nothing is killed"
rules=$(for i in $(seq 500); do printf '{"name": "rule-%s", "target": "startup", "mode": "status"},' "$i"; done)
start --env FAULTS="{\"faults\": [${rules%,}]}" --env IDLE_TIMEOUT=2
python3 - "$port" <<'PYTHON'
import socket, sys, time
sockets = []
for path in 200 * [b"/metrics", b"/"]:
    one = socket.socket()
    # Segments as on a network: over loopback, a whole answer would arrive at once.
    one.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 1400)
    one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2304)
    one.settimeout(2)
    try:
        one.connect(("127.0.0.1", int(sys.argv[1])))
        one.sendall(b"GET " + path + b" HTTP/1.1\r\nhost: a\r\n\r\n")
        sockets.append(one)
    except OSError:
        pass
time.sleep(5)
PYTHON
expect "after those who do not read" 200 "$(status /healthz)"
[ "$(metric 'probesim_limits_hit_total{limit="write_time"}')" -ge 30 ] || fail "clients that do not read were not cut off"
expect "killed for memory" false "$(podman inspect --format '{{.State.OOMKilled}}' "$name")"
took=$(stop)

say "it stops within a second while 100 requests are delayed for a minute"
start --env LATENCY=60000
for _ in $(seq 100); do curl --silent --max-time 30 --output /dev/null "http://127.0.0.1:$port/healthz" & done
for _ in $(seq 200); do [ "$(metric probesim_connections)" -ge 100 ] && break; sleep 0.05; done
[ "$(metric probesim_connections)" -ge 100 ] || fail "the requests are not under way"
took=$(stop)
wait
[ "$took" -lt 1000 ] || fail "it took $took ms to stop"
printf 'stopped in %s ms\n' "$took"

say "a partition drops, and heals, without a capability"
start --env PARTITION_MODE=drop --env PARTITION_AFTER=2s --env PARTITION_FOR=4s
expect "before" 0 "$(code /healthz)"
for _ in $(seq 200); do [ "$(metric probesim_listener_up)" = 0 ] && break; sleep 0.05; done
expect "curl while it is cut" 28 "$(code /healthz 1)"
for _ in $(seq 200); do [ "$(metric probesim_listener_up)" = 1 ] && break; sleep 0.05; done
expect "after" 0 "$(code /healthz 5)"
took=$(stop)
[ "$took" -lt 1000 ] || fail "it took $took ms to stop"

say "bad configuration ends it with code 78"
remove
actual=0
podman --runtime "$(command -v runc)" run --rm --name "$name" --network host --ulimit nofile=1024:1024 \
  --ulimit nproc=4096:4096 --env FAILURE_RATE=120 "$image" >/dev/null 2>&1 || actual=$?
expect "exit code" 78 "$actual"

say "promtool accepts the metrics"
start --env FAILURE_RATE=50 --env LATENCY=5 --env DISCONNECT_AFTER=30
status /healthz >/dev/null
curl --silent "http://127.0.0.1:$admin/metrics" | promtool check metrics
stop >/dev/null

say "all is well"

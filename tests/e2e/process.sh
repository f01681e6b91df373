#!/usr/bin/env bash
# Faults of the process in a container, as a cluster would run it: read-only, without capabilities, as any user.
#   tests/e2e/process.sh BINARY
set -euo pipefail
cd "$(dirname "$0")/../.."
PATH="$PATH:/usr/sbin:/sbin"
binary=$1
image=localhost/kube-probesim:process-test
name=probesim-process-test
port=18090 admin=18091
work=$(mktemp -d)

say() { printf -- '--- %s\n' "$*"; }
fail() { printf 'FAILED: %s\n' "$*" >&2; podman logs "$name" >&2 2>/dev/null | tail -20 || true; exit 1; }
remove() { podman rm --force --time 0 "$name" >/dev/null 2>&1 || true; }
clean() {
  remove
  mountpoint --quiet "$work/volume" 2>/dev/null && umount "$work/volume"
  rm -rf "$work"
}
trap clean EXIT

run() {
  remove
  podman --runtime "$(command -v runc)" run --detach --name "$name" --network host \
    --ulimit nofile=1024:1024 --ulimit nproc=4096:4096 \
    --read-only --cap-drop=ALL --security-opt no-new-privileges --user 12345 \
    --env PORT="$port" --env ADMIN_ADDRESS="127.0.0.1:$admin" "$@" >/dev/null
}
ready() {
  for _ in $(seq 200); do
    curl --silent --fail --max-time 1 --output /dev/null "http://127.0.0.1:$admin/healthz" && return
    sleep 0.05
  done
  fail "it does not start"
}
metric() { curl --silent --max-time 5 "http://127.0.0.1:$admin/metrics" | awk -v name="$1" 'index($0, name) == 1 {sum += $NF} END {printf "%.0f", sum}'; }
status() { curl --silent --max-time 2 --output /dev/null --write-out '%{http_code}' "http://127.0.0.1:$port$1" || true; }
state() { podman inspect --format "{{.State.$1}}" "$name"; }
expect() { [ "$2" = "$3" ] || fail "$1: $3 instead of $2"; }
# Waits for the end, and prints the exit code.
wait_for_end() { timeout 60 podman wait "$name" || fail "it does not end"; }
# Milliseconds between start and end, as the runtime reports them.
lifetime() { echo $((($(date --date "$(state FinishedAt | cut -d' ' -f1-3)" +%s%N) - $(date --date "$(state StartedAt | cut -d' ' -f1-3)" +%s%N)) / 1000000)); }
within() { awk -v got="$2" -v want="$3" -v percent="$4" 'BEGIN {exit !(got >= want * (1 - percent / 100) && got <= want * (1 + percent / 100))}' || fail "$1: $2, not within $4 % of $3"; }
logged() { podman logs "$name" >"$work/log" 2>&1; grep -q "$1" "$work/log"; }
fault() { podman exec "$name" /kube-probesim fault "$@" --admin "127.0.0.1:$admin" >/dev/null; }

case "$(uname -m)" in x86_64) arch=amd64 ;; aarch64) arch=arm64 ;; *) fail "no image for $(uname -m)" ;; esac
mkdir -p dist
cp "$binary" "dist/kube-probesim-$arch"
podman build --quiet --target prebuilt --platform "linux/$arch" --build-arg VERSION=0.1.0 -t "$image" . >/dev/null

say "exit and abort end the container with their codes, as PID 1 and not"
for init in "" --init; do
  # Without podman's init program, it can only run as PID 1.
  [ -z "$init" ] || [ -x /usr/libexec/podman/catatonit ] || continue
  # shellcheck disable=SC2086
  run $init --env EXIT_AFTER=1 --env EXIT_CODE=3 "$image"
  expect "exit code ${init:-as PID 1}" 3 "$(wait_for_end)"
  # shellcheck disable=SC2086
  run $init --env FAULTS='faults: [{name: a, target: process, mode: abort, when: {after: 500ms}}]' "$image"
  expect "abort ${init:-as PID 1}" 134 "$(wait_for_end)"
done
run --env EXIT_AFTER=1 --env EXIT_CODE=0 "$image"
expect "exit code" 0 "$(wait_for_end)"
logged '"total of a rule"' || fail "its totals are not in the log"

say "memory beyond the limit is an OOM kill at the asked time"
run --memory 64m --memory-swap 64m --env MEMORY_SIZE=150% --env MEMORY_AFTER=8 "$image"
# Not every runtime reports OOMKilled. Nothing else sends SIGKILL here.
expect "exit code" 137 "$(wait_for_end)"
took=$(lifetime)
within "milliseconds until the OOM kill" "$took" 8000 10
logged '150% of the container' || fail "the log does not say so before"
printf 'killed after %s ms of 8000\n' "$took"

say "memory below the limit is really there, answered beside, and given back"
run --memory 64m --memory-swap 64m --env MEMORY_SIZE=60% --env MEMORY_RAMP=3 --env MEMORY_FOR=8 "$image"
ready
for _ in $(seq 160); do [ "$(metric probesim_process_memory_bytes)" -ge 40000000 ] && break; sleep 0.05; done
held=$(metric probesim_process_memory_bytes) resident=$(metric process_resident_memory_bytes)
expect "bytes held" 40265318 "$held"
[ "$resident" -ge "$held" ] || fail "$held bytes are held, and $resident are resident"
for path in /healthz /readyz /startupz; do expect "$path" 200 "$(status "$path")"; done
for _ in $(seq 160); do [ "$(metric probesim_process_memory_bytes)" = 0 ] && break; sleep 0.05; done
after=$(metric process_resident_memory_bytes)
[ "$after" -lt $((resident - held + 2000000)) ] || fail "$after bytes of $resident stay resident"
printf 'resident: %s bytes with %s held, %s after\n' "$resident" "$held" "$after"

say "stop and rm give memory and CPU time back within a second, those of the environment too"
run --memory 64m --memory-swap 64m --env MEMORY_SIZE=30MiB --env CPU_CORES=0.2 "$image"
ready
for _ in $(seq 100); do [ "$(metric probesim_process_memory_bytes)" -ge 31457280 ] && break; sleep 0.05; done
resident=$(metric process_resident_memory_bytes)
fault rm process-cpu
sleep 0.9
expect "CPU after rm" 0 "$(metric 'probesim_process_cpu_cores')"
fault stop
sleep 0.9
expect "memory after stop" 0 "$(metric probesim_process_memory_bytes)"
[ "$(metric process_resident_memory_bytes)" -lt $((resident - 31457280 + 2000000)) ] || fail "the memory stays resident"

say "CPU time is burnt as asked, within 5 % over 10 s"
run --env CPU_CORES=0.5 "$image"
ready
sleep 1
seconds() { curl --silent --max-time 5 "http://127.0.0.1:$admin/metrics" | awk '$1 == "process_cpu_seconds_total" {print $2}'; }
began=$(date +%s%N) before=$(seconds)
sleep 10
ended=$(date +%s%N) after=$(seconds)
cores=$(awk -v a="$before" -v b="$after" -v t=$((ended - began)) 'BEGIN {printf "%.3f", (b - a) / (t / 1e9)}')
within "cores" "$cores" 0.5 5
printf 'burnt %s cores of 0.5\n' "$cores"

say "SIGTERM is ignored, and then comes SIGKILL"
run --env IGNORE_TERM=true "$image"
ready
began=$(date +%s%N)
podman stop --time 3 "$name" >/dev/null 2>&1
took=$((($(date +%s%N) - began) / 1000000))
expect "exit code" 137 "$(state ExitCode)"
[ "$took" -ge 2900 ] || fail "it was killed after $took ms"
logged 'SIGTERM is ignored' || fail "the log does not say so"

say "a slow end takes its time"
run --env SLOW_TERM=2 "$image"
ready
podman stop --time 10 "$name" >/dev/null
expect "exit code" 0 "$(state ExitCode)"

say "without file descriptors, connections wait and the admin listener answers"
run --env FAULTS='faults: [{name: a, target: process, mode: fds, when: {after: 2s, for: 4s}}]' "$image"
ready
expect "before" 200 "$(status /healthz)"
for _ in $(seq 100); do [ "$(metric process_open_fds)" -ge 800 ] && break; sleep 0.05; done
[ "$(metric process_open_fds)" -ge 800 ] || fail "the descriptors are not held"
expect "while they are held" 000 "$(status /healthz)"
for _ in $(seq 160); do [ "$(metric process_open_fds)" -lt 100 ] && break; sleep 0.05; done
expect "after" 200 "$(status /healthz)"

say "a volume is filled, and freed at the window's end, and at the next start after a kill"
truncate --size 128M "$work/image"
mkfs.ext4 -q "$work/image"
mkdir "$work/volume"
mount -o loop "$work/image" "$work/volume"
chmod 777 "$work/volume"
used() { df --output=used --block-size=1 "$work/volume" | tail -1 | tr -d ' '; }
empty=$(used)
run --volume "$work/volume:/scratch" \
  --env FAULTS='faults: [{name: a, target: process, mode: disk, path: /scratch, size: 40MiB, when: {after: 500ms, for: 3s}}]' "$image"
ready
for _ in $(seq 100); do [ "$(metric probesim_process_disk_bytes)" = 41943040 ] && break; sleep 0.05; done
[ $(($(used) - empty)) -ge 41943040 ] || fail "the volume is not filled"
for _ in $(seq 100); do [ "$(metric probesim_process_disk_bytes)" = 0 ] && break; sleep 0.05; done
sleep 0.2
[ $(($(used) - empty)) -lt 1000000 ] || fail "the volume is not freed at the window's end"
run --volume "$work/volume:/scratch" \
  --env FAULTS='faults: [{name: a, target: process, mode: disk, path: /scratch, size: 200MiB, when: {starts: {for: 1}}}]' \
  --env STATE_DIR=/state --tmpfs /state:mode=1777 "$image"
ready
for _ in $(seq 100); do logged 'does not grow' && break; sleep 0.05; done
logged 'a fifth of the volume' || fail "it did not stop in time"
free=$(df --output=pcent "$work/volume" | tail -1 | tr -d ' %')
[ "$free" -le 85 ] || fail "$free % of the volume are used"
touch "$work/volume/data"
podman kill --signal KILL "$name" >/dev/null
wait_for_end >/dev/null
[ $(($(used) - empty)) -ge 16000000 ] || fail "the kill left nothing"
run --volume "$work/volume:/scratch" "$image"
ready
for _ in $(seq 60); do [ $(($(used) - empty)) -lt 1000000 ] && break; sleep 0.05; done
[ $(($(used) - empty)) -lt 1000000 ] || fail "the next start did not free the volume"
[ -e "$work/volume/data" ] || fail "it removed more than its own file"

say "what a container cannot bear prevents its start and names the field"
refused() {
  local code=0 text
  text=$(podman --runtime "$(command -v runc)" run --rm --network host --ulimit nofile=1024:1024 --ulimit nproc=4096:4096 \
    --read-only --cap-drop=ALL --user 12345 "${@:2}" "$image" 2>&1) || code=$?
  expect "exit code" 78 "$code"
  grep -qF "$1" <<<"$text" || fail "$text does not say $1"
}
refused 'MEMORY_SIZE' --env MEMORY_SIZE=80%
refused 'allow_node_pressure' --env MEMORY_SIZE=300MiB
refused 'CPU_CORES' --env CPU_CORES=500
chmod 755 "$work/volume"
refused 'is not writable' --volume "$work/volume:/scratch" \
  --env FAULTS='faults: [{name: a, target: process, mode: disk, path: /scratch, size: 1MiB}]'

say "all is well"

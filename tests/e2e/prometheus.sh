#!/usr/bin/env bash
# Scrapes a drill in the image, under the restrictions of the manifest, with a real Prometheus, and compares its counts
# with those of real clients.
#   tests/e2e/prometheus.sh BINARY
# PICTURE=FILE draws the drill there.
set -euo pipefail
cd "$(dirname "$0")/../.."
PATH="$PATH:/usr/sbin"
binary=$1
image=localhost/kube-probesim:test
name=probesim-drill
port=18180 admin=18181 prometheus=18190
server=http://127.0.0.1:$prometheus
rules=manifests/components/monitoring
# The rate and the duration of requests.
SECONDS_OF_LOAD=32 PER_SECOND=10
KUBELET=kube-probe/1.30 OTHER=curl
work=$(mktemp -d)
watching=

say() { printf -- '--- %s\n' "$*"; }
fail() {
  printf 'FAILED: %s\n' "$*" >&2
  podman logs "$name" 2>&1 | tail -n 20 >&2 || true
  tail -n 20 "$work/prometheus.log" >&2 || true
  exit 1
}
end() {
  podman rm --force --time 0 "$name" >/dev/null 2>&1 || true
  [ -z "$watching" ] || kill "$watching" 2>/dev/null || true
  wait
  rm -rf "$work"
}
trap end EXIT
expect() { [ "$2" = "$3" ] || fail "$1: $3 instead of $2"; }
# Tries a command every half second, for at most the given number of seconds.
eventually() {
  local until=$((SECONDS + $1)); shift
  until "$@"; do
    [ "$SECONDS" -lt "$until" ] || return 1
    sleep 0.5
  done
}
reaches() { curl --silent --fail --max-time 1 --output /dev/null "$1"; }
# The answer of Prometheus, one line per series: the values of its labels in the order of their names, then the number.
ask() {
  promtool query instant "$server" "$1" |
    sed -E 's/^[^{]*\{?([^}]*)\}? => ([^ ]+) @.*/\1 \2/; s/[a-z_]+="([^"]*)",?/\1/g; s/^ +//' | sort
}
knows_target() { [ -n "$(ask up)" ]; }
firing() { [ -n "$(ask "ALERTS{alertname=\"$1\", alertstate=\"firing\"$2}")" ]; }
silent() { ! firing "$@"; }
# The first of these files that the container's cgroup has, in version 1 or 2.
memory() {
  local pid group file
  pid=$(podman inspect --format '{{.State.Pid}}' "$name")
  group=$(awk -F: '$2 == "memory" {print "/sys/fs/cgroup/memory" $3; found = 1} $1 == 0 && !found {print "/sys/fs/cgroup" $3}' \
    "/proc/$pid/cgroup" | head -n 1)
  # Some runtimes put the process one below the group with the limit.
  group=${group%/container}
  for file in "$@"; do
    if [ -r "$group/$file" ]; then cat "$group/$file"; return; fi
  done
  fail "there is none of $* in $group"
}

say "the rules pass their own tests"
promtool check rules "$rules/rules.yaml"
promtool test rules tests/e2e/monitoring/rules_test.yaml

say "Prometheus starts, with the rules in short times"
sed -E 's/^( *for: ).*/\12s/; s/\[[0-9]+m\]/[10s]/g; s/offset [0-9]+m/offset 10s/' "$rules/rules.yaml" >"$work/rules.yaml"
cat >"$work/prometheus.yaml" <<EOF
global: {scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s}
rule_files: [$work/rules.yaml]
scrape_configs:
  - job_name: drill
    static_configs:
      - targets: ["127.0.0.1:$admin"]
        labels: {namespace: drill, pod: probesim-0, container: probesim}
EOF
promtool check config "$work/prometheus.yaml" >/dev/null
prometheus --config.file "$work/prometheus.yaml" --storage.tsdb.path "$work/data" --web.listen-address "127.0.0.1:$prometheus" \
  --log.level warn >"$work/prometheus.log" 2>&1 &
watching=$!
eventually 30 reaches "$server/-/ready" || fail "Prometheus does not start"

say "the image starts under the restrictions of the manifest, as any user"
case "$(uname -m)" in x86_64) arch=amd64 ;; aarch64) arch=arm64 ;; *) fail "no image for $(uname -m)" ;; esac
mkdir -p dist
cp "$binary" "dist/kube-probesim-$arch"
podman build --quiet --target prebuilt --platform "linux/$arch" -t "$image" . >/dev/null
# Prometheus looks for new targets only every five seconds.
eventually 30 knows_target || fail "Prometheus does not know its target"
podman rm --force --time 0 "$name" >/dev/null 2>&1 || true
user=$((20000 + RANDOM))
# Liveness fails for 12 s, a random 20 % of readiness fail, four startup requests of each client hang, and a random 10 % of
# the traffic is reset.
podman --runtime "$(command -v runc)" run --detach --name "$name" --network host \
  --ulimit nofile=4096:4096 --ulimit nproc=4096:4096 \
  --read-only --cap-drop=ALL --security-opt no-new-privileges --user "$user:$user" --memory 16m \
  --env PORT="$port" --env ADMIN_ADDRESS="127.0.0.1:$admin" --env SEED=42 \
  --env LIVENESS_FAIL_AFTER_TIME=10s --env LIVENESS_FAIL_FOR=12s --env LIVENESS_FAILURE_STATUS=503 \
  --env READINESS_FAILURE_RATE=20 \
  --env STARTUP_FAIL_AFTER_REQUESTS=10 --env STARTUP_FAIL_REQUESTS=4 --env STARTUP_FAILURE_MODE=hang \
  --env TRAFFIC_PATHS='/api/*' --env TRAFFIC_FAILURE_RATE=10 --env TRAFFIC_FAILURE_MODE=reset --env TRAFFIC_LATENCY=20 \
  "$image" >/dev/null
began=$(date +%s)
eventually 30 reaches "http://127.0.0.1:$admin/healthz" || fail "it does not start"
pid=$(podman inspect --format '{{.State.Pid}}' "$name")
for pair in "Uid:$user" NoNewPrivs:1 Seccomp:2 CapEff:0000000000000000; do
  expect "${pair%%:*}" "${pair##*:}" "$(awk -v key="${pair%%:*}:" '$1 == key {print $2}' "/proc/$pid/status")"
done

# One line per request: target, client, status code (none without an answer) and fault.
load() {
  local target=$1 client=$2 path=$3 count=$4 agent=$OTHER
  [ "$client" = other ] || agent=$KUBELET
  # One connection per request: on a kept one, curl would retry after a reset.
  { timeout 120 curl --silent --globoff --rate "$PER_SECOND/s" --max-time 3 --user-agent "$agent" --header 'Connection: close' \
    --output /dev/null --write-out "%{http_code} %header{x-probesim-fault}\n" --config - || true; } \
    < <(for _ in $(seq "$count"); do printf 'url = "http://127.0.0.1:%s%s"\noutput = /dev/null\n' "$port" "$path"; done) |
    while read -r code fault; do
      if [ "$code" = 000 ]; then
        code=none
        case "$target" in startup) fault=startup-requests ;; traffic) fault=traffic-rate ;; *) fault=unexpected ;; esac
      fi
      echo "$target $client $code $fault"
    done >"$work/load-$target-$client"
}
# An exec probe per second; its exit code tells the result.
exec_probes() {
  local code
  for _ in $(seq "$SECONDS_OF_LOAD"); do
    sleep 1 &
    code=0
    podman exec "$name" /kube-probesim probe readiness --timeout 5s >/dev/null 2>&1 || code=$?
    case "$code" in
      0) echo "readiness kubelet 200" ;;
      1) echo "readiness kubelet 500 readiness-rate" ;;
      *) echo "readiness kubelet exit-$code" ;;
    esac
    wait $!
  done >"$work/load-exec"
}

say "clients of both kinds send requests, an exec probe runs each second"
requests=$((SECONDS_OF_LOAD * PER_SECOND))
clients=()
for client in kubelet other; do
  load liveness "$client" /healthz "$requests" & clients+=($!)
  load readiness "$client" /readyz "$requests" & clients+=($!)
  load startup "$client" /startupz 40 & clients+=($!)
done
load traffic other /api/orders "$requests" & clients+=($!)
exec_probes & clients+=($!)

eventually 40 firing ProbesimTargetDown ', target="liveness"' || fail "the alert does not fire"
printf 'liveness is down: the alert fires, %s s after the start\n' $(($(date +%s) - began))
eventually 60 silent ProbesimTargetDown "" || fail "the alert does not resolve"
printf 'liveness is back: the alert has resolved, %s s after the start\n' $(($(date +%s) - began))
wait "${clients[@]}"

say "Prometheus counted what the clients counted"
cat "$work"/load-* >"$work/load"
sent=$(wc -l <"$work/load")
expect "requests" $((5 * requests + 2 * 40 + SECONDS_OF_LOAD)) "$sent"
# Results of the clients, in the format of Prometheus' answers.
# shellcheck disable=SC2016 # The expressions are those of awk.
seen() { awk "$1" "$work/load" | sort | uniq -c | awk '{print $2, $3, $4, $1}' | tr -s ' ' | sed 's/^ //' | sort; }
# shellcheck disable=SC2016
seen '{print $2, $3, $1}' >"$work/by-code"
# A delayed answer carries its delay, unless it also failed; all traffic was delayed.
# shellcheck disable=SC2016
{ seen '$4 && $4 != "traffic-latency" {print $4}'; awk '$1 == "traffic"' "$work/load" | wc -l | sed 's/^/traffic-latency /'; } | tr -s ' ' | sort >"$work/by-fault"
# shellcheck disable=SC2016
seen '$1 == "startup" && $3 == "none" {print $1}' >"$work/gone"
agrees() { [ "$(cat "$1")" = "$(ask "$2")" ]; }
compare() { eventually 20 agrees "$2" "$3" || { diff "$2" <(ask "$3") >&2 || true; fail "Prometheus has another count by $1"; }; }
compare "target, client and code" "$work/by-code" 'sum by (target, client, code) (probesim_requests_total)'
compare "fault" "$work/by-fault" 'sum by (fault) (probesim_faults_injected_total) > 0'
compare "clients that gave up" "$work/gone" 'sum by (target) (probesim_clients_gone_total) > 0'
expect "rules that act on all that is eligible" "liveness-time startup-requests traffic-latency " \
  "$(ask 'sum by (fault) (probesim_faults_injected_total) == sum by (fault) (probesim_faults_eligible_total)' | awk '{printf "%s ", $1}')"
expect "requests that readiness-rate could act on" "$(grep -c ^readiness "$work/load")" \
  "$(ask 'sum(probesim_faults_eligible_total{fault="readiness-rate"})')"
cat "$work/by-fault"
printf '%s requests, each counted once\n' "$sent"

say "other alerts did what they should"
of_drill="$(($(date +%s) - began + 5))s"
for alert in ProbesimFaultActiveLong ProbesimProbeTimeouts; do
  [ -n "$(ask "count_over_time(ALERTS{alertname=\"$alert\", alertstate=\"firing\"}[$of_drill])")" ] || fail "$alert did not fire"
done
for alert in ProbesimRateDeviates ProbesimPlanReloadFailed ProbesimRestartsDuringInjection; do
  [ -z "$(ask "count_over_time(ALERTS{alertname=\"$alert\"}[$of_drill])")" ] || fail "$alert fired"
done
expect "rules that fail" "" "$(ask 'prometheus_rule_evaluation_failures_total > 0')"

say "Prometheus accepts each query of the dashboard, and has an answer"
python3 tests/e2e/queries.py "$rules/dashboard.json" >"$work/queries"
while read -r query; do
  answer=$(ask "$query") || fail "it does not accept $query"
  # Queries of other programs' metrics, of what the drill does not use, and those that only show errors, may be empty.
  case "$query" in *kube_pod_*|*probesim_upstream_*|*probesim_proxy_*|*probesim_tls_*|*probesim_process_*|*'> 0') ;; *) [ -n "$answer" ] || fail "no answer to $query" ;; esac
done <"$work/queries"
printf '%s queries\n' "$(wc -l <"$work/queries")"

say "exec probes did not use up the memory"
expect "processes killed for memory" 0 "$(memory memory.events memory.oom_control | awk '$1 == "oom_kill" {print $2}')"
expect "restarts, and state" "0 running false" "$(podman inspect --format '{{.RestartCount}} {{.State.Status}} {{.State.OOMKilled}}' "$name")"
limit=$(memory memory.max memory.limit_in_bytes)
expect "limit" $((16 << 20)) "$limit"
printf 'peak of the container with its %s exec probes: %s of %s bytes\n' "$SECONDS_OF_LOAD" \
  "$(memory memory.peak memory.max_usage_in_bytes)" "$limit"

if [ -n "${PICTURE:-}" ]; then
  say "the drill is drawn"
  python3 tests/e2e/picture.py "$server" "$began" "$((began + SECONDS_OF_LOAD + 2))" >"$PICTURE"
fi

say "all is well"

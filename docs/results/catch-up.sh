#!/bin/bash
# How long a worker takes to count a log that was filled while nobody counted, and to run again after a kill -9. Fills an
# embedded journal for SECONDS as fast as it goes (0.3 GB a million events), in DIR, which is removed.
#   docs/results/catch-up.sh [SECONDS] [DIR] > docs/results/catch-up.txt
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
. docs/results/machine.sh
seconds=${1:-45} dir=${2:-$(mktemp -d)} url=http://127.0.0.1:18180 admin=http://127.0.0.1:18190
mkdir -p "$dir"
trap 'kill -9 "${pid:-}" 2>/dev/null || true; rm -rf "$dir"' EXIT
go build -o "$dir/gateway" ./cmd/gateway
go build -o "$dir/load" ./bench

config() { # whether counting is disabled
  cat <<Y
listen: ${url#http://}
admin_listen: ${admin#http://}
data_dir: $dir/data
usage: {disabled: $1}
businesses:
  - id: acct_bench
    keys: [{key: sk_test_bench}]
    limits: {events_per_second: 100000000, stream_events_per_second: 100000000}
Y
}
start() {
  "$dir/gateway" serve --config "$1" 2>>"$dir/log" &
  pid=$!
  for _ in {1..300}; do curl -fs "$admin/readyz" >/dev/null && return; sleep 0.1; done
  exit 1
}
metric() { curl -s "$admin/metrics" | awk -v name="$1" 'index($1, name) == 1 {sum += $2} END {printf "%.0f", sum}'; }
now() { date +%s.%N; }
since() { awk -v a="$1" -v b="$(now)" 'BEGIN {printf "%.2f s", b - a}'; }

machine
config true >"$dir/off.yaml"
config false >"$dir/on.yaml"
start "$dir/off.yaml"
for n in {0..7}; do
  curl -fs "$url/v1/billing/meters" -u sk_test_bench: -d display_name=m -d "event_name=meter_000$n" -d 'default_aggregation[formula]=sum' >/dev/null
done
sleep 1
"$dir/load" load --target "$url" --key sk_test_bench --rate 0 --batch 100 --connections 32 --sessions 10 --customers 1000 --duration "${seconds}s" >/dev/null
kill -9 $pid
wait $pid 2>/dev/null || true # it must be gone: it holds the data dir's lock
begun=$(now)
start "$dir/on.yaml"
for _ in {1..1200}; do
  [ "$(metric tollgate_usage_lag_records)" = 0 ] && [ "$(metric 'tollgate_usage_events_total{outcome="counted"}')" != 0 ] && break
  sleep 0.25
done
echo "$(metric 'tollgate_usage_events_total{outcome="counted"}') events of 8 meters and 1,000 customers counted from nothing in $(since "$begun"), start included; $(awk '{print ($14+$15)/100}' /proc/$pid/stat) s of CPU, $(awk '/VmRSS/ {printf "%d", $2/1024}' /proc/$pid/status) MiB resident"
sleep 3
kill -9 $pid
wait $pid 2>/dev/null || true # it must be gone: it holds the data dir's lock
begun=$(now)
start "$dir/on.yaml"
for _ in {1..600}; do curl -s "$admin/statusz" | grep -q 'partitions \[0\]' && break; sleep 0.05; done
echo "after a kill -9 the partition is run again in $(since "$begun")"
kill $pid
wait $pid

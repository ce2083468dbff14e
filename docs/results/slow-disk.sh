#!/bin/bash
# Which part of what a disk permits the journal reaches, where the disk and not the processor is the limit: the gateway and
# the loop of write and fdatasync (bench/peers/floor/fsync) in turns, each fdatasync of either taking DELAY microseconds
# longer, in groups as large as the gateway's were. By strace, which stops the program at fdatasync alone.
#   docs/results/slow-disk.sh [DELAY]... > docs/results/slow-disk.txt
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
. docs/results/machine.sh
delays=("$@")
[ ${#delays[@]} -gt 0 ] || delays=(0 500 1000 2000 5000)
rounds=${ROUNDS:-3} seconds=${SECONDS_EACH:-5} connections=${CONNECTIONS:-64}
dir=$(mktemp -d) url=http://127.0.0.1:18180 admin=http://127.0.0.1:18190
trap 'kill -9 "${pid:-}" 2>/dev/null || true; rm -rf "$dir"' EXIT
go build -o "$dir/gateway" ./cmd/gateway
go build -o "$dir/load" ./bench
(cd bench/peers && go build -o "$dir/floor" ./floor/fsync)
cat >"$dir/config.yaml" <<Y
listen: ${url#http://}
admin_listen: ${admin#http://}
data_dir: $dir/data
usage: {disabled: true}
businesses:
  - id: acct_bench
    keys: [{key: sk_test_bench}]
    limits: {events_per_second: 100000000, stream_events_per_second: 100000000}
Y
slowly() { # delay, command: runs it in the shell's place
  local delay=$1
  shift
  [ "$delay" = 0 ] && exec "$@"
  exec strace -f -qq --seccomp-bpf -o /dev/null -e trace=fdatasync -e inject=fdatasync:delay_exit="$delay" "$@"
}
field() { sed -n "s/.*\"$1\": *\([0-9.e+]*\).*/\1/p" "$2" | head -n 1; } # of a JSON file
metric() { curl -s "$admin/metrics" | awk -v name="$1" '$1 == name {print $2}'; }
gateway() { # delay, batch: events a second, and bytes a group
  rm -rf "$dir/data"
  (slowly "$1" "$dir/gateway" serve --config "$dir/config.yaml" 2>>"$dir/log") &
  pid=$!
  for _ in {1..300}; do curl -fs "$admin/readyz" >/dev/null && break; sleep 0.1; done
  "$dir/load" load --target "$url" --key sk_test_bench --rate 0 --batch "$2" --connections "$connections" \
    --warmup 1s --duration "${seconds}s" --out "$dir/report.json" >/dev/null
  group=$(awk -v s="$(metric tollgate_journal_group_bytes_sum)" -v n="$(metric tollgate_journal_group_bytes_count)" 'BEGIN {printf "%d", s/n}')
  event=$(awk -v s="$(metric tollgate_journal_bytes_total)" -v n="$(metric tollgate_events_accepted_total)" 'BEGIN {printf "%.1f", s/n}')
  pkill -KILL -P $pid 2>/dev/null || true
  kill -9 $pid 2>/dev/null || true
  wait $pid 2>/dev/null || true
  rate=$(field events_per_second "$dir/report.json")
}
permitted() { # delay, bytes a group, bytes an event: events a second
  mkdir -p "$dir/floor-data"
  (export PEER_DIR="$dir/floor-data" PEER_SECONDS="$seconds" PEER_BATCH_BYTES="$2"; slowly "$1" "$dir/floor") >"$dir/line"
  awk -v n="$(field groups "$dir/line")" -v s="$(field seconds "$dir/line")" -v g="$2" -v e="$3" 'BEGIN {print n / s * g / e}'
}

machine
echo "# $rounds rounds of ${seconds} s, $connections connections, as fast as answers come; share: events a second by what the loop is permitted"
printf '%-10s %-6s %12s %12s %12s %6s\n' "delay us" batch "bytes/group" events/s permitted share
for delay in "${delays[@]}"; do
  for batch in ${BATCHES:-100 10 1}; do
    for ((round = 1; round <= rounds; round++)); do
      gateway "$delay" "$batch"
      allowed=$(permitted "$delay" "$group" "$event")
      awk -v d="$delay" -v b="$batch" -v g="$group" -v r="$rate" -v a="$allowed" \
        'BEGIN {printf "%-10s %-6s %12d %12d %12d %6.2f\n", d, b, g, r, a, r/a}'
    done
  done
done

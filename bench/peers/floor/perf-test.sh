#!/usr/bin/env bash
# Kafka's own kafka-producer-perf-test, for a time instead of a number of records: the tool is given more records than
# it can send, says once a second how many it sent, and is ended after PEER_SECONDS. The line at the end is the sum of
# those seconds without the first, in which the JVM is busy with itself, and of its CPU time within them.
#
#   PEER_KAFKA=127.0.0.1:19092 PEER_TOPIC=usage PEER_SECONDS=10 perf-test.sh
#
# The jars are those of test/kafka/kafka.sh install, and the JVM's options those of the tool's own start script.
# PEER_BATCH_BYTES is batch.size.
set -euo pipefail

cache=${KAFKA_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/tollgate/kafka}
lib=$cache/lib
[ -d "$lib" ] || { echo "perf-test.sh: $lib is not there: run test/kafka/kafka.sh install" >&2; exit 1; }
seconds=${PEER_SECONDS:-10}
seconds=${seconds%.*}
record_bytes=250
records_max=1000000000000
start_max=30 # seconds that the first line may take beyond the time

ticks() { # user and system time of the JVM so far
  sed 's/.*) //' "/proc/$1/stat" 2>/dev/null | awk '{print $12 + $13}'
}

producer() {
  exec java -server -Xmx512M -XX:+UseG1GC -XX:MaxGCPauseMillis=20 -XX:InitiatingHeapOccupancyPercent=35 \
    -Dlog4j2.configurationFile="$cache/tools-log4j2.properties" -cp "$lib/*" org.apache.kafka.tools.ProducerPerformance \
    --bootstrap-server "$PEER_KAFKA" --topic "$PEER_TOPIC" --num-records "$records_max" --record-size "$record_bytes" \
    --throughput -1 --reporting-interval 1000 --command-property acks=all enable.idempotence=true \
    "batch.size=${PEER_BATCH_BYTES:-262144}" linger.ms=5 compression.type=none </dev/null
}

exec {said}< <(producer)
jvm=$!
trap 'kill -TERM "$jvm" 2>/dev/null || true; exit 143' TERM INT

# A line of the tool:  812345 records sent, 812345.0 records/sec (193.68 MB/sec), 12.3 ms avg latency, …
windows=()
first=0 last=0
SECONDS=0
while [ "$SECONDS" -le "$seconds" ] && IFS= read -r -t "$((seconds + start_max))" -u "$said" line; do
  case $line in
    *" records sent, "*" records/sec "*) ;;
    *) echo "$line" >&2; continue ;;
  esac
  last=$(ticks "$jvm")
  if [ "$first" = 0 ]; then first=$last; else windows+=("$line"); fi
done
kill -TERM "$jvm" 2>/dev/null || true
wait "$jvm" 2>/dev/null || true
[ "${#windows[@]}" -gt 0 ] || { echo "perf-test.sh: it sent nothing" >&2; exit 1; }

# A window's length is what it says it sent by how fast: it is not quite a second.
printf '%s\n' "${windows[@]}" | awk -v bytes="$record_bytes" -v cpu="$((last - first))" -v hz="$(getconf CLK_TCK)" '
  { records += $1; seconds += $1 / $4 }
  END { printf "{\"records\":%d,\"bytes\":%d,\"seconds\":%.3f,\"cpu_seconds\":%.3f}\n", records, records * bytes, seconds, cpu / hz }'

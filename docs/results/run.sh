#!/bin/bash
# Runs the benchmarks beside the code and keeps what they print, with the machine and the commit, in this folder: the
# source of every figure in docs/PERFORMANCE.md. Takes about twenty minutes on a quiet machine of two cores.
#   docs/results/run.sh [decoder|ring|recordbatch|token|ingest|metrics|journal|whole-path|dedup|usage|summary|forward|kafka]...
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
. docs/results/machine.sh

run() { # name, passes, then the arguments of go test. Pass after pass, so that peers take turns: A B A B
  local name=$1 passes=$2 out=docs/results/$1.txt
  shift 2
  [ ${#wanted[@]} -eq 0 ] || [[ " ${wanted[*]} " == *" $name "* ]] || return 0
  {
    machine
    echo "# $passes times: ${GOEXPERIMENT:+GOEXPERIMENT=$GOEXPERIMENT }go test -count 1 -run '^\$' $*"
    for ((pass = 1; pass <= passes; pass++)); do
      go test -count 1 -run '^$' "$@" | if [ "$pass" = 1 ]; then cat; else grep '^Benchmark'; fi | grep -v '^PASS$'
    done
  } >"$out.new"
  mv "$out.new" "$out"
  echo "$out"
}

wanted=("$@")
GOEXPERIMENT=jsonv2 run decoder 5 -bench 'Decode|Record' -benchmem -benchtime 200ms ./pkg/meterevent
run ring 5 -bench Append -benchtime 100ms -cpu 2 ./pkg/ring
run recordbatch 3 -bench . -benchmem -benchtime 200ms ./pkg/recordbatch
run token 5 -bench 'Verify|Peers|Authenticate|Mint' -benchmem -benchtime 200ms ./pkg/auth
run ingest 5 -bench Submit -benchmem -benchtime 200ms -cpu 1,2 ./pkg/ingest
run metrics 3 -bench . -benchmem -benchtime 100ms -cpu 1,2 ./internal/metrics
run journal 5 -bench Append -benchtime 300ms ./pkg/commitlog/journal
run whole-path 6 -bench WholePath -benchtime 1x ./pkg/httpd
DEDUP_SCALE=${DEDUP_SCALE:-10000000 100000000} run dedup 1 -timeout 3h -v -run ScaleOfTheIndex ./pkg/dedup
run usage 5 -bench Apply -benchmem -benchtime 1000000x -cpu 1 ./pkg/usage
run summary 3 -bench Summary -benchtime 300x -cpu 1 ./pkg/usage
run forward 3 -bench 'Paced|Call' -benchtime 1x ./pkg/forward
REQUIRE_KAFKA=1 run kafka 2 -bench Append -benchtime 2s -timeout 20m ./pkg/commitlog/kafkalog

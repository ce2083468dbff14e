#!/usr/bin/env bash
# A real Apache Kafka on loopback from nothing but Java and Maven: KRaft, 1 or 3 nodes, each broker and controller.
# The Go package beside this script drives it for the tests; by hand it serves as well:
#
#   kafka.sh install              fetch Kafka into the cache and prepare its class archive (once per pom.xml)
#   kafka.sh start [NODE...]      start nodes in the background and wait until they serve (default: all)
#   kafka.sh stop  [NODE...]      stop nodes (SIGTERM)
#   kafka.sh kill9 [NODE...]      kill nodes (SIGKILL)
#   kafka.sh status               one line a node
#   kafka.sh cli NAME ARGS...     a command line tool: topics, consume, dump, configs, or a class name
#   kafka.sh run NODE             one node in the foreground, in place of this shell: for a parent that watches it
#
# Environment:
#   KAFKA_CACHE  where the jars and the class archive live   (default ${XDG_CACHE_HOME:-~/.cache}/tollgate/kafka)
#   KAFKA_DIR    the cluster's data, one folder n<NODE> each  (default $KAFKA_CACHE/data)
#   KAFKA_PORTS  "broker:controller ..." a pair of ports for each node; the number of pairs is the number of nodes
#                (default "19092:19093")
#   KAFKA_HEAP   heap of a node                              (default 512m)
# A file $KAFKA_DIR/n<NODE>/extra.properties, when there is one, is appended to the node's configuration and wins.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${KAFKA_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/tollgate/kafka}
lib=$cache/lib
archive=$cache/classes.jsa
data=${KAFKA_DIR:-$cache/data}
heap=${KAFKA_HEAP:-512m}
read -r -a ports <<<"${KAFKA_PORTS:-19092:19093}"
nodes=${#ports[@]}
# Any 16 bytes in base64 will do; a fixed one lets a node be formatted again on its own.
cluster_id=dG9sbGdhdGUtdGVzdHMtMQ

die() { echo "kafka.sh: $*" >&2; exit 1; }
broker_port() { local pair=${ports[$1 - 1]}; echo "${pair%:*}"; }
controller_port() { local pair=${ports[$1 - 1]}; echo "${pair#*:}"; }
node_dir() { echo "$data/n$1"; }

# Sharing parsed classes between JVMs halves the start of a node and of a tool (3 s to 1.5 s, 1.2 s to 0.6 s).
class_sharing() {
  if [ -f "$archive" ]; then printf '%s\n' "-XX:SharedArchiveFile=$archive" -Xshare:auto -Xlog:cds=off -Xlog:cds+dynamic=off; fi
}

# install runs Maven once for each content of pom.xml. Several test processes may arrive at once: one works, the others
# wait for its lock. The marker is written last, so that an install that died is done again.
install() {
  local want
  want=$(sha256sum "$here/pom.xml" | cut -c1-16)
  mkdir -p "$cache"
  [ "$(cat "$cache/installed" 2>/dev/null)" = "$want" ] && return 0
  exec 9>"$cache/install.lock"
  flock 9
  if [ "$(cat "$cache/installed" 2>/dev/null)" != "$want" ]; then
    rm -rf "$lib" "$archive" "$cache/installed"
    mvn -B -ntp -q -f "$here/pom.xml" dependency:copy-dependencies -DoutputDirectory="$lib" -DincludeScope=runtime \
      >"$cache/mvn.log" 2>&1 || { tail -20 "$cache/mvn.log" >&2; die "Maven could not fetch Kafka; see $cache/mvn.log"; }
    logging ERR >"$cache/tools-log4j2.properties"
    archive_classes || rm -f "$archive" # an archive only saves time
    echo "$want" >"$cache/installed"
  fi
  exec 9>&-
}

# archive_classes runs a broker that nobody uses and lets the JVM write down the classes it loaded.
archive_classes() (
  exec 9>&-
  data=$(mktemp -d "$cache/archive.XXXXXX")
  trap 'rm -rf "$data"' EXIT
  ports=("$(free_port 18000):$(free_port 18500)")
  nodes=1
  configure 1
  timeout -k 5 60 java -XX:ArchiveClassesAtExit="$archive.new" -Xlog:cds=off -Xlog:cds+dynamic=off -Xmx256m -XX:+UseG1GC \
    -Dlog4j2.configurationFile="$(node_dir 1)/log4j2.properties" -cp "$lib/*" kafka.Kafka "$(node_dir 1)/server.properties" \
    >"$(node_dir 1)/out.log" 2>&1 </dev/null &
  local pid=$!
  await 1 "$pid" || true
  tool org.apache.kafka.tools.TopicCommand --bootstrap-server "127.0.0.1:$(broker_port 1)" --create --topic t --partitions 2 >/dev/null 2>&1 || true
  kill -TERM "$pid"
  wait "$pid" || true
  mv "$archive.new" "$archive"
)

free_port() { # first port from $1 on that nobody listens on
  local p=$1
  while (exec 3<>"/dev/tcp/127.0.0.1/$p") 2>/dev/null; do p=$((p + 1)); done
  echo "$p"
}

logging() { # FILE, or ERR for the standard error of a tool
  if [ "$1" = ERR ]; then
    printf '%s\n' "appender.a.type=Console" "appender.a.target=SYSTEM_ERR" "rootLogger.level=WARN"
  else
    printf '%s\n' "appender.a.type=File" "appender.a.fileName=$1" "rootLogger.level=INFO"
  fi
  printf '%s\n' "status=error" "appenders=a" "appender.a.name=A" "appender.a.layout.type=PatternLayout" \
    "appender.a.layout.pattern=[%d] %p %m (%c)%n" "rootLogger.appenderRefs=a" "rootLogger.appenderRef.a.ref=A"
}

configure() { # NODE: write its configuration, format its storage if it is new
  local node=$1 dir voters="" j replicas=1 in_sync=1
  dir=$(node_dir "$node")
  mkdir -p "$dir"
  for ((j = 1; j <= nodes; j++)); do voters+="${voters:+,}$j@127.0.0.1:$(controller_port "$j")"; done
  if [ "$nodes" -ge 3 ]; then replicas=3 in_sync=2; fi
  logging "$dir/server.log" >"$dir/log4j2.properties"
  {
    cat <<PROPERTIES
process.roles=broker,controller
node.id=$node
controller.quorum.voters=$voters
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
listeners=PLAINTEXT://127.0.0.1:$(broker_port "$node"),CONTROLLER://127.0.0.1:$(controller_port "$node")
advertised.listeners=PLAINTEXT://127.0.0.1:$(broker_port "$node")
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs=$dir/data
auto.create.topics.enable=false
default.replication.factor=$replicas
min.insync.replicas=$in_sync
offsets.topic.replication.factor=$replicas
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=$replicas
transaction.state.log.min.isr=$in_sync
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor=$replicas
share.coordinator.state.topic.min.isr=$in_sync
group.initial.rebalance.delay.ms=0
num.network.threads=2
num.io.threads=4
message.max.bytes=10485760
replica.fetch.max.bytes=10485760
# Kafka's own 9 s would make each test of a killed broker wait; 2 s shows the same states.
broker.session.timeout.ms=2000
broker.heartbeat.interval.ms=500
PROPERTIES
    if [ -f "$dir/extra.properties" ]; then cat "$dir/extra.properties"; fi
  } >"$dir/server.properties"
  if [ ! -f "$dir/data/meta.properties" ]; then
    tool kafka.tools.StorageTool format -t "$cluster_id" -c "$dir/server.properties" >"$dir/format.log" 2>&1 ||
      { cat "$dir/format.log" >&2; die "could not format $dir/data"; }
  fi
}

run() { # NODE
  local node=$1 dir sharing
  dir=$(node_dir "$node")
  install
  configure "$node"
  [ ! -f "$dir/server.log" ] || mv "$dir/server.log" "$dir/server.$(date +%s%N).log"
  mapfile -t sharing < <(class_sharing)
  echo $$ >"$dir/pid"
  exec java "${sharing[@]}" -Xms"$heap" -Xmx"$heap" -XX:+UseG1GC -XX:MaxGCPauseMillis=20 -Djava.awt.headless=true \
    -Dlog4j2.configurationFile="$dir/log4j2.properties" -cp "$lib/*" kafka.Kafka "$dir/server.properties" </dev/null
}

await() { # NODE PID: until the node serves; fails when the process ends or a minute is over
  local node=$1 pid=$2 dir n
  dir=$(node_dir "$node")
  for ((n = 0; n < 1200; n++)); do
    grep -qF "Kafka Server started" "$dir/server.log" 2>/dev/null && return 0
    kill -0 "$pid" 2>/dev/null || return 1
    sleep 0.05
  done
  return 1
}

pid_of() { # NODE: its process id, nothing when it is down. A recycled id is not ours: the command line tells.
  local dir pid
  dir=$(node_dir "$1")
  pid=$(cat "$dir/pid" 2>/dev/null) || return 0
  if tr '\0' ' ' 2>/dev/null <"/proc/$pid/cmdline" | grep -qF -e "$dir/server.properties" -e "kafka.sh run $1"; then echo "$pid"; fi
}

start() {
  install
  local node pid started=()
  for node in "$@"; do
    [ -z "$(pid_of "$node")" ] || continue
    mkdir -p "$(node_dir "$node")"
    rm -f "$(node_dir "$node")/server.log"
    setsid nohup "$here/kafka.sh" run "$node" >"$(node_dir "$node")/out.log" 2>&1 </dev/null &
    started+=("$node:$!")
  done
  for node in "${started[@]}"; do
    pid=${node#*:} node=${node%:*}
    await "$node" "$pid" || { tail -20 "$(node_dir "$node")/out.log" "$(node_dir "$node")/server.log" >&2; die "node $node did not start"; }
    echo "node $node serves at 127.0.0.1:$(broker_port "$node")"
  done
}

signal() { # SIGNAL NODE...
  local sig=$1 node pid n
  shift
  for node in "$@"; do
    pid=$(pid_of "$node")
    [ -z "$pid" ] || kill "-$sig" "$pid"
  done
  for node in "$@"; do
    for ((n = 0; n < 400; n++)); do
      pid=$(pid_of "$node")
      [ -n "$pid" ] || break
      # The last nodes of a quorum that is being stopped wait for a controller that has gone.
      [ "$n" -ne 160 ] || kill -KILL "$pid"
      sleep 0.05
    done
    [ -z "$(pid_of "$node")" ] || die "node $node is still up"
  done
}

tool() { # CLASS ARGS...
  local sharing
  mapfile -t sharing < <(class_sharing)
  java "${sharing[@]}" -Xmx256m -XX:TieredStopAtLevel=1 -XX:+UseSerialGC \
    -Dlog4j2.configurationFile="$cache/tools-log4j2.properties" -cp "$lib/*" "$@"
}

cli() { # NAME ARGS...
  local name=$1
  shift
  case $name in
    topics) name=org.apache.kafka.tools.TopicCommand ;;
    consume) name=org.apache.kafka.tools.consumer.ConsoleConsumer ;;
    dump) name=org.apache.kafka.tools.DumpLogSegments ;;
    configs) name=kafka.admin.ConfigCommand ;;
  esac
  install
  tool "$name" "$@"
}

usage() { sed -n '2,/^set /{/^#/s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}"; }

command=${1:-help}
[ $# -eq 0 ] || shift
mapfile -t all < <(seq 1 "$nodes")
case $command in
  install) install ;;
  run) run "$1" ;;
  start) start "${@:-${all[@]}}" ;;
  stop) signal TERM "${@:-${all[@]}}" ;;
  kill9) signal KILL "${@:-${all[@]}}" ;;
  status) for node in "${all[@]}"; do echo "node $node: $(pid_of "$node" | sed 's/^/up, process /;$!d' | grep . || echo down)"; done ;;
  cli) cli "$@" ;;
  *) usage; exit 2 ;;
esac

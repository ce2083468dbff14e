# What stands above every result: when, of which commit, on which machine. To be sourced.
machine() {
  echo "# $(date -u +%FT%TZ), commit $(git rev-parse --short HEAD)$(git diff --quiet HEAD -- '*.go' || echo ' with local changes')"
  echo "# $(nproc) cores of $(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1), $(awk '/MemTotal/ {printf "%.0f GiB", $2/1048576}' /proc/meminfo), $(uname -sr), $(go env GOVERSION), load average before $(cut -d' ' -f1 /proc/loadavg)"
}

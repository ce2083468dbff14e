package main

import (
	"os"
	"runtime/debug"
	"strconv"
	"strings"

	"go.uber.org/automaxprocs/maxprocs"
)

const (
	// gcPercent trades memory for time: the live heap is small, some 30 MiB, so that at Go's default of 100 the
	// collector would run every few milliseconds under load.
	gcPercent = 400
	// memoryLimitShare of the container's memory is where the collector stops trading. The rest is for stacks, the
	// kernel's socket buffers and what a collection in flight still allocates.
	memoryLimitShare = 0.8
	// memoryLimitDefault is the same without a container: several times what the configured bounds of rings, backlog
	// and bodies add up to. Beyond it, garbage would be all that gcPercent gains.
	memoryLimitDefault = 2 << 30
)

// tuneRuntime fits the Go runtime to the container: processors by CPU quota, garbage collection by memory limit.
// GOMAXPROCS, GOGC and GOMEMLIMIT in the environment win.
func tuneRuntime() {
	// Its only failure is a cgroup that can not be read; Go's own count then stands.
	_, _ = maxprocs.Set()
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	if os.Getenv("GOMEMLIMIT") == "" {
		limit := int64(memoryLimitDefault)
		if m := containerMemory(); m > 0 {
			limit = int64(float64(m) * memoryLimitShare)
		}
		debug.SetMemoryLimit(limit)
	}
}

// containerMemory is the memory limit of our cgroup in bytes, v2 or v1; 0 when there is none.
func containerMemory() int64 {
	for _, file := range []string{"/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"} {
		text, err := os.ReadFile(file)
		if err != nil {
			continue
		}
		n, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
		if err != nil || n <= 0 || n >= 1<<60 { // "max", or v1's way to say none
			return 0
		}
		return n
	}
	return 0
}

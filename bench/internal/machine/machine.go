// Package machine says where and on what a run was made, and what processes cost: processor, memory and kernel from
// /proc, the commit from git, CPU time and resident memory of any process by its id.
//
// All functions may be called at any time. On a system without /proc the texts are empty and the figures zero: a result
// without them is still a result.
//
//	before, _ := machine.Usage(pid)
package machine

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"time"
)

// Info describes the machine and the source of a run.
type Info struct {
	Processor string `json:"processor"`
	Cores     int    `json:"cores"`
	MemoryMiB int64  `json:"memory_mib"`
	Kernel    string `json:"kernel"`
	Go        string `json:"go"`
	Commit    string `json:"commit"`
}

// Describe reads it.
func Describe() Info {
	i := Info{Cores: runtime.NumCPU(), Go: runtime.Version(), Commit: commit()}
	i.Processor = field("/proc/cpuinfo", "model name")
	i.MemoryMiB = kib(field("/proc/meminfo", "MemTotal")) / 1024
	if b, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
		i.Kernel = strings.TrimSpace(string(b))
	}
	return i
}

// commit is what the working copy is at, with "-dirty" when files differ from it.
func commit() string {
	out, err := exec.Command("git", "describe", "--always", "--abbrev=12", "--dirty").Output()
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(out))
}

// field is the value behind "name:" in a file of such lines.
func field(file, name string) string {
	b, err := os.ReadFile(file)
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(b)) {
		key, value, ok := strings.Cut(line, ":")
		if ok && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

func kib(s string) int64 {
	n, _ := strconv.ParseInt(strings.TrimSuffix(s, " kB"), 10, 64)
	return n
}

// Cost is what a process has used so far.
type Cost struct {
	CPU         time.Duration // user and system, in steps of 10 ms
	Resident    int64         // bytes now
	ResidentMax int64         // bytes at most, since its start
}

// clockTick is the unit of times in /proc/PID/stat: USER_HZ, which is 100 on every Linux that Go runs on.
const clockTick = 10 * time.Millisecond

// Usage reads the cost of a process. It fails when there is no such process, or no /proc.
func Usage(pid int) (Cost, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return Cost{}, err
	}
	// The name in parentheses may hold spaces and parentheses itself: fields are counted from behind it. Field 14 of
	// proc(5) is the user time and 15 the system time; the first one behind the name is field 3.
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	if len(fields) < 13 {
		return Cost{}, fmt.Errorf("/proc/%d/stat has %d fields behind the name", pid, len(fields))
	}
	user, errUser := strconv.ParseInt(fields[11], 10, 64)
	system, errSystem := strconv.ParseInt(fields[12], 10, 64)
	if errUser != nil || errSystem != nil {
		return Cost{}, fmt.Errorf("/proc/%d/stat: times %q and %q", pid, fields[11], fields[12])
	}
	status := fmt.Sprintf("/proc/%d/status", pid)
	return Cost{
		CPU:         time.Duration(user+system) * clockTick,
		Resident:    kib(field(status, "VmRSS")) * 1024,
		ResidentMax: kib(field(status, "VmHWM")) * 1024,
	}, nil
}

// Command fsync is the least that it costs to make groups of records durable on this disk: a write of PEER_BATCH_BYTES,
// fdatasync, and again. Its one decision is to do it as a log does, by appending to files that are cut at 256 MiB: that
// the file grows is part of what has to be synced. A file is removed when the next one begins.
//
// It can not see whether the disk keeps what it says it has kept: a drive or a virtual machine with a write cache of
// its own shows here as a disk that is faster than disks are.
//
//	PEER_DIR=/var/tmp/fsync PEER_SECONDS=10 PEER_BATCH_BYTES=262144 fsync
package main

import (
	"errors"
	"fmt"
	"log"
	"math/rand/v2"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"tollgate/bench/peers/floor/internal/report"
)

const (
	fileBytesMax = 256 << 20
	recordBytes  = 250 // what is counted as a record of a group
)

func main() {
	if err := run(); err != nil {
		log.Fatal("floor/fsync: ", err)
	}
}

func run() error {
	settings, err := report.Read()
	if err != nil {
		return err
	}
	dir := os.Getenv("PEER_DIR")
	if dir == "" {
		return errors.New("PEER_DIR is not set: the folder to write in")
	}
	group := make([]byte, settings.BatchBytes)
	dice := rand.New(rand.NewPCG(1, 2)) // bytes that no disk compresses
	for i := range group {
		group[i] = byte(dice.Uint32())
	}
	f := &files{dir: dir, bytesMax: fileBytesMax}
	defer f.remove()
	meter := report.Begin()
	line, err := writeFor(f, group, settings.For)
	if err != nil {
		return err
	}
	return meter.Print(os.Stdout, line)
}

func writeFor(f *files, group []byte, d time.Duration) (line report.Line, err error) {
	for end := time.Now().Add(d); time.Now().Before(end); line.Groups++ {
		if err := f.append(group); err != nil {
			return line, err
		}
	}
	line.Bytes = line.Groups * int64(len(group))
	line.Records = line.Groups * int64(len(group)/recordBytes)
	return line, nil
}

// files is a log of which only the newest file is kept.
type files struct {
	dir      string
	bytesMax int
	number   int
	current  *os.File
	bytes    int
}

// append returns when the group is durable.
func (f *files) append(group []byte) error {
	if f.current == nil || f.bytes+len(group) > f.bytesMax {
		if err := f.next(); err != nil {
			return err
		}
	}
	n, err := f.current.Write(group)
	f.bytes += n
	if err != nil {
		return err
	}
	if err := syscall.Fdatasync(int(f.current.Fd())); err != nil {
		return fmt.Errorf("fdatasync %s: %w", f.current.Name(), err)
	}
	return nil
}

func (f *files) next() error {
	next, err := os.OpenFile(filepath.Join(f.dir, fmt.Sprintf("group-%06d", f.number)), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	f.remove()
	f.current, f.bytes = next, 0
	f.number++
	return nil
}

// remove drops the current file.
func (f *files) remove() {
	if f.current != nil {
		_ = f.current.Close()
		_ = os.Remove(f.current.Name())
	}
}

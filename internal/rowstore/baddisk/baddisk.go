// Package baddisk is for tests of what has a rowstore: disks whose writes fail, and tables that rot.
//
//	faults, disk := new(baddisk.Faults), vfs.NewCrashableMem()
//	cfg.FS = errorfs.Wrap(disk, faults)
//	faults.Set(baddisk.Writes(".log"))
//
// A Faults may be set while others use the disk.
package baddisk

import (
	"errors"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
)

// ErrGone is what failing calls return.
var ErrGone = errors.New("the disk is gone")

// Faults makes chosen calls to a disk fail. It is an errorfs.Injector.
type Faults struct {
	fail atomic.Pointer[func(errorfs.Op) error]
}

// Set says which calls fail from now on, and with what.
func (i *Faults) Set(fail func(errorfs.Op) error) { i.fail.Store(&fail) }

// MaybeError is for errorfs.
func (i *Faults) MaybeError(op errorfs.Op) error {
	if fail := i.fail.Load(); fail != nil {
		return (*fail)(op)
	}
	return nil
}

func (i *Faults) String() string { return "faults" }

// Writes fails writes and syncs of files with a suffix.
func Writes(suffix string) func(errorfs.Op) error {
	return func(op errorfs.Op) error {
		if op.Kind.ReadOrWrite() == errorfs.OpIsWrite && strings.HasSuffix(op.Path, suffix) {
			return ErrGone
		}
		return nil
	}
}

// Rot flips the bytes of the first half of all tables of a store, where its data is.
func Rot(t testing.TB, disk *vfs.MemFS, dir string) {
	t.Helper()
	names, err := disk.List(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if !strings.HasSuffix(name, ".sst") {
			continue
		}
		file, err := disk.OpenReadWrite(filepath.Join(dir, name), vfs.WriteCategoryUnspecified)
		if err != nil {
			t.Fatal(err)
		}
		info, err := file.Stat()
		if err != nil {
			t.Fatal(err)
		}
		b := make([]byte, info.Size()/2)
		if n, err := file.ReadAt(b, 0); err != nil && n > 0 {
			t.Fatal(err)
		}
		for i := range b {
			b[i] ^= 0x55
		}
		if _, err := file.WriteAt(b, 0); err != nil {
			t.Fatal(err)
		}
		_ = file.Close()
	}
}

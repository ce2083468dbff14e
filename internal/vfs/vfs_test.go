package vfs

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// both runs a test on the real disk and on the one in memory: they must not differ in what a caller can see.
func both(t *testing.T, test func(t *testing.T, disk FS, dir string)) {
	t.Run("OS", func(t *testing.T) { test(t, OS, t.TempDir()) })
	t.Run("Mem", func(t *testing.T) { test(t, NewMem(1), ".") })
}

func must(t testing.TB, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

func create(t testing.TB, disk FS, path string, parts ...[]byte) File {
	t.Helper()
	f, err := disk.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL)
	must(t, err)
	n, err := f.WriteAt(0, parts...)
	must(t, err)
	if want := len(slices.Concat(parts...)); n != int64(want) {
		t.Fatalf("wrote %d bytes of %d", n, want)
	}
	return f
}

func content(t testing.TB, disk FS, path string) string {
	t.Helper()
	f, err := disk.OpenFile(path, os.O_RDONLY)
	if errors.Is(err, fs.ErrNotExist) {
		return "(none)"
	}
	must(t, err)
	size, err := f.Size()
	must(t, err)
	b := make([]byte, size)
	if n, err := f.ReadAt(b, 0); n != len(b) || err != nil && !errors.Is(err, io.EOF) {
		t.Fatalf("read %d of %d bytes: %v", n, len(b), err)
	}
	must(t, f.Close())
	return string(b)
}

func TestFilesAreWrittenReadRenamedAndRemoved(t *testing.T) {
	both(t, func(t *testing.T, disk FS, dir string) {
		sub := filepath.Join(dir, "a", "b")
		must(t, disk.MkdirAll(sub), disk.MkdirAll(sub))
		path := filepath.Join(sub, "one")
		f := create(t, disk, path, []byte("he"), nil, []byte("llo"))
		n, err := f.WriteAt(5, []byte(" there"))
		must(t, err, f.Sync(), f.Truncate(10))
		if got := content(t, disk, path); n != 6 || got != "hello ther" {
			t.Fatalf("%d bytes, %q", n, got)
		}
		var tail [20]byte
		if n, err := f.ReadAt(tail[:], 6); string(tail[:n]) != "ther" || !errors.Is(err, io.EOF) {
			t.Fatalf("%q, %v", tail[:n], err)
		}
		must(t, f.Truncate(12), f.Close())
		other := filepath.Join(sub, "two")
		must(t, create(t, disk, other).Close(), disk.Rename(path, other), disk.SyncDir(sub))
		entries, err := disk.ReadDir(sub)
		must(t, err)
		if want := []Entry{{Name: "two", Bytes: 12}}; !slices.Equal(entries, want) {
			t.Fatalf("%v, want %v", entries, want)
		}
		must(t, disk.Remove(other))
		if got := content(t, disk, other); got != "(none)" {
			t.Fatal(got)
		}
		up, err := disk.ReadDir(filepath.Dir(sub))
		must(t, err)
		if len(up) != 1 || !up[0].Dir {
			t.Fatal(up)
		}
	})
}

func TestAFileWithoutANameSaysSo(t *testing.T) {
	both(t, func(t *testing.T, disk FS, dir string) {
		path, other := filepath.Join(dir, "one"), filepath.Join(dir, "two")
		removed, replaced, renamed := create(t, disk, path), create(t, disk, other), File(nil)
		f := func(when string, want ...bool) {
			t.Helper()
			got := []bool{removed.Nameless(), replaced.Nameless()}
			if renamed != nil {
				got = append(got, renamed.Nameless())
			}
			if !slices.Equal(got, want) {
				t.Errorf("%s: %v, want %v", when, got, want)
			}
		}
		f("made", false, false)
		must(t, disk.Remove(path))
		f("one removed", true, false)
		renamed = create(t, disk, path)
		f("made again", true, false, false)
		must(t, disk.Rename(path, other))
		f("renamed over the other", true, true, false)
		must(t, removed.Close(), replaced.Close(), renamed.Close())
		f("closed", false, false, false)
	})
}

func TestLinksAreListedAsWhatTheyLeadTo(t *testing.T) {
	dir, elsewhere := t.TempDir(), t.TempDir()
	must(t, create(t, OS, filepath.Join(elsewhere, "f"), []byte("hello")).Close())
	must(t, os.Symlink(elsewhere, filepath.Join(dir, "d")), os.Symlink(filepath.Join(elsewhere, "f"), filepath.Join(dir, "f")))
	must(t, os.Symlink(filepath.Join(elsewhere, "not mounted"), filepath.Join(dir, "lost")))
	entries, err := OS.ReadDir(dir)
	must(t, err)
	if len(entries) != 3 || !entries[0].Dir || entries[1] != (Entry{Name: "f", Bytes: 5}) || entries[2] != (Entry{Name: "lost"}) {
		t.Fatal(entries)
	}
}

func TestErrorsAreThoseOfPackageOS(t *testing.T) {
	both(t, func(t *testing.T, disk FS, dir string) {
		path := filepath.Join(dir, "f")
		f := create(t, disk, path)
		must(t, f.Close())
		_, exclusive := disk.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL)
		_, missing := disk.OpenFile(filepath.Join(dir, "g"), os.O_RDWR)
		_, noDir := disk.ReadDir(filepath.Join(dir, "h"))
		for name, check := range map[string]bool{
			"exclusive": errors.Is(exclusive, fs.ErrExist),
			"missing":   errors.Is(missing, fs.ErrNotExist),
			"no dir":    errors.Is(noDir, fs.ErrNotExist),
			"remove":    errors.Is(disk.Remove(filepath.Join(dir, "g")), fs.ErrNotExist),
			"rename":    errors.Is(disk.Rename(filepath.Join(dir, "g"), path), fs.ErrNotExist),
			"sync dir":  errors.Is(disk.SyncDir(filepath.Join(dir, "h")), fs.ErrNotExist),
			"closed":    f.Sync() != nil && errors.Is(f.Close(), fs.ErrClosed),
		} {
			if !check {
				t.Errorf("%s: another error", name)
			}
		}
	})
}

// More buffers than one pwritev takes, of lengths that end anywhere.
func TestManyBuffersAreWrittenInOrder(t *testing.T) {
	both(t, func(t *testing.T, disk FS, dir string) {
		var buffers [][]byte
		var want bytes.Buffer
		for i := range 3*buffersMax + 5 {
			b := fmt.Appendf(nil, "%d,%s", i, strings.Repeat("x", i%7))
			buffers = append(buffers, b[:len(b)*(i%5)/4%(len(b)+1)])
			want.Write(buffers[i])
		}
		path := filepath.Join(dir, "f")
		must(t, create(t, disk, path, buffers...).Close())
		if got := content(t, disk, path); got != want.String() {
			t.Fatalf("%d bytes, want %d", len(got), want.Len())
		}
	})
}

func TestSpaceIsPlausible(t *testing.T) {
	both(t, func(t *testing.T, disk FS, dir string) {
		s, err := disk.Space(dir)
		must(t, err)
		if s.Total <= 0 || s.Free < 0 || s.Free > s.Total {
			t.Fatalf("%+v", s)
		}
	})
}

func TestTheLockIsExclusiveAndNamesItsHolder(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	held, err := Lock(path)
	must(t, err)
	_, err = Lock(path)
	locked := new(LockedError)
	if !errors.As(err, &locked) || locked.PID != os.Getpid() || !strings.Contains(err.Error(), path) {
		t.Fatalf("the second lock: %v", err)
	}
	must(t, held.Close())
	again, err := Lock(path)
	must(t, err)
	must(t, again.Close())
	if _, err := Lock(filepath.Join(path, "x")); err == nil || errors.As(err, &locked) && locked.PID == 0 {
		t.Fatalf("a lock below a file: %v", err)
	}
}

func TestPreallocationLeavesSizeAndContentAndIsGivenBackByTruncate(t *testing.T) {
	both(t, func(t *testing.T, disk FS, dir string) {
		path := filepath.Join(dir, "f")
		f := create(t, disk, path, []byte("hello"))
		if err := f.Preallocate(5, 1<<20); errors.Is(err, errors.ErrUnsupported) {
			t.Skip("SKIPPED: this file system knows no preallocation: ", err)
		} else {
			must(t, err)
		}
		must(t, f.Sync())
		if size, err := f.Size(); size != 5 || err != nil {
			t.Fatalf("%d bytes long, %v", size, err)
		}
		_, err := f.WriteAt(5, []byte(" there"))
		must(t, err)
		if got := content(t, disk, path); got != "hello there" {
			t.Fatal(got)
		}
		if got := allocated(t, f); got < 1<<20 {
			t.Errorf("%d bytes allocated after a megabyte was asked for", got)
		}
		must(t, f.Truncate(11))
		if got := allocated(t, f); got >= 1<<20 {
			t.Errorf("%d bytes allocated after truncating to the size it had", got)
		}
		must(t, f.Close())
	})
}

// allocated is how much disk an open file takes.
func allocated(t *testing.T, f File) int64 {
	switch f := f.(type) {
	case osFile:
		var s unix.Stat_t
		must(t, f.control(func(fd int) error { return unix.Fstat(fd, &s) }))
		return s.Blocks * 512
	case *memHandle:
		return f.f.allocated()
	}
	t.Fatalf("a file of type %T", f)
	return 0
}

func TestWhatIsForgottenIsNotInMemoryAndReadsAsBefore(t *testing.T) {
	const half = 2 << 20 // Linux keeps pages in pieces of up to 2 MiB, and drops them whole
	dir := t.TempDir()
	path := filepath.Join(dir, "one")
	want, page := strings.Repeat("0123456789abcdef", 2*half/16), os.Getpagesize()
	f := create(t, OS, path, []byte(want))
	must(t, f.Sync())
	cached := func() (pages int) {
		t.Helper()
		open, err := os.Open(path)
		must(t, err)
		defer open.Close()
		mapped, err := unix.Mmap(int(open.Fd()), 0, len(want), unix.PROT_READ, unix.MAP_SHARED)
		must(t, err)
		defer unix.Munmap(mapped)
		there := make([]byte, len(want)/page)
		if _, _, errno := unix.Syscall(unix.SYS_MINCORE, uintptr(unsafe.Pointer(&mapped[0])), uintptr(len(mapped)), uintptr(unsafe.Pointer(&there[0]))); errno != 0 {
			t.Fatal("mincore: ", errno)
		}
		for _, b := range there {
			pages += int(b & 1)
		}
		return pages
	}
	var fs unix.Statfs_t
	must(t, unix.Statfs(dir, &fs))
	left := half / page
	if fs.Type == unix.TMPFS_MAGIC {
		left *= 2 // there it is nowhere else
	}
	before := cached()
	f.Forget(half, half)
	if after := cached(); before != 2*half/page || after != left {
		t.Errorf("%d pages in memory, and then %d; want %d and %d", before, after, 2*half/page, left)
	}
	if got := content(t, OS, path); got != want {
		t.Error("the file's content is another")
	}
	must(t, f.Close())
}

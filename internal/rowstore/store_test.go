package rowstore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"tollgate/internal/rowstore/baddisk"
)

// broken is the error of a room.
type broken struct {
	path       string
	err        error
	unwritable bool
}

func (b *broken) Error() string { return fmt.Sprintf("%s is broken: %v", b.path, b.err) }
func (b *broken) Unwrap() error { return b.err }

var (
	errRow  = errors.New("a row is not readable")
	metaKey = []byte{0}
)

// stage is a disk with a store, and what was told.
type stage struct {
	*testing.T
	cfg  Config[*broken]
	disk *vfs.MemFS

	mu      sync.Mutex
	failed  []*broken
	waiting []error
}

func newStage(t *testing.T) *stage {
	f := &stage{T: t, disk: vfs.NewCrashableMem()}
	f.cfg = Config[*broken]{
		Room: "room", What: "the rows", Path: "rows", FS: f.disk, CacheBytes: 1 << 20, MemtableBytes: 1 << 20,
		Format: 3, MetaKey: metaKey, BadRow: errRow,
		Damage: func(path string, err error, unwritable bool) *broken { return &broken{path, err, unwritable} },
		Failed: func(b *broken) {
			f.mu.Lock()
			defer f.mu.Unlock()
			f.failed = append(f.failed, b)
		},
		Waiting: func(err error) {
			f.mu.Lock()
			defer f.mu.Unlock()
			f.waiting = append(f.waiting, err)
		},
	}
	return f
}

func (f *stage) told() (failed, waiting int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.failed), len(f.waiting)
}

func (f *stage) open() *Store[*broken] {
	f.Helper()
	s, err := Open(f.cfg)
	if err != nil {
		f.Fatal(err)
	}
	return s
}

func (f *stage) close(s *Store[*broken]) {
	f.Helper()
	if err := s.Close(); err != nil {
		f.Fatal(err)
	}
}

// put writes rows with a value each.
func (f *stage) put(s *Store[*broken], value string, keys ...string) {
	f.Helper()
	if err := write(s, pebble.NoSync, value, keys...); err != nil {
		f.Fatal(err)
	}
}

func write(s *Store[*broken], o *pebble.WriteOptions, value string, keys ...string) error {
	return s.Write(o, func(b *pebble.Batch) error {
		for _, key := range keys {
			if err := b.Set([]byte(key), []byte(value), nil); err != nil {
				return err
			}
		}
		return nil
	})
}

// has returns the rows but the format's, as key=value.
func (f *stage) has(s *Store[*broken]) (rows []string) {
	f.Helper()
	if err := s.Each(s.DB, []byte{1}, nil, func(key, value []byte) (bool, error) {
		rows = append(rows, fmt.Sprintf("%s=%s", key, value))
		return true, nil
	}); err != nil {
		f.Fatal(err)
	}
	return rows
}

// refusedAs says whether opening ends with the room's error, with a text in it.
func (f *stage) refusedAs(text string) {
	f.Helper()
	s, err := Open(f.cfg)
	if err == nil {
		f.close(s)
	}
	var b *broken
	if !errors.As(err, &b) || b.unwritable || !strings.Contains(err.Error(), text) {
		f.Errorf("Open: %v, want the room's error with %q", err, text)
	}
}

// ended says whether the store is of no more use, and says the same, with a text in it, to everybody who asks.
func (f *stage) ended(s *Store[*broken], unwritable bool, cause string) {
	f.Helper()
	select {
	case <-s.Up().Done():
	case <-time.After(10 * time.Second):
		f.Fatal("Up has not ended")
	}
	nothing := func([]byte, []byte) (bool, error) { return true, nil }
	_, _, err1 := s.Get(s.DB, metaKey)
	for i, err := range []error{
		s.Usable(), err1, s.Each(s.DB, nil, nil, nothing), s.Back(s.DB, nil, nil, nothing), write(s, pebble.NoSync, "1", "a"), s.Sync(),
	} {
		var b *broken
		if !errors.As(err, &b) || b.unwritable != unwritable || !strings.Contains(err.Error(), cause) {
			f.Errorf("%d: %v, want the room's error, unwritable %v, with %q", i, err, unwritable, cause)
		}
	}
	if n, _ := f.told(); n != 1 {
		f.Errorf("that it failed is told %d times", n)
	}
}

// Whatever a crash of the machine takes, it takes whole writes, and the newest; what was synced it does not take.
func TestACrashTakesWholeWritesAndTheNewest(t *testing.T) {
	took := 0
	for seed := range uint64(40) {
		f := newStage(t)
		s := f.open()
		const writes, synced = 12, 4
		for i := range writes {
			f.put(s, fmt.Sprint(i), fmt.Sprintf("a%02d", i), fmt.Sprintf("b%02d", i), fmt.Sprintf("c%02d", i))
			if i+1 == synced {
				if err := s.Sync(); err != nil {
					t.Fatal(err)
				}
			}
		}
		f.cfg.FS = f.disk.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: int(seed%3) * 40, RNG: rand.New(rand.NewPCG(seed, 1))})
		f.close(s)
		s = f.open()
		rows := f.has(s)
		n := len(rows) / 3
		var want []string
		for _, letter := range "abc" {
			for i := range n {
				want = append(want, fmt.Sprintf("%c%02d=%d", letter, i, i))
			}
		}
		if n < synced || !slices.Equal(rows, want) {
			t.Errorf("seed %d: of %d writes, %d of them synced, a crash left %v", seed, writes, synced, rows)
		}
		took += writes - n
		f.close(s)
	}
	if took == 0 {
		t.Error("no crash took anything")
	}
}

func TestAWriteThatIsNotFilledLeavesNothing(t *testing.T) {
	f := newStage(t)
	s := f.open()
	defer f.close(s)
	err := s.Write(pebble.Sync, func(b *pebble.Batch) error {
		return errors.Join(b.Set([]byte("a"), nil, nil), io.ErrUnexpectedEOF)
	})
	if !errors.Is(err, io.ErrUnexpectedEOF) || s.Usable() != nil {
		t.Errorf("Write: %v, Usable: %v", err, s.Usable())
	}
	if rows := f.has(s); rows != nil {
		t.Errorf("it left %v", rows)
	}
}

// A batch that is closed is the next one's memory: one that the library may still read must not become that.
func TestABatchThatCanNotBeCommittedIsClosedUnlessTheLibraryMayBeInIt(t *testing.T) {
	for name, end := range map[string]func(s *Store[*broken]) error{
		"refused": func(s *Store[*broken]) error { return s.Refuse(errRow) },
		"stuck":   func(s *Store[*broken]) error { return s.Fail("rows", baddisk.ErrGone, true) },
	} {
		f := newStage(t)
		s := f.open()
		b := s.DB.NewBatch()
		if err := b.Set([]byte("a"), nil, nil); err != nil {
			t.Fatal(err)
		}
		why := end(s)
		if err := s.Commit(b, pebble.NoSync); !errors.Is(err, why) || b.Empty() {
			t.Errorf("%s: Commit: %v, and the batch is empty: %v", name, err, b.Empty())
		}
		if err := s.Discard(b); err != nil || b.Empty() == s.Stuck() {
			t.Errorf("%s: Discard: %v, and the batch is empty: %v", name, err, b.Empty())
		}
		f.close(s)
	}
}

func TestAWalkHasTheRowsOfItsRangeAndNoOthers(t *testing.T) {
	f := newStage(t)
	s := f.open()
	f.put(s, "1", "a", "b", "ba", "c", "d")
	snapshot := s.DB.NewSnapshot()
	f.put(s, "2", "b", "bb")
	var got []string
	note := func(key, value []byte) (bool, error) {
		got = append(got, string(key)+string(value))
		return len(got)%10 != 3, nil // the third is the last of a walk
	}
	walk := func(want string, each func(pebble.Reader, []byte, []byte, func([]byte, []byte) (bool, error)) error, from pebble.Reader, lower, upper string) {
		t.Helper()
		got = nil
		if err := each(from, []byte(lower), []byte(upper), note); err != nil || strings.Join(got, " ") != want {
			t.Errorf("from %s to %s: %v, %v; want %s", lower, upper, got, err, want)
		}
	}
	walk("b2 ba1", s.Each, s.DB, "b", "bb")
	walk("b2 ba1 bb2", s.Each, s.DB, "b", "z")
	walk("ba1 b1", s.Back, snapshot, "b", "c")
	walk("d1 c1 bb2", s.Back, s.DB, "a", "z")
	walk("", s.Each, s.DB, "x", "z")
	if err := s.Each(s.DB, nil, nil, func([]byte, []byte) (bool, error) { return true, io.EOF }); !errors.Is(err, io.EOF) {
		t.Errorf("a walk's own error: %v", err)
	}
	value, found, err := s.Get(snapshot, []byte("bb"))
	if found || err != nil {
		t.Errorf("the snapshot has %q, %v", value, err)
	}
	if err := snapshot.Close(); err != nil {
		t.Fatal(err)
	}
	f.close(s) // which the library refuses while an iterator is open
}

// A log that can not be written any more calls for the end of the process, or panics.
func TestALogThatCanNotBeWrittenEndsTheStoreAndNotTheProcess(t *testing.T) {
	f := newStage(t)
	faults := new(baddisk.Faults)
	f.cfg.FS = errorfs.Wrap(f.disk, faults)
	s := f.open()
	if err := write(s, pebble.Sync, "1", "a"); err != nil {
		t.Fatal(err)
	}
	faults.Set(baddisk.Writes(".log"))
	go func() {
		for i := 0; i < 10_000 && s.Usable() == nil; i++ {
			_ = write(s, pebble.Sync, "2", "b") // may stay there
		}
	}()
	f.ended(s, true, baddisk.ErrGone.Error())
	if !s.Stuck() {
		t.Error("it is not stuck")
	}
	f.close(s) // and does not wait
	f.cfg.FS = f.disk.CrashClone(vfs.CrashCloneCfg{})
	s = f.open()
	defer f.close(s)
	if rows := f.has(s); len(rows) == 0 || rows[0] != "a=1" {
		t.Errorf("on a disk that is well it has %v", rows)
	}
}

// A table that can not be written is tried again: a disk that is full may have room later.
func TestATableThatCanNotBeWrittenIsWaitedFor(t *testing.T) {
	f := newStage(t)
	faults := new(baddisk.Faults)
	f.cfg.FS = errorfs.Wrap(f.disk, faults)
	s := f.open()
	f.put(s, "1", "a")
	faults.Set(baddisk.Writes(".sst"))
	flushed, err := s.DB.AsyncFlush()
	if err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		if _, waiting := f.told(); waiting > 0 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("that it waits is not told")
		}
	}
	f.put(s, "1", "b")
	if err := s.Usable(); err != nil {
		t.Errorf("while it waits: %v", err)
	}
	faults.Set(func(errorfs.Op) error { return nil })
	select {
	case <-flushed:
	case <-time.After(10 * time.Second):
		t.Fatal("it does not try again")
	}
	if rows := f.has(s); !slices.Equal(rows, []string{"a=1", "b=1"}) {
		t.Errorf("it has %v", rows)
	}
	f.close(s)
}

// fill makes a store with rows in tables, of which hardly anything is in memory.
func (f *stage) fill() *Store[*broken] {
	f.Helper()
	f.cfg.CacheBytes = 1
	s := f.open()
	for i := range 2000 {
		f.put(s, "1", fmt.Sprintf("%04d", i))
	}
	if err := s.DB.Flush(); err != nil {
		f.Fatal(err)
	}
	return s
}

func TestRotEndsTheStoreAndIsToldFromADiskThatFails(t *testing.T) {
	f := newStage(t)
	faults := new(baddisk.Faults)
	f.cfg.FS = errorfs.Wrap(f.disk, faults)
	s := f.fill()
	faults.Set(func(op errorfs.Op) error {
		if op.Kind == errorfs.OpFileReadAt && strings.HasSuffix(op.Path, ".sst") {
			return baddisk.ErrGone
		}
		return nil
	})
	var b *broken
	if _, _, err := s.Get(s.DB, []byte("0500")); !errors.Is(err, baddisk.ErrGone) || errors.As(err, &b) {
		t.Errorf("a disk that fails to read: %v, want its error and not the room's", err)
	}
	faults.Set(func(errorfs.Op) error { return nil })
	if _, found, err := s.Get(s.DB, []byte("0500")); !found || err != nil {
		t.Errorf("a disk that is well again: %v, %v", found, err)
	}
	baddisk.Rot(t, f.disk, f.cfg.Path)
	if _, _, err := s.Get(s.DB, []byte("0500")); !errors.As(err, &b) || !strings.Contains(b.path, ".sst") {
		t.Errorf("rot: %v, want the room's error with the table's name", err)
	}
	f.ended(s, false, "checksum")
	f.close(s)
}

func TestABadRowRefusesTheStoreForItsFirstReason(t *testing.T) {
	f := newStage(t)
	s := f.open()
	if err := s.Judge(fmt.Errorf("asking: %w", context.Canceled)); !errors.Is(err, context.Canceled) || s.Usable() != nil {
		t.Errorf("another error: %v, and the store is %v", err, s.Usable())
	}
	first := fmt.Errorf("row 7: %w", errRow)
	if err := s.Judge(first); !errors.Is(err, first) {
		t.Errorf("Judge: %v", err)
	}
	_ = s.Fail(f.cfg.Path, baddisk.ErrGone, true)
	f.ended(s, false, "row 7")
	f.close(s)
}

// The library panics with the error, or asks for the end of the process.
func TestTheEndThatTheLibraryAsksForIsTheStores(t *testing.T) {
	rot := fmt.Errorf("table 7: %w", pebble.ErrCorruption)
	for name, end := range map[string]func(s *Store[*broken], why error){
		"panic": func(s *Store[*broken], why error) { _ = s.guard(func() error { panic(why) }) },
		"Fatalf": func(s *Store[*broken], why error) {
			returned, gone := false, make(chan struct{})
			go func() {
				defer close(gone)
				logger[*broken]{s}.Fatalf("flushing: %v", why)
				returned = true
			}()
			if <-gone; returned {
				t.Error("Fatalf has returned to a library that expects it not to")
			}
		},
	} {
		for _, why := range []error{baddisk.ErrGone, rot} {
			f := newStage(t)
			s := f.open()
			end(s, why)
			f.ended(s, !errors.Is(why, rot), why.Error())
			if !s.Stuck() {
				t.Errorf("%s: a store that the library gave up is not stuck", name)
			}
			f.close(s)
		}
	}
}

// A panic that is not about the disk is a bug.
func TestABugIsNotTakenForADiskThatFails(t *testing.T) {
	f := newStage(t)
	s := f.open()
	defer f.close(s)
	defer func() {
		if recover() == nil || s.Usable() != nil {
			t.Errorf("the panic is gone, and the store is %v", s.Usable())
		}
	}()
	var none []byte
	_ = s.guard(func() error { return fmt.Errorf("%d", none[len(none)]) })
}

func TestAnotherFormatIsRefused(t *testing.T) {
	for text, change := range map[string]func(*pebble.DB) error{
		"its format is 04, and this program knows 3": func(db *pebble.DB) error { return db.Set(metaKey, []byte{4}, pebble.Sync) },
		"its format is 0309":                         func(db *pebble.DB) error { return db.Set(metaKey, []byte{3, 9}, pebble.Sync) },
		"it has no format":                           func(db *pebble.DB) error { return db.Delete(metaKey, pebble.Sync) },
	} {
		f := newStage(t)
		s := f.open()
		f.put(s, "1", "a")
		if err := change(s.DB); err != nil {
			t.Fatal(err)
		}
		f.close(s)
		f.refusedAs(text)
	}
}

// Without its manifest the library would begin anew and remove the tables that it does not know.
func TestAStoreThatLostFilesIsRefusedAndNotWiped(t *testing.T) {
	for name, lose := range map[string]func(f *stage) error{
		"the manifest":      func(f *stage) error { return f.remove("marker.manifest", "MANIFEST") },
		"all but tables":    func(f *stage) error { return f.remove("marker", "MANIFEST", "OPTIONS") },
		"the marker only":   func(f *stage) error { return f.remove("marker.manifest") },
		"a rotten manifest": func(f *stage) error { return f.overwrite("MANIFEST") },
	} {
		f := newStage(t)
		f.close(f.fill())
		if err := lose(f); err != nil {
			t.Fatal(err)
		}
		before, err := f.disk.List(f.cfg.Path)
		if err != nil {
			t.Fatal(err)
		}
		f.refusedAs(f.cfg.Path)
		after, err := f.disk.List(f.cfg.Path)
		if err != nil {
			t.Fatal(err)
		}
		tables := 0
		for _, file := range before {
			if !strings.HasSuffix(file, ".sst") {
				continue
			}
			if tables++; !slices.Contains(after, file) {
				t.Errorf("%s: %s was removed", name, file)
			}
		}
		if tables == 0 {
			t.Errorf("%s: there was no table", name)
		}
	}
}

// remove removes the files of the store whose name begins with a text.
func (f *stage) remove(begin ...string) error {
	return f.files(begin, func(path string) error { return f.disk.Remove(path) })
}

func (f *stage) overwrite(begin ...string) error {
	return f.files(begin, func(path string) error {
		file, err := f.disk.Create(path, vfs.WriteCategoryUnspecified)
		if err != nil {
			return err
		}
		_, err = file.Write([]byte("rot"))
		return errors.Join(err, file.Close())
	})
}

func (f *stage) files(begin []string, do func(path string) error) error {
	names, err := f.disk.List(f.cfg.Path)
	if err != nil {
		return err
	}
	n := 0
	for _, name := range names {
		if slices.ContainsFunc(begin, func(b string) bool { return strings.HasPrefix(name, b) }) {
			n++
			err = errors.Join(err, do(filepath.Join(f.cfg.Path, name)))
		}
	}
	if n == 0 {
		f.Errorf("no file of %v in %v", begin, names)
	}
	return err
}

func TestASeedIsDrawnOnceForTheLifeOfAStore(t *testing.T) {
	f := newStage(t)
	drawn := 0
	f.cfg.SeedBytes, f.cfg.Seed = 2, func() []byte { drawn++; return []byte{7, byte(drawn)} }
	// A crash between the making of a store and its format leaves one that is empty.
	db, err := pebble.Open(f.cfg.Path, &pebble.Options{FS: f.disk, FormatMajorVersion: pebble.FormatNewest, Logger: logger[*broken]{}})
	if err == nil {
		err = db.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		s := f.open()
		if string(s.Seed()) != "\x07\x01" {
			t.Errorf("the seed is %x", s.Seed())
		}
		f.close(s)
		if s.Up().Err() == nil {
			t.Error("a store that is closed is up")
		}
	}
}

func TestAStoreThatIsAbandonedIsNotClosed(t *testing.T) {
	f := newStage(t)
	s := f.open()
	f.put(s, "1", "a")
	s.Abandon()
	if s.Up().Err() == nil {
		t.Error("it is up")
	}
	if _, closer, err := s.DB.Get([]byte("a")); err != nil { // which panics when it is closed
		t.Error(err)
	} else {
		_ = closer.Close()
	}
	if err := s.DB.Close(); err != nil {
		t.Error(err)
	}
}

func TestAStoreInUseIsNeitherOpenedNorSetAside(t *testing.T) {
	f := newStage(t)
	now := time.Date(2026, 3, 2, 10, 20, 42, 118e6, time.FixedZone("", 3600))
	aside := func() (string, error) { return SetAside(f.disk, f.cfg.Room, f.cfg.What, f.cfg.Path, now) }
	if name, err := aside(); name != "" || err != nil {
		t.Errorf("without a store: %q, %v", name, err)
	}
	s := f.open()
	f.put(s, "1", "a")
	var b *broken
	if _, err := Open(f.cfg); err == nil || errors.As(err, &b) || !strings.Contains(err.Error(), "room: the rows in rows can not be opened; another process") {
		t.Errorf("Open of a store in use: %v", err)
	}
	if name, err := aside(); name != "" || err == nil || !strings.Contains(err.Error(), "room: the rows in rows is in use; stop the gateway") {
		t.Errorf("a store in use: %q, %v", name, err)
	}
	if rows := f.has(s); !slices.Equal(rows, []string{"a=1"}) {
		t.Errorf("it has %v", rows)
	}
	f.close(s)
	name, err := aside()
	if err != nil || name != "rows.aside-2026-03-02T092042118Z" {
		t.Fatalf("set aside: %q, %v", name, err)
	}
	s = f.open()
	if rows := f.has(s); rows != nil {
		t.Errorf("what is made anew has %v", rows)
	}
	f.close(s)
	f.cfg.Path = name
	s = f.open()
	if rows := f.has(s); !slices.Equal(rows, []string{"a=1"}) {
		t.Errorf("what was set aside has %v", rows)
	}
	f.close(s)
}

func TestAStoreThatWasSetAsideStaysThereThroughAPowerCut(t *testing.T) {
	f := newStage(t)
	faults := new(baddisk.Faults)
	f.cfg.FS = errorfs.Wrap(f.disk, faults)
	s := f.open()
	f.put(s, "1", "a")
	f.close(s)
	now := time.Unix(1_772_443_242, 0)
	faults.Set(func(op errorfs.Op) error {
		if op.Kind == errorfs.OpFileSync {
			return baddisk.ErrGone
		}
		return nil
	})
	name, err := SetAside(f.cfg.FS, f.cfg.Room, f.cfg.What, f.cfg.Path, now)
	if name != "" || !errors.Is(err, baddisk.ErrGone) || !strings.Contains(err.Error(), AsideName(f.cfg.Path, now)) {
		t.Errorf("on a disk that does not sync: %q, %v", name, err)
	}

	f = newStage(t)
	s = f.open()
	f.put(s, "1", "a")
	f.close(s)
	if name, err = SetAside(f.disk, f.cfg.Room, f.cfg.What, f.cfg.Path, now); err != nil {
		t.Fatal(err)
	}
	f.disk = f.disk.CrashClone(vfs.CrashCloneCfg{})
	f.cfg.FS = f.disk
	if left, err := f.disk.List(f.cfg.Path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("it is back: %v, %v", left, err)
	}
	f.cfg.Path = name
	s = f.open()
	if rows := f.has(s); !slices.Equal(rows, []string{"a=1"}) {
		t.Errorf("what was set aside has %v", rows)
	}
	f.close(s)
}

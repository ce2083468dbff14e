package thinevent

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	pebblevfs "github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"tollgate/internal/rowstore/baddisk"
	"tollgate/pkg/commitlog"
)

// answersWith says whether everything is answered with a *DamagedError that has a text in it.
func (f *stage) answersWith(s *Store, text string) {
	f.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	_, err1 := s.List(&Query{Business: "acct_demo", Limit: 1})
	_, err2 := s.Get("acct_demo", false, "evt_1")
	_, _, err3 := s.Reported("evt_1")
	_, _, err4 := s.From(0, 1)
	_, err5 := s.At(0)
	_, err6 := s.Since(0)
	err7 := s.Append(ctx, report("mtr_1", 99, t0))
	if !errors.Is(err7, commitlog.ErrUnavailable) {
		f.Errorf("Append: %v, want it to say that nothing was appended", err7)
	}
	for i, err := range []error{err1, err2, err3, err4, err5, err6, err7, s.Damage(), s.Ready(), s.CaughtUp(ctx)} {
		var damaged *DamagedError
		if !errors.As(err, &damaged) || !strings.Contains(err.Error(), text) {
			f.Errorf("%d: answered with %v, want a DamagedError with %q", i+1, err, text)
		}
	}
}

// onDisk makes an index on the real file system and closes it.
func (f *stage) onDisk(n int64) {
	f.Helper()
	f.cfg.FS, f.cfg.Dir = pebblevfs.Default, filepath.Join(f.TempDir(), "events")
	for i := range n {
		f.put(report("mtr_1", i, t0))
	}
	s := f.caughtUp()
	if len(f.all(s)) != int(n) {
		f.Fatalf("shown is %s", ids(f.all(s)))
	}
	f.close(s)
}

func TestADamagedIndexIsRefusedWithTheCommandAndSetAside(t *testing.T) {
	f := newStage(t)
	f.onDisk(20)
	manifests, _ := filepath.Glob(filepath.Join(f.cfg.Dir, "MANIFEST-*"))
	if len(manifests) == 0 {
		t.Fatal("no manifest")
	}
	for _, path := range manifests {
		if err := os.WriteFile(path, []byte("rot"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s := f.open()
	f.answersWith(s, "`gateway state rebuild`")
	f.answersWith(s, f.cfg.Dir)
	if b, err := os.ReadFile(manifests[0]); string(b) != "rot" || err != nil || !f.told(Damaged) {
		t.Errorf("the damaged file is %q, %v; told %v", b, err, f.notices)
	}
	if f.log.len() != 20 {
		t.Error("something was appended")
	}
	f.close(s)
	aside, err := Rebuild(f.cfg.Dir, time.UnixMilli(t0))
	if err != nil || aside != f.cfg.Dir+".aside-2026-03-02T102042118Z" {
		t.Fatalf("Rebuild: %q, %v", aside, err)
	}
	if _, err := os.Stat(filepath.Join(aside, filepath.Base(manifests[0]))); err != nil {
		t.Error(err)
	}
	if again, err := Rebuild(f.cfg.Dir, time.UnixMilli(t0)); again != "" || err != nil {
		t.Errorf("Rebuild of nothing: %q, %v", again, err)
	}
	s = f.caughtUp()
	if n := len(f.all(s)); n != 20 {
		t.Errorf("made anew: %d events", n)
	}
	if _, err := Rebuild(f.cfg.Dir, time.UnixMilli(t0)); err == nil || !strings.Contains(err.Error(), "stop the gateway") {
		t.Errorf("Rebuild of an index in use: %v", err)
	}
}

func TestAnIndexOfAnotherLogIsRefused(t *testing.T) {
	f := newStage(t)
	s := f.caughtUp()
	for n := range int64(3) {
		f.put(report("mtr_1", n, t0))
	}
	f.catchUp(s)
	f.close(s)
	f.log = newFakeLog()
	f.cfg.Log = f.log
	f.put(report("mtr_1", 7, t0))
	s = f.open()
	eventually(t, "it is noticed", func() bool { return s.Damage() != nil })
	f.answersWith(s, "another log")
	f.answersWith(s, "`gateway state rebuild`")
	f.close(s)
	if s = f.open(); s.Damage() == nil {
		eventually(t, "it is noticed again", func() bool { return s.Damage() != nil })
	}
}

// quiet is a store's logger.
type quiet struct{}

func (quiet) Infof(string, ...any)  {}
func (quiet) Errorf(string, ...any) {}
func (quiet) Fatalf(string, ...any) {}

func TestAnIndexOfAnotherFormatIsRefused(t *testing.T) {
	f := newStage(t)
	change := func(write func(*pebble.DB) error) {
		t.Helper()
		db, err := pebble.Open(f.cfg.Dir, &pebble.Options{FS: f.cfg.FS, Logger: quiet{}, FormatMajorVersion: pebble.FormatNewest})
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(write(db), db.Close()); err != nil {
			t.Fatal(err)
		}
	}
	f.put(report("mtr_1", 1, t0))
	f.close(f.caughtUp())
	change(func(db *pebble.DB) error { return db.Set(keyMeta, []byte{formatVersion + 1}, pebble.Sync) })
	s := f.open()
	f.answersWith(s, "its format is 02, and this program knows 1")
	f.close(s)
	change(func(db *pebble.DB) error { return db.Delete(keyMeta, pebble.Sync) })
	s = f.open()
	f.answersWith(s, "it has no format")
}

func TestARowThatIsNotReadableIsDamage(t *testing.T) {
	for name, key := range map[string][]byte{"event": keyEvent(0), "id": keyID(report("mtr_1", 0, t0).ID), "state": keyState} {
		f := newStage(t)
		f.put(report("mtr_1", 0, t0))
		s := f.caughtUp()
		if err := s.index.DB.Set(key, []byte("rot"), pebble.NoSync); err != nil {
			t.Fatal(err)
		}
		_, err1 := s.List(&Query{Business: "acct_demo", Limit: 1})
		_, err2 := s.Get("acct_demo", false, report("mtr_1", 0, t0).ID)
		_, _, err3 := s.From(0, 1)
		var damaged *DamagedError
		if !errors.As(errors.Join(err1, err2, err3), &damaged) {
			t.Errorf("%s: %v, %v, %v", name, err1, err2, err3)
		}
		f.answersWith(s, "a row is not readable")
	}
}

// Without its manifest the embedded store would begin anew and remove the tables that it does not know.
func TestAnIndexWithoutAManifestIsRefusedAndNotWiped(t *testing.T) {
	f := newStage(t)
	f.onDisk(20)
	s := f.caughtUp()
	if err := s.index.DB.Flush(); err != nil {
		t.Fatal(err)
	}
	f.close(s)
	for _, pattern := range []string{"marker.*", "MANIFEST-*"} {
		paths, _ := filepath.Glob(filepath.Join(f.cfg.Dir, pattern))
		for _, path := range paths {
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
		}
	}
	tables, _ := filepath.Glob(filepath.Join(f.cfg.Dir, "*.sst"))
	s = f.open()
	f.answersWith(s, "`gateway state rebuild`")
	f.close(s)
	if left, _ := filepath.Glob(filepath.Join(f.cfg.Dir, "*.sst")); len(tables) == 0 || len(left) != len(tables) {
		t.Errorf("of the tables %v are left %v", tables, left)
	}
}

func TestWhoWaitsForAnIndexThatFailsIsTold(t *testing.T) {
	f := newStage(t)
	s := f.caughtUp()
	f.log.set(func() { f.log.visible = 0 })
	f.put(report("mtr_1", 1, t0))
	waits := make(chan error, 1)
	go func() { waits <- s.CaughtUp(context.Background()) }()
	time.Sleep(5 * time.Millisecond)
	_ = s.index.Refuse(baddisk.ErrGone)
	select {
	case err := <-waits:
		var damaged *DamagedError
		if !errors.As(err, &damaged) {
			t.Errorf("who waited: %v", err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("waits on")
	}
}

// What uses an embedded store that failed may wait in there for ever, and so would closing it.
func TestAStoreThatIsStuckIsLeftAlone(t *testing.T) {
	f := newStage(t)
	s := f.caughtUp()
	db := s.index.DB
	defer db.Close()
	s.write.Lock()
	defer s.write.Unlock()
	f.put(report("mtr_1", 1, t0))
	time.Sleep(20 * time.Millisecond) // the fold has come to the record, and waits
	_ = s.index.Fail("here", baddisk.ErrGone, false)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	begun := time.Now()
	if err := s.Close(ctx); err != nil || time.Since(begun) > 10*time.Second {
		t.Errorf("Close: %v after %v", err, time.Since(begun))
	}
	if _, closer, err := db.Get(keyMeta); err != nil {
		t.Error(err)
	} else {
		_ = closer.Close()
	}
}

// A store that can not write its log calls for the end of the process; here it ends the index alone.
func TestAnIndexThatCanNotBeWrittenEndsAndTheProcessLives(t *testing.T) {
	f := newStage(t)
	injected, disk := new(baddisk.Faults), pebblevfs.NewCrashableMem()
	f.cfg.FS = errorfs.Wrap(disk, injected)
	s := f.caughtUp()
	if err := s.Append(t.Context(), report("mtr_1", 1, t0)); err != nil {
		t.Fatal(err)
	}
	injected.Set(baddisk.Writes(".log"))
	var err error
	n := int64(2)
	for ; s.Damage() == nil; n++ {
		if n == 10_000 {
			t.Fatal("it runs on")
		}
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		err = s.Append(ctx, report("mtr_1", n, t0))
		cancel()
	}
	var damaged *DamagedError
	if err != nil && !errors.As(err, &damaged) {
		t.Errorf("Append: %v", err)
	}
	f.answersWith(s, baddisk.ErrGone.Error())
	if d := s.Damage(); !errors.As(d, &damaged) || !damaged.Unwritable || !f.told(Failed) {
		t.Errorf("Damage: %v, told %v", d, f.notices)
	}
	f.close(s)
	f.cfg.FS = disk.CrashClone(pebblevfs.CrashCloneCfg{})
	s = f.caughtUp()
	if got := len(f.all(s)); got != f.log.len() {
		t.Errorf("another life on a disk that is well shows %d events of %d", got, f.log.len())
	}
}

func TestRotThatIsReadEndsTheIndex(t *testing.T) {
	f := newStage(t)
	disk := pebblevfs.NewMem()
	f.cfg.FS, f.cfg.CacheBytes = disk, 1
	for n := range int64(2000) {
		f.put(report("mtr_1", n, t0))
	}
	s := f.caughtUp()
	if err := s.index.DB.Flush(); err != nil {
		t.Fatal(err)
	}
	baddisk.Rot(t, disk, f.cfg.Dir)
	_, err := s.List(&Query{Business: "acct_demo", Limit: 2000})
	var damaged *DamagedError
	if !errors.As(err, &damaged) || damaged.Unwritable || !strings.Contains(err.Error(), "`gateway state rebuild`") {
		t.Errorf("List: %v", err)
	}
	f.answersWith(s, ".sst is damaged")
}

package stage

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func child(t *testing.T, args ...string) *process {
	t.Helper()
	return &process{args: args, log: filepath.Join(t.TempDir(), "log")}
}

func TestAChildIsKilledAndStartedAgain(t *testing.T) {
	p := child(t, "sleep", "60")
	last := 0
	for range 2 {
		if err := p.start(); err != nil {
			t.Fatal(err)
		}
		if p.PID() == last {
			t.Error("the second life is the first one")
		}
		last = p.PID()
		p.Kill()
		p.Kill()
	}
	if err := p.signal(0); !errors.Is(err, os.ErrProcessDone) {
		t.Errorf("a signal to a child that has ended: %v", err)
	}
}

func TestASlowDiskIsSlowAndThenAsBefore(t *testing.T) {
	if _, err := FindStrace(); err != nil {
		t.Skip("SKIPPED: ", err)
	}
	dir := t.TempDir()
	synced := filepath.Join(dir, "synced")
	p := child(t, "sh", "-c", `cd "$0" && : >file && while :; do sync -d file; echo >>synced; done`, dir)
	if err := p.start(); err != nil {
		t.Fatal(err)
	}
	defer p.Kill()
	lines := func() int64 {
		info, err := os.Stat(synced)
		if err != nil {
			return 0
		}
		return info.Size()
	}
	for lines() == 0 {
		time.Sleep(10 * time.Millisecond)
	}
	d, err := SlowDown(context.Background(), p.PID(), 200*time.Millisecond, dir)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Kill()
	before := lines()
	time.Sleep(600 * time.Millisecond)
	if slow := lines() - before; slow > 4 {
		t.Errorf("%d fsyncs of 200 ms each in 600 ms", slow)
	}
	if err := d.Mend(); err != nil {
		t.Fatal(err)
	}
	before = lines()
	for end := time.Now().Add(10 * time.Second); lines()-before < 10; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d fsyncs in 10 s after it was mended", lines()-before)
		}
	}
	if err := d.Mend(); err == nil {
		t.Error("what has ended can be mended")
	}
}

func TestAChildThatEndsOrNeverComesIsAnError(t *testing.T) {
	p := child(t, "false")
	if err := p.start(); err != nil {
		t.Fatal(err)
	}
	if err := p.await(context.Background(), 10*time.Second, func() bool { return false }); err == nil {
		t.Error("a child that has ended is ready")
	}
	p = child(t, "sleep", "60")
	if err := p.start(); err != nil {
		t.Fatal(err)
	}
	defer p.Kill()
	if err := p.await(context.Background(), 50*time.Millisecond, func() bool { return false }); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
	p = child(t, filepath.Join(t.TempDir(), "no-such-binary"))
	if err := p.start(); err == nil {
		t.Error("a binary that does not exist runs")
	}
	p.Kill()
}

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

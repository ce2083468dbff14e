package machine

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// lockedByAChild holds the lock in another process until the test ends or release is called.
func lockedByAChild(t *testing.T) (release func()) {
	t.Helper()
	flock, err := exec.LookPath("flock")
	if err != nil {
		t.Skip("SKIPPED: there is no flock here: ", err)
	}
	cmd := exec.Command(flock, filepath.Join(os.TempDir(), lockFile), "sh", "-c", "echo locked; read line")
	in, errIn := cmd.StdinPipe()
	out, errOut := cmd.StdoutPipe()
	if err := errors.Join(errIn, errOut, cmd.Start()); err != nil {
		t.Fatal(err)
	}
	release = func() {
		in.Close()
		cmd.Wait()
	}
	t.Cleanup(release)
	if _, err := out.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	return release
}

func TestTwoTimedRunsDoNotOverlap(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	free := lockedByAChild(t)
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	if _, err := Alone(ctx, nil); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("a second run began: %v", err)
	}
	told := 0
	release, err := Alone(context.Background(), func(string) { told++; free() })
	if err != nil || told != 1 {
		t.Fatalf("%v, told %d times", err, told)
	}
	defer release()
	if _, err := Alone(ctx, nil); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("this process has the lock, and has it once more: %v", err)
	}
}

func TestALockThatAProcessWasBornWithIsItsOwn(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	flock, err := exec.LookPath("flock")
	if err != nil {
		t.Skip("SKIPPED: there is no flock here: ", err)
	}
	dir := t.TempDir()
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(dir, link); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{dir, link} {
		cmd := exec.Command(flock, filepath.Join(dir, lockFile), os.Args[0], "-test.run=^TestBorn$")
		cmd.Env = append(os.Environ(), "TMPDIR="+dir, "TOLLGATE_LOCK_BORN=1")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%s: %v: %s", dir, err, out)
		}
	}
}

func TestALockThatAnotherMadeNeedsOnlyReading(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	if err := os.WriteFile(filepath.Join(dir, lockFile), nil, 0o444); err != nil {
		t.Fatal(err)
	}
	release, err := Alone(context.Background(), nil)
	if err != nil {
		t.Fatal(err)
	}
	release()
}

// TestBorn is what runs below flock(1); by itself it takes a free lock.
func TestBorn(t *testing.T) {
	if os.Getenv("TOLLGATE_LOCK_BORN") == "" {
		t.Setenv("TMPDIR", t.TempDir())
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	release, err := Alone(ctx, nil)
	if err != nil {
		t.Fatal(err)
	}
	release()
}

package main

import (
	"io"
	"os"
	"strconv"
	"strings"
	"testing"
)

func TestConnectionsLeaveFileDescriptorsToTheLog(t *testing.T) {
	for files, want := range map[uint64]int{1 << 63: 16384, 16448: 16384, 16447: 16383, 1024: 960, 64: 1, 20: 1} {
		if got := connsWithin(files); got != want {
			t.Errorf("%d connections with %d files, want %d", got, files, want)
		}
	}
}

// What root makes, the gateway's user can not open: it would not start after a repair.
func TestTheJournalIsNotRepairedAsAnotherUser(t *testing.T) {
	place := journalPlace{DataDir: t.TempDir()}
	if err := os.Mkdir(place.dir(), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := owned(place.dir()); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(place.dir(), os.Geteuid()+1, -1); err != nil {
		t.Skipf("SKIPPED: only root can give a folder away: %v", err)
	}
	run := false
	err := place.alone(io.Discard, func() error { run = true; return nil })
	if run || err == nil || !strings.Contains(err.Error(), "sudo -u '#"+strconv.Itoa(os.Geteuid()+1)+"'") {
		t.Fatalf("run %t: %v", run, err)
	}
}

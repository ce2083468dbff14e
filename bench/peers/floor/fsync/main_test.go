package main

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestFilesAreCutAndOnlyTheNewestIsKept(t *testing.T) {
	dir := t.TempDir()
	f := &files{dir: dir, bytesMax: 1000}
	group := bytes.Repeat([]byte("x"), 300)
	for range 7 { // 3 a file, so one in the third
		if err := f.append(group); err != nil {
			t.Fatal(err)
		}
	}
	list, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(list) != 1 || filepath.Base(list[0]) != "group-000002" {
		t.Fatalf("%v, %v", list, err)
	}
	if kept, err := os.ReadFile(list[0]); err != nil || !bytes.Equal(kept, group) {
		t.Errorf("%d bytes in the newest file, want %d (%v)", len(kept), len(group), err)
	}
	f.remove()
	if list, _ := filepath.Glob(filepath.Join(dir, "*")); len(list) > 0 {
		t.Errorf("left behind: %v", list)
	}
}

func TestAGroupCountsTheRecordsThatFitIntoIt(t *testing.T) {
	f := &files{dir: t.TempDir(), bytesMax: fileBytesMax}
	defer f.remove()
	line, err := writeFor(f, make([]byte, 1100), time.Millisecond)
	if err != nil || line.Groups == 0 || line.Records != 4*line.Groups || line.Bytes != 1100*line.Groups {
		t.Errorf("%+v, %v", line, err)
	}
}

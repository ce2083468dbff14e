package main

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestWatchSeesChangedContentsOnce(t *testing.T) {
	file := filepath.Join(t.TempDir(), "f")
	write(t, file, "one")
	var w watch
	w.add(file)
	f := func(what string, want bool) {
		t.Helper()
		if got := len(w.changed()) == 1; got != want {
			t.Errorf("%s: changed = %t, want %t", what, got, want)
		}
	}
	f("untouched", false)
	now := time.Now().Add(time.Second)
	if err := os.Chtimes(file, now, now); err != nil {
		t.Fatal(err)
	}
	f("touched", false)
	write(t, file, "two, longer")
	f("rewritten", true)
	f("and seen", false)
	write(t, file+".new", "three, longer")
	if err := os.Rename(file+".new", file); err != nil {
		t.Fatal(err)
	}
	f("replaced by rename", true)
	os.Remove(file)
	f("removed", true)
	f("still away", false)
	write(t, file, "three, longer")
	f("back", true)
}

// A mounted ConfigMap is links: gateway.yaml → ..data/gateway.yaml, ..data → a folder that is swapped by rename.
func TestWatchFollowsTheLinksThatKubernetesSwaps(t *testing.T) {
	dir := t.TempDir()
	version := func(name, text string) {
		if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(dir, name, "gateway.yaml"), text)
		tmp := filepath.Join(dir, "..data_tmp")
		if err := os.Symlink(name, tmp); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(tmp, filepath.Join(dir, "..data")); err != nil {
			t.Fatal(err)
		}
	}
	version("..v1", "same size 1")
	file := filepath.Join(dir, "gateway.yaml")
	if err := os.Symlink(filepath.Join("..data", "gateway.yaml"), file); err != nil {
		t.Fatal(err)
	}
	var w watch
	w.add(file)
	if got := w.changed(); len(got) != 0 {
		t.Fatalf("changed without a change: %v", got)
	}
	version("..v2", "same size 2")
	if got := w.changed(); len(got) != 1 {
		t.Fatalf("the swap was not seen: %v", got)
	}
}

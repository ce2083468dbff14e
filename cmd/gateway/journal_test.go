package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestWithoutASpillTheCommandsSayThatNothingIsSpilled(t *testing.T) {
	f := func(want int, dir string, texts ...string) {
		t.Helper()
		for _, command := range []string{"verify", "dump", "repair"} {
			var out strings.Builder
			code := (&Main{Stdout: &out, Stderr: &out}).Run([]string{"journal", command, "--spill", "--data-dir", dir})
			if code != want {
				t.Errorf("journal %s --spill: exit %d, want %d:\n%s", command, code, want, out.String())
			}
			for _, text := range texts {
				if !strings.Contains(out.String(), text) {
					t.Errorf("journal %s --spill does not say %q:\n%s", command, text, out.String())
				}
			}
		}
	}
	dir := t.TempDir()
	f(exitFailed, dir, "no such file", "is --data-dir right")
	serveWith(t, "serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--data-dir", dir).stop()
	f(exitOK, dir, "Nothing is spilled in "+dir, "spill.enabled")
	if err := os.Mkdir(filepath.Join(dir, spillFolder), 0o700); err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	if code := (&Main{Stdout: &out, Stderr: &out}).Run([]string{"journal", "verify", "--spill", "--data-dir", dir}); code != exitOK || !strings.Contains(out.String(), "0 partitions, 0 faults") {
		t.Errorf("a spill that was never used: exit %d:\n%s", code, out.String())
	}
}

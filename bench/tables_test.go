package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tollgate/bench/internal/tables"
)

func TestTheTablesInTheDocumentsAreWhatTheirResultsSay(t *testing.T) {
	if err := (&tablesCommand{Check: true}).Run(); err != nil {
		t.Error(err)
	}
}

func TestATableIsToldWithMachineCommandAndCommit(t *testing.T) {
	root := t.TempDir()
	if err := os.MkdirAll(filepath.Join(root, "docs", "results"), 0o755); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "small.json")
	err := os.WriteFile(file, []byte(`{"command":"bench run small","machine":{"processor":"P","cores":2,"memory_mib":2047,"kernel":"6","go":"go1","commit":"abc"},
		"scenario":{"name":"small","phases":[]},"log":"journal","loads":{},"verdict":{"acknowledged":5,"found":5},"timeline":[1,2,3]}`), 0o644)
	if err != nil {
		t.Fatal(err)
	}
	if err := keep(root, file); err != nil {
		t.Fatal(err)
	}
	got, err := renderTable(root, "docs", "log", "docs/results/small.json")
	const want = "| 5 | 5 | 0 | 0 |\n\nsmall on journal, in the log. 2 cores of P, 2 GiB, Linux 6, go1; commit abc; `bench run small`; [small.json](results/small.json)\n"
	if err != nil || !strings.HasSuffix(got, want) {
		t.Errorf("%s, %v", got, err)
	}
	if _, err := renderTable(root, ".", "loads", "docs/results/small.json"); err == nil || !strings.Contains(err.Error(), "it tells log") {
		t.Errorf("a table without rows: %v", err)
	}
	if err := os.WriteFile(file, []byte(`{"big":"`+strings.Repeat("x", tables.KeptBytesMax)+`"}`), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := keep(root, file); err == nil {
		t.Error("a large result was kept")
	}
}

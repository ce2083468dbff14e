package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"tollgate/bench/internal/compare"
	"tollgate/bench/internal/machine"
	"tollgate/bench/internal/stage"
	"tollgate/bench/internal/tables"
)

type tablesCommand struct {
	Check bool     `help:"Change nothing; exit 1 when a document differs from what the results say."`
	Keep  []string `type:"existingfile" help:"First keep this result in docs/results, without its timelines; may be repeated."`
}

// errStale is a document that does not say what the results say.
var errStale = errors.New("a table is not what its result says: run bench tables")

// tableDocuments are the files whose tables come from results.
var tableDocuments = []string{"README.md", "docs/PERFORMANCE.md"}

// Run is called by kong.
func (c *tablesCommand) Run() error {
	root, err := stage.ModuleRoot()
	if err != nil {
		return err
	}
	for _, file := range c.Keep {
		if c.Check {
			return fmt.Errorf("%w: --keep changes files, and --check changes none", errRefused)
		}
		if err := keep(root, file); err != nil {
			return err
		}
	}
	stale := 0
	for _, name := range tableDocuments {
		file := filepath.Join(root, name)
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		fresh, err := tables.Rewrite(text, func(table, result string) (string, error) {
			return renderTable(root, filepath.Dir(name), table, result)
		})
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if bytes.Equal(text, fresh) {
			continue
		}
		fmt.Println(name, "differs")
		stale++
		if !c.Check {
			if err := os.WriteFile(file, fresh, 0o644); err != nil {
				return err
			}
		}
	}
	if c.Check && stale > 0 {
		return errStale
	}
	return nil
}

// keep puts a result beside the documents.
func keep(root, file string) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	small, err := tables.Compact(text)
	if err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	if len(small) > tables.KeptBytesMax {
		return fmt.Errorf("%s is %d bytes without its timelines, more than %d", file, len(small), tables.KeptBytesMax)
	}
	return os.WriteFile(filepath.Join(root, "docs", "results", filepath.Base(file)), small, 0o644)
}

// renderTable is a table of a kept result and what is to be known of it, for a document in a directory.
func renderTable(root, dir, name, result string) (string, error) {
	text, err := os.ReadFile(filepath.Join(root, result))
	if err != nil {
		return "", err
	}
	if len(text) > tables.KeptBytesMax {
		return "", fmt.Errorf("%s has %d bytes, more than %d: keep it by bench tables --keep", result, len(text), tables.KeptBytesMax)
	}
	all, err := tablesOf(text)
	if err != nil {
		return "", fmt.Errorf("%s: %w", result, err)
	}
	i := slices.IndexFunc(all, func(t tables.Table) bool { return t.Name == name })
	if i < 0 || len(all[i].Rows) == 0 {
		var names []string
		for _, t := range all {
			if len(t.Rows) > 0 {
				names = append(names, t.Name)
			}
		}
		return "", fmt.Errorf("%s tells nothing of %q; it tells %s", result, name, strings.Join(names, ", "))
	}
	var how struct {
		Command string       `json:"command"`
		Machine machine.Info `json:"machine"`
	}
	if err := json.Unmarshal(text, &how); err != nil {
		return "", err
	}
	link, err := filepath.Rel(dir, result)
	if err != nil {
		return "", err
	}
	m := how.Machine
	return fmt.Sprintf("%s\n%s. %d cores of %s, %d GiB, Linux %s, %s; commit %s; `%s`; [%s](%s)\n", all[i].Markdown(), all[i].Title,
		m.Cores, m.Processor, (m.MemoryMiB+512)/1024, m.Kernel, m.Go, m.Commit, how.Command, filepath.Base(result), link), nil
}

// tablesOf tells kinds of results apart by what only one of them has.
func tablesOf(text []byte) ([]tables.Table, error) {
	if r, err := compare.Parse(text); err != nil || r != nil {
		if err != nil {
			return nil, err
		}
		return r.Tables(), nil
	}
	all, err := tables.OfScenario(text)
	if err == nil && all == nil {
		err = errors.New("this is no result of bench run or bench compare")
	}
	return all, err
}

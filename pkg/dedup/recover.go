package dedup

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"tollgate/internal/vfs"
)

// recoverDir makes the directory what its manifest says: it removes what a crash left over, and nothing else.
func recoverDir(disk vfs.FS, dir string) (*manifest, error) {
	if err := disk.MkdirAll(dir); err != nil {
		return nil, fmt.Errorf("dedup: %w", err)
	}
	if err := disk.SyncDir(filepath.Dir(dir)); err != nil {
		return nil, fmt.Errorf("dedup: %w", err)
	}
	entries, err := disk.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("dedup: %w", err)
	}
	var runs, left []string
	known := false
	for _, e := range entries {
		name, seq := e.Name, uint64(0)
		switch {
		case e.Dir:
			return nil, strange(dir, name)
		case name == manifestName:
			known = true
		case name == manifestTmp, strings.HasSuffix(name, tmpSuffix) && parseRunName(strings.TrimSuffix(name, tmpSuffix), &seq):
			left = append(left, name)
		case parseRunName(name, &seq):
			runs = append(runs, name)
		default:
			return nil, strange(dir, name)
		}
	}
	m := new(manifest)
	switch {
	case known:
		if m, err = readManifest(disk, dir); err != nil {
			return nil, err
		}
		// It may be the one that the life before did not get durable: what only the older one names must stay until it is.
		if err := disk.SyncDir(dir); err != nil {
			return nil, fmt.Errorf("dedup: %w", err)
		}
	case len(runs) > 0:
		return nil, &RotError{filepath.Join(dir, manifestName), -1, fmt.Sprintf("it does not exist, and %s does", runs[0])}
	default:
		if err := m.write(disk, dir); err != nil {
			return nil, err
		}
		left = slices.DeleteFunc(left, func(name string) bool { return name == manifestTmp })
	}
	for _, name := range runs {
		if !slices.Contains(m.runs, name) {
			left = append(left, name)
		}
	}
	for _, name := range left {
		if err := disk.Remove(filepath.Join(dir, name)); err != nil {
			return nil, fmt.Errorf("dedup: %w", err)
		}
	}
	return m, nil
}

func strange(dir, name string) error {
	return fmt.Errorf("dedup: %s is no file of a duplicate index: move it away, nothing here removes it", filepath.Join(dir, name))
}

// parseRunName tells whether a name is one that runName gives, and reads its sequence number.
func parseRunName(name string, seq *uint64) bool {
	var offsets limits
	if _, err := fmt.Sscanf(name, "run-%016x-%d-%d", seq, &offsets.low, &offsets.high); err != nil {
		return false
	}
	return runName(*seq, offsets) == name
}

func openRuns(disk vfs.FS, dir string, names []string) (runs []*run, err error) {
	for _, name := range names {
		path, seq := filepath.Join(dir, name), uint64(0)
		if !parseRunName(name, &seq) {
			return runs, &RotError{filepath.Join(dir, manifestName), -1, fmt.Sprintf("%q is no run", name)}
		}
		r, err := openRun(disk, path, seq)
		if errors.Is(err, fs.ErrNotExist) {
			err = &RotError{path, -1, "it does not exist, and " + manifestName + " names it"}
		}
		if err != nil {
			return runs, err
		}
		runs = append(runs, r)
	}
	return runs, nil
}

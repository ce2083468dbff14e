package dedup

import (
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"tollgate/internal/vfs"
)

// manifest is what is durable: which runs are alive, from the oldest to the newest, and up to where they hold everything.
// On disk it is text that ends with its checksum:
//
//	tollgate dedup 1
//	next 1200000
//	clock 1795640400000
//	forgot 0
//	sequence 3
//	run run-0000000000000001-0-599999
//	run run-0000000000000002-600000-1199999
//	crc32c 5d1e0a77
type manifest struct {
	next   int64  // all records before it are in the runs
	clock  int64  // the largest that was told before next
	forgot int64  // the largest clock by which something was dropped; 0: nothing was
	seq    uint64 // the last sequence number that a run got
	runs   []string
}

const (
	manifestName  = "MANIFEST"
	manifestTmp   = manifestName + tmpSuffix
	manifestTitle = "tollgate dedup 1"
	manifestMax   = 1 << 20
)

func (m *manifest) encode() []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s\nnext %d\nclock %d\nforgot %d\nsequence %d\n", manifestTitle, m.next, m.clock, m.forgot, m.seq)
	for _, name := range m.runs {
		fmt.Fprintf(&b, "run %s\n", name)
	}
	fmt.Fprintf(&b, "crc32c %08x\n", crc32.Checksum(b.Bytes(), castagnoli))
	return b.Bytes()
}

// decode returns why the text is no manifest, or nothing.
func (m *manifest) decode(text []byte) string {
	at := bytes.LastIndex(text, []byte("crc32c "))
	if at < 0 || string(text[at:]) != fmt.Sprintf("crc32c %08x\n", crc32.Checksum(text[:at], castagnoli)) {
		return "its checksum is another"
	}
	lines := strings.Split(strings.TrimSuffix(string(text[:at]), "\n"), "\n")
	if lines[0] != manifestTitle {
		return fmt.Sprintf("its first line is %q and not %q", lines[0], manifestTitle)
	}
	var seq int64
	numbers := map[string]*int64{"next": &m.next, "clock": &m.clock, "forgot": &m.forgot, "sequence": &seq}
	for _, line := range lines[1:] {
		key, value, _ := strings.Cut(line, " ")
		if key == "run" {
			m.runs = append(m.runs, value)
			continue
		}
		n, err := strconv.ParseInt(value, 10, 64)
		if numbers[key] == nil || err != nil {
			return fmt.Sprintf("its line %q is none of version 1", line)
		}
		*numbers[key] = n
	}
	m.seq = uint64(seq)
	return ""
}

// write replaces the manifest. When it fails, either may be the durable one: what either names has to stay.
func (m *manifest) write(disk vfs.FS, dir string) error {
	tmp := filepath.Join(dir, manifestTmp)
	if err := disk.Remove(tmp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("dedup: %w", err) // nothing is known of its bytes when it was left by a failed Sync
	}
	f, err := disk.OpenFile(tmp, os.O_RDWR|os.O_CREATE|os.O_EXCL)
	if err != nil {
		return fmt.Errorf("dedup: %w", err)
	}
	_, err = f.WriteAt(0, m.encode())
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("dedup: %w", err)
	}
	if err := disk.Rename(tmp, filepath.Join(dir, manifestName)); err != nil {
		return fmt.Errorf("dedup: %w", err)
	}
	if err := disk.SyncDir(dir); err != nil {
		return fmt.Errorf("dedup: %w", err)
	}
	return nil
}

func readManifest(disk vfs.FS, dir string) (*manifest, error) {
	path := filepath.Join(dir, manifestName)
	f, err := disk.OpenFile(path, os.O_RDONLY)
	if err != nil {
		return nil, fmt.Errorf("dedup: %w", err)
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return nil, fmt.Errorf("dedup: %w", err)
	}
	if size > manifestMax {
		return nil, &RotError{path, -1, fmt.Sprintf("it has %d bytes", size)}
	}
	text := make([]byte, size)
	if n, err := f.ReadAt(text, 0); int64(n) < size {
		return nil, fmt.Errorf("dedup: %s: %w", path, err)
	}
	m := new(manifest)
	if why := m.decode(text); why != "" {
		return nil, &RotError{path, -1, why}
	}
	return m, nil
}

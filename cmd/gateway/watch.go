package main

import (
	"crypto/sha256"
	"io"
	"os"
)

// watch notices that files were given other contents, by looking: a stat a second costs nothing, works on every file
// system, and follows the symbolic links that Kubernetes swaps under a mounted Secret, where notifications do not.
//
// It belongs to one goroutine.
type watch struct {
	seen map[string]sighting
}

// sighting is what a file looked like: its stat, and the hash of its contents as of that stat.
type sighting struct {
	info os.FileInfo
	hash [sha256.Size]byte
}

// add begins to watch files, as they are now; those watched already stay as they were seen. A file is added before it is
// read: what changes in between is then a change.
func (w *watch) add(files ...string) {
	if w.seen == nil {
		w.seen = map[string]sighting{}
	}
	for _, f := range files {
		if _, ok := w.seen[f]; !ok {
			w.seen[f] = sight(f, sighting{})
		}
	}
}

// changed returns the files whose contents differ from the last time they were looked at, each once. A file that was
// touched but says the same has not changed; one that vanished has, and again when it is back.
func (w *watch) changed() []string {
	var list []string
	for f, before := range w.seen {
		now := sight(f, before)
		w.seen[f] = now
		if now.hash != before.hash {
			list = append(list, f)
		}
	}
	return list
}

// sight looks at a file; the contents are read only when the stat differs. A file that can not be read has the zero
// hash, which no contents have.
func sight(file string, before sighting) sighting {
	info, err := os.Stat(file)
	if err != nil {
		return sighting{}
	}
	if b := before.info; b != nil && os.SameFile(b, info) && b.ModTime().Equal(info.ModTime()) && b.Size() == info.Size() {
		return before
	}
	f, err := os.Open(file)
	if err != nil {
		return sighting{}
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, io.LimitReader(f, configBytesMax)); err != nil {
		return sighting{}
	}
	s := sighting{info: info}
	h.Sum(s.hash[:0])
	return s
}

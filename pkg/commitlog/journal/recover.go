package journal

import (
	"errors"
	"fmt"
	"os"

	"tollgate/internal/vfs"
)

// openPartition reads a partition as it lies on disk and makes it ready for the committer.
func openPartition(cfg *Config, m *meters, topic TopicConfig, n int32) (*partition, error) {
	p := &partition{cfg: cfg, metrics: m, topic: topic, dir: partitionDir(cfg.Dir, topic.Name, n), checkpointed: cfg.Now(), readers: map[*reader]int64{}}
	p.checkpoint = newCheckpoint(cfg.FS, p.dir)
	if err := errors.Join(cfg.FS.MkdirAll(p.dir), cfg.FS.SyncDir(cfg.Dir)); err != nil {
		return nil, err
	}
	if err := p.recover(); err != nil {
		if p.file != nil {
			err = errors.Join(err, p.file.Close())
		}
		p.checkpoint.discard()
		return nil, err
	}
	return p, nil
}

// recover compares the segments with the checkpoint. The assumptions are in the package comment.
func (p *partition) recover() error {
	saved, found, err := p.checkpoint.read()
	if err != nil {
		return err
	}
	list, err := listSegments(p.cfg.FS, p.dir)
	if err != nil {
		return err
	}
	switch {
	case len(list) == 0 && saved.position == 0:
		// A new partition, or one whose only segment was empty and about to be replaced.
		return p.start(saved)
	case len(list) == 0:
		return rotf(segmentPath(p.dir, saved.base), 0, "the file is missing, the checkpoint says: %v", saved)
	case !found:
		return rotf(p.checkpoint.path, 0, "the checkpoint is missing or damaged, and there are segments")
	}
	p.segments, p.active = list, list[len(list)-1]
	if err := p.checkOlder(saved); err != nil {
		return err
	}
	if saved.base <= p.active.base {
		return p.checkLast(saved)
	}
	if saved.position != 0 {
		return rotf(segmentPath(p.dir, saved.base), 0, "the file is missing, the checkpoint says: %v", saved)
	}
	return p.start(saved) // the newest segment was empty and about to be replaced
}

func rotf(file string, position int64, format string, args ...any) error {
	return &RotError{File: file, Position: position, Reason: fmt.Sprintf(format, args...)}
}

// start begins with an empty segment at the checkpoint's next offset.
func (p *partition) start(saved mark) error {
	p.next = saved.next
	if err := p.checkpoint.create(mark{base: saved.next, next: saved.next}); err != nil {
		return err
	}
	return p.begin()
}

// checkOlder walks through the closed segments that the checkpoint does not vouch for. They are complete, since a
// later one exists. After a clean stop or a kill there are none.
func (p *partition) checkOlder(saved mark) error {
	found := saved.base < p.segments[0].base // retention took it
	for i, s := range p.segments {
		found = found || s.base == saved.base
		if i+1 == len(p.segments) || p.segments[i+1].base <= saved.base {
			continue
		}
		if !found {
			return rotf(segmentPath(p.dir, saved.base), 0, "the file is missing, the checkpoint says: %v", saved)
		}
		if err := p.checkOne(s, saved, p.segments[i+1].base); err != nil {
			return err
		}
	}
	return nil
}

// checkOne walks through one such segment.
func (p *partition) checkOne(s *segment, saved mark, limit int64) (err error) {
	f, err := p.cfg.FS.OpenFile(s.path, os.O_RDONLY)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	w := newWalker(f, s.end, 0, s.base, limit)
	if s.base == saved.base {
		w.position, w.offset = saved.position, saved.next
	}
	for {
		if _, ok := w.next(true); !ok {
			break
		}
	}
	if w.err != nil {
		return w.err
	}
	if w.fault != "" {
		return w.rot(s.path)
	}
	return nil
}

// checkLast walks through the last segment, cuts what a crash left behind its last whole batch, and makes sure that
// what is kept is durable.
func (p *partition) checkLast(saved mark) error {
	s := p.active
	f, err := p.cfg.FS.OpenFile(s.path, os.O_RDWR)
	if err != nil {
		return err
	}
	p.file = f
	floor := int64(0) // bytes that were durable
	if saved.base == s.base {
		floor = saved.position
	}
	w := newWalker(f, s.end, 0, s.base, -1)
	for {
		if w.position == floor && saved.base == s.base && w.offset != saved.next {
			return rotf(s.path, floor, "the next offset is %d, the checkpoint says: %v", w.offset, saved)
		}
		position, ok := w.next(true)
		if !ok {
			break
		}
		s.note(w.header.BaseOffset, position)
		s.times.add(&w.header)
	}
	if w.err != nil {
		return w.err
	}
	if w.position < floor {
		if w.fault == "" {
			w.fault = fmt.Sprintf("the file ends, the checkpoint says: %v", saved)
		}
		return w.rot(s.path)
	}
	if err := p.settleTail(f, floor, w.position, s.end, w.fault); err != nil {
		return err
	}
	s.end, p.position, p.next = w.position, w.position, w.offset
	// A new file: like any other page, that of the old one may not be what is on disk.
	p.noteCheckpoint(p.checkpoint.create(p.mark()))
	return nil
}

// settleTail cuts a file behind its last whole batch, and makes what lies between the checkpoint and there durable.
//
// That something can be read does not mean that it is on disk: after a failed fsync the page cache may hold pages and
// a size that are neither written nor called dirty, and the next fsync succeeds without them. So the bytes are
// written again, and the size is changed and set back, which makes both dirty.
func (p *partition) settleTail(f vfs.File, floor, end, size int64, fault string) error {
	if end < size {
		p.cfg.Notify(Notice{What: TornTail, File: p.active.path, Bytes: size - end, Err: errors.New(fault)})
		p.metrics.torn.Add(uint64(size - end))
	}
	if err := errors.Join(f.Truncate(end+1), f.Truncate(end)); err != nil {
		return err
	}
	buf := make([]byte, min(readBytes, end-floor))
	for at := floor; at < end; {
		n := min(int64(len(buf)), end-at)
		if _, err := f.ReadAt(buf[:n], at); err != nil {
			return err
		}
		if _, err := f.WriteAt(at, buf[:n]); err != nil {
			return err
		}
		at += n
	}
	return f.Sync()
}

package journal

import (
	"errors"
	"os"
	"time"
)

// clean is the janitor: the goroutine that removes and compacts old segments.
func (j *Journal) clean() {
	defer close(j.janitor)
	ticker := time.NewTicker(retentionEvery)
	defer ticker.Stop()
	for {
		for _, p := range j.partitions {
			p.retain()
			j.compact(p)
		}
		select {
		case <-ticker.C:
		case <-j.trimmed:
		case <-j.closing:
			return
		}
	}
}

// Trim lets go of the records of a partition below an offset. They go with their segment, soon, when all in it may; the
// offset is forgotten when the journal is closed.
func (j *Journal) Trim(topic string, n int32, before int64) {
	p := j.partition(topic, n)
	if p == nil {
		return
	}
	p.mu.Lock()
	p.trimmed = max(p.trimmed, before)
	due := len(p.segments) > 1 && p.segments[1].base <= p.trimmed
	p.mu.Unlock()
	if due {
		select {
		case j.trimmed <- struct{}{}:
		default:
		}
	}
}

// retain removes the segments that retention no longer keeps, oldest first, each durably before the next: a crash
// must not bring an old one back behind a gap.
func (p *partition) retain() {
	for {
		s, err := p.expired()
		if s == nil && err == nil {
			return
		}
		if err == nil {
			err = p.remove(s)
		}
		if err != nil {
			p.noteRetention(err)
			return
		}
	}
}

// noteRetention tells of a failure once, not each time that it is tried again.
func (p *partition) noteRetention(err error) {
	if text := err.Error(); text != p.retainFault {
		p.retainFault = text
		p.cfg.Notify(Notice{What: RetentionFailed, File: p.dir, Err: err})
	}
}

// expired returns the oldest segment if it may go.
func (p *partition) expired() (*segment, error) {
	p.mu.Lock()
	if len(p.segments) < 2 {
		p.mu.Unlock()
		return nil, nil
	}
	var others int64
	for _, s := range p.segments[1:] {
		others += s.end
	}
	oldest, limit, known := p.segments[0], p.segments[1].base, p.segments[0].times
	trimmed := limit <= p.trimmed
	p.mu.Unlock()
	if trimmed {
		return oldest, nil
	}
	if p.topic.RetentionBytes > 0 && others >= p.topic.RetentionBytes {
		return oldest, nil
	}
	if p.topic.RetentionAge == 0 {
		return nil, nil
	}
	if !known.known {
		var err error
		if known, err = p.readTimes(oldest, limit); err != nil {
			return nil, err
		}
	}
	if p.cfg.Now().Sub(time.UnixMilli(known.max)) <= p.topic.RetentionAge {
		return nil, nil
	}
	return oldest, nil
}

// readTimes walks through the headers of a closed segment, once in the life of the process.
func (p *partition) readTimes(s *segment, limit int64) (t times, err error) {
	f, err := p.cfg.FS.OpenFile(s.path, os.O_RDONLY)
	if err != nil {
		return t, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	w := newWalker(f, s.end, 0, s.base, limit)
	var walked segment
	for {
		position, ok := w.next(false)
		if !ok {
			break
		}
		walked.note(w.header.BaseOffset, position)
		t.add(&w.header)
	}
	if w.err != nil {
		return t, w.err
	}
	if w.fault != "" {
		return t, w.rot(s.path)
	}
	p.mu.Lock()
	s.times, s.index = t, walked.index
	p.mu.Unlock()
	return t, nil
}

// remove takes the oldest segment out of the list, so that nobody begins to read it, and then off the disk.
func (p *partition) remove(s *segment) error {
	p.mu.Lock()
	p.segments = p.segments[1:]
	p.mu.Unlock()
	err := p.cfg.FS.Remove(s.path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		p.mu.Lock()
		p.segments = append([]*segment{s}, p.segments...)
		p.mu.Unlock()
		return err
	}
	p.metrics.removed.Add(uint64(s.end))
	p.cfg.Notify(Notice{What: Removed, File: s.path, Bytes: s.end})
	return p.cfg.FS.SyncDir(p.dir)
}

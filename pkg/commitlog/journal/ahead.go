package journal

import (
	"errors"
	"fmt"
	"time"
)

// ahead is the disk space that the active segment has been given before it needs it: blocks behind the end of its
// file, whose size stays that of the batches in it.
//
//	0           the file's size                                   end
//	├── batches ──┼── reserved: no content, read by nobody ────────┤
//
// It is extended when less than half a chunk is left, after a group has been acknowledged, and so, as a rule, not between
// the write of one and its fsync. It is a convenience: where it is refused the journal writes without it, as the first
// group of a segment always does. What is left of it goes back when the segment is closed, after a failed write, and in
// Open.
//
// It makes appends no faster (docs/adr/0013-space-reserved-ahead.md has the figures). It is there so that a disk without
// room is met before a write and not in it, and so that segments lie in few pieces.
type ahead struct {
	end     int64     // the file has blocks up to here; 0 when it has none ahead
	refused error     // by the file system, when it was asked last
	retryAt time.Time // after a refusal
	never   bool      // the file system knows no preallocation
}

// held is the space that is reserved and not yet written to.
func (p *partition) held() int64 { return max(0, p.ahead.end-p.end()) }

// reserveAhead extends what the touched partitions have ahead.
func (j *Journal) reserveAhead() {
	chunk := j.space.chunk(len(j.partitions))
	for _, p := range j.touched {
		if err := p.extend(chunk); err != nil {
			j.space.forget()
		}
	}
}

// extend reserves up to a chunk behind the file's end, within the segment, when less than half of it is left. The error
// is a refusal that may be gone later: as a rule that the disk is full, which is met here rather than in a write.
func (p *partition) extend(chunk int64) error {
	end := min(p.end()+chunk, p.segmentBytes())
	from := max(p.ahead.end, p.end())
	switch {
	case p.file == nil || p.ahead.never || p.held() >= chunk/2 || end-from < blockBytes:
		return nil
	case p.ahead.refused != nil && p.cfg.Now().Before(p.ahead.retryAt):
		return nil
	}
	err := p.file.Preallocate(from, end-from)
	if err == nil {
		p.ahead.end, p.ahead.refused = end, nil
		return nil
	}
	if errors.Is(err, errors.ErrUnsupported) {
		p.ahead.never = true
		return nil
	}
	p.ahead.end = max(p.ahead.end, end) // a part of it may be there
	if left := p.giveBack(); left != nil {
		err = fmt.Errorf("%w; nor given back: %w", err, left)
	}
	if p.ahead.refused == nil {
		p.cfg.Notify(Notice{What: NotReserved, File: p.active.path, Err: err})
	}
	p.ahead.refused, p.ahead.retryAt = err, p.cfg.Now().Add(retryAfterMax)
	return err
}

// giveBack gives back what is reserved and not used. The file's size is end, and stays so.
func (p *partition) giveBack() error {
	if p.held() == 0 {
		return nil
	}
	p.ahead.end = 0
	return p.file.Truncate(p.end())
}

package journal

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"time"

	"tollgate/internal/invariants"
	"tollgate/internal/vfs"
	"tollgate/pkg/commitlog"
	"tollgate/pkg/recordbatch"
)

// partition is one directory of segments. Its writing side belongs to one goroutine at a time: Open's, then the
// committer's, which lends it out for one step of a group. What readers and the janitor look at is under mu.
type partition struct {
	cfg     *Config
	metrics *meters
	topic   TopicConfig
	dir     string

	// The writing side.
	active       *segment // the last of segments
	file         vfs.File // of the active segment; nil when it was given up and there is no new one yet
	position     int64    // the durable end of the active segment
	ahead        ahead
	checkpoint   *checkpoint
	checkpointed time.Time // when the checkpoint was synced last
	lagging      bool      // the checkpoint: it could not be written or synced last time
	pending      []*commitlog.Batch
	written      flight // behind the one that is synced, or while none is
	syncing      flight
	buffers      [][]byte // of one write
	forgotten    int64    // what of the active segment is not in the page cache any more, from its beginning
	replaced     bool     // the segment, for what was taken back and is not durable: a second failure is the disk's
	backoff      time.Duration
	retryAt      time.Time

	retainFault string // the janitor's: what it has told last
	compaction  compaction

	mu       sync.Mutex
	segments []*segment        // oldest first, the last one active; at least one. Guarded by mu, as all below
	readers  map[*reader]int64 // those that have a file open, with the offset that each wants next
	next     int64             // offset behind the newest durable record
	changed  chan struct{}     // closed at the next change, for waiting readers; nil when none waits
	fault    error             // why appends are refused; nil when they are not
	closed   bool
	trimmed  int64 // records below it may go, see Trim
}

// flight is a partition's part of a group: batches that are written, one behind the other, and not durable yet.
//
//	0          position            end
//	├─ durable ──┼─ syncing ─┼─ written ─┤
type flight struct {
	batches []*commitlog.Batch
	bytes   int64 // of all batches
	records int64
	err     error
	synced  bool // err is the fsync's, not a write's
}

// end is where the next batch goes: behind all that is written.
func (p *partition) end() int64 { return p.position + p.syncing.bytes + p.written.bytes }

func (f *flight) reset() {
	clear(f.batches)
	*f = flight{batches: f.batches[:0]}
}

// errRemoved: somebody has deleted the active segment's file. It still takes writes and goes with the process, so
// nothing more is acknowledged into it.
var errRemoved = errors.New("the file was removed, or replaced, under the running gateway")

func partitionDir(dir, topic string, n int32) string {
	return filepath.Join(dir, topic+"-"+strconv.Itoa(int(n)))
}

// write gives as many pending batches as fit into the segment and a group their offsets and writes them. A full segment
// is closed first, unless something in it is not durable yet: then they are left for later. The error is that there is
// no new segment; that of the write is the flight's.
func (p *partition) write() error {
	f := &p.written
	if len(p.pending) == 0 || f.err != nil {
		return nil
	}
	first := int64(len(p.pending[0].Bytes))
	if p.full(first) {
		if p.end() > p.position {
			return nil
		}
		if err := p.roll(); err != nil {
			return p.refuse(fmt.Errorf("a new segment can not be begun: %w", err))
		}
	}
	end := p.end()
	offset := p.next + p.syncing.records + f.records
	room := max(p.segmentBytes()-end, first)
	taken, bytes := 0, f.bytes
	p.buffers = p.buffers[:0]
	for _, b := range p.pending {
		n := int64(len(b.Bytes))
		if n > room || bytes+n > groupBytesMax && bytes > 0 {
			break
		}
		recordbatch.SetBase(b.Bytes, offset, 0)
		p.buffers = append(p.buffers, b.Bytes)
		offset += int64(b.Records)
		room -= n
		bytes += n
		taken++
	}
	if taken == 0 {
		return nil
	}
	_, f.err = p.file.WriteAt(end, p.buffers...)
	clear(p.buffers)
	f.batches = append(f.batches, p.pending[:taken]...)
	f.bytes, f.records = bytes, offset-p.next-p.syncing.records
	p.pending = slices.Delete(p.pending, 0, taken)
	return nil
}

// takeBack returns all that is written and not durable, when the segment was given up or cut to its durable end.
func (p *partition) takeBack() []*commitlog.Batch {
	back := slices.Concat(p.syncing.batches, p.written.batches)
	p.syncing.reset()
	p.written.reset()
	return back
}

// full tells whether the active segment must be closed before so many more bytes.
func (p *partition) full(bytes int64) bool {
	if p.end() == 0 {
		return false
	}
	if p.end()+bytes > p.segmentBytes() {
		return true
	}
	if p.position == 0 {
		return false // how old its records are is known when they are durable
	}
	age := p.topic.RetentionAge / segmentsPerAge
	if compact := p.topic.CompactAge / segmentsPerAge; age == 0 || compact > 0 && compact < age {
		age = compact
	}
	first := time.UnixMilli(p.active.times.first)
	return age > 0 && p.cfg.Now().Sub(first) >= age
}

// segmentBytes is the size at which a segment is closed.
func (p *partition) segmentBytes() int64 {
	if p.topic.SegmentBytes > 0 {
		return p.topic.SegmentBytes
	}
	return p.cfg.SegmentBytes
}

// sync makes the flight durable, and now and then, at the same time, the last mark, which is about what was durable before.
// It may run beside other partitions', and beside writes behind the flight.
func (p *partition) sync() {
	f := &p.syncing
	var beside sync.WaitGroup
	if p.checkpointDue(p.cfg.Now()) {
		beside.Go(p.syncCheckpoint)
	}
	start := time.Now()
	f.err = p.file.Sync()
	f.synced = true
	p.metrics.fsync.Observe(int64(time.Since(start)))
	if f.err == nil && p.file.Nameless() {
		f.err = fmt.Errorf("%w; the offsets from %d to before %d were in it", errRemoved, p.active.base, p.next)
	}
	beside.Wait()
}

// checkpointDue tells whether the last mark is to be synced, which it is about once a second.
func (p *partition) checkpointDue(now time.Time) bool {
	return p.checkpoint.dirty && now.Sub(p.checkpointed) >= checkpointEvery
}

func (p *partition) syncCheckpoint() {
	if now := p.cfg.Now(); p.checkpointDue(now) {
		p.noteCheckpoint(p.checkpoint.sync())
		p.checkpointed = now
	}
}

// noteCheckpoint tells of a failure, once until it has gone well again.
func (p *partition) noteCheckpoint(err error) {
	if err != nil && !p.lagging {
		p.cfg.Notify(Notice{What: CheckpointFailed, File: p.checkpoint.path, Err: err})
	}
	p.lagging = err != nil
}

// publish makes a durable flight visible.
func (p *partition) publish() {
	f := &p.syncing
	p.mu.Lock()
	position, offset := p.position, p.next
	for _, b := range f.batches {
		h, err := recordbatch.ParseHeader(b.Bytes)
		if err != nil {
			panic(fmt.Sprintf("BUG: journal: a batch changed while it was written: %v", err))
		}
		p.active.note(offset, position)
		p.active.times.add(&h)
		b.Base = offset
		position += int64(h.Length)
		offset = h.NextOffset()
	}
	invariants.Check(position == p.position+f.bytes && offset == p.next+f.records,
		"%s: %d bytes from %d end at %d; offset %d, %d records behind %d",
		p.active.path, f.bytes, p.position, position, offset, f.records, p.next)
	p.active.end, p.next = position, offset
	p.notifyLocked()
	p.mu.Unlock()
	p.position, p.backoff, p.replaced = position, 0, false
	p.saveMark(false)
	p.metrics.bytes.Add(uint64(f.bytes))
	p.metrics.batches.Add(uint64(len(f.batches)))
	p.metrics.groupBytes.Observe(f.bytes)
	p.metrics.groupBatches.Observe(int64(len(f.batches)))
}

func (p *partition) mark() mark {
	return mark{base: p.active.base, position: p.position, next: p.next}
}

// notifyLocked wakes the readers that wait for a change.
func (p *partition) notifyLocked() {
	if p.changed != nil {
		close(p.changed)
		p.changed = nil
	}
}

// roll closes the active segment, all of which is durable, and begins the next one. When that fails there is no
// segment to write to until it succeeds: once the next one's name may be in the directory, nothing behind its base
// counts in this one.
func (p *partition) roll() error {
	p.forgetRest()
	p.seal()
	return p.begin()
}

// seal closes the active segment's file, all of which is durable, and gives back what is reserved behind it.
func (p *partition) seal() {
	if err := p.giveBack(); err != nil {
		p.cfg.Notify(Notice{What: LeftBehind, File: p.active.path, Err: err})
	}
	p.drop()
}

// drop closes the active segment's file, which will not be written again.
func (p *partition) drop() {
	if err := p.file.Close(); err != nil {
		p.cfg.Notify(Notice{What: LeftBehind, File: p.active.path, Err: err})
	}
	p.file, p.ahead.end, p.forgotten = nil, 0, 0
}

// begin makes a new, empty, active segment at the next offset. It takes the place of one that is empty too.
func (p *partition) begin() error {
	file, err := createSegment(p.cfg.FS, p.dir, p.next)
	if err != nil {
		return err
	}
	s := &segment{path: segmentPath(p.dir, p.next), base: p.next}
	p.mu.Lock()
	if p.active != nil && p.active.base == s.base {
		p.segments = p.segments[:len(p.segments)-1]
	}
	p.segments = append(p.segments, s)
	p.mu.Unlock()
	p.active, p.file, p.position = s, file, 0
	p.saveMark(true)
	return nil
}

// saveMark writes the checkpoint, and syncs it when told to. That it fails stops nothing: a mark which lags behind
// only makes it harder to tell a torn tail from rot. A new file is tried for about once a second.
func (p *partition) saveMark(sync bool) {
	now := p.cfg.Now()
	if p.checkpoint.file == nil && now.Sub(p.checkpointed) < checkpointEvery && !sync {
		return
	}
	err := p.checkpoint.write(p.mark())
	if sync && err == nil {
		err = p.checkpoint.sync()
	}
	if sync || err != nil {
		p.checkpointed = now
	}
	p.noteCheckpoint(err)
}

// mend handles a flight that failed (D11), with what is written behind it, and reports whether a new segment took the
// file's place, so that both can be written again. Otherwise they are to be finished with the outcome.
//
//	what failed          cut and synced             could not be cut
//	write, disk full     unavailable, same file     new segment, else unknown
//	write, otherwise     new segment, else unavailable  new segment, else unknown
//	fsync                (not tried)                new segment, else unknown
//	file removed         (not tried)                new segment, else unknown
func (p *partition) mend(again bool) (replaced bool, outcome error) {
	path, cause := p.active.path, p.syncing.err
	clean := !p.syncing.synced && p.cut()
	full := errors.Is(cause, syscall.ENOSPC) || errors.Is(cause, syscall.EDQUOT)
	if clean && full {
		return false, fmt.Errorf("%w: %w", commitlog.ErrUnavailable, cause)
	}
	p.cfg.Notify(Notice{What: Poisoned, File: path, Err: cause})
	p.metrics.poisoned.Add(1)
	if !clean {
		// Best effort: the next segment's base decides. It must not be synced, since that could not be believed.
		_ = p.file.Truncate(p.position)
	}
	p.drop()
	if errors.Is(cause, errRemoved) {
		p.checkpoint.discard() // its file may be gone as well: it is made anew
	}
	if again {
		err := p.begin()
		if err == nil {
			p.cfg.Notify(Notice{What: Replaced, File: p.active.path})
			return true, nil
		}
		cause = errors.Join(cause, err)
	}
	if clean {
		return false, fmt.Errorf("%w: %w", commitlog.ErrUnavailable, cause)
	}
	return false, fmt.Errorf("%w: %w", commitlog.ErrUnknown, cause)
}

// cut takes a failed write back. True when it is certain that nothing of it stays in the file.
func (p *partition) cut() bool {
	p.ahead.end = 0 // what is reserved goes with it
	return p.file.Truncate(p.position) == nil && p.file.Sync() == nil
}

// refuse notes why the partition takes no appends and when to try again. It returns what ready will say.
func (p *partition) refuse(err error) error {
	p.backoff = min(max(2*p.backoff, retryAfterMin), retryAfterMax)
	p.retryAt = p.cfg.Now().Add(p.backoff)
	err = fmt.Errorf("%w: %s: %w. Check the disk; the journal tries again by itself", commitlog.ErrUnavailable, p.dir, err)
	p.mu.Lock()
	first := p.fault == nil
	p.fault = err
	p.mu.Unlock()
	if first {
		p.cfg.Notify(Notice{What: Unavailable, File: p.dir, Err: err})
	}
	return err
}

// revive tries to take appends again when it is time to. Nil when they may be tried.
func (p *partition) revive() error {
	fault := p.ready()
	if fault == nil {
		return nil
	}
	if p.cfg.Now().Before(p.retryAt) {
		return fault
	}
	if p.file == nil {
		if err := p.begin(); err != nil {
			return p.refuse(err)
		}
	}
	p.mu.Lock()
	p.fault = nil
	p.mu.Unlock()
	p.cfg.Notify(Notice{What: Recovered, File: p.dir})
	return nil
}

// ready returns why the partition takes no appends; nil when it does.
func (p *partition) ready() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.fault
}

// timer returns how long the partition can be left alone; negative for as long as nothing is appended.
func (p *partition) timer() time.Duration {
	switch {
	case p.ready() != nil:
		return max(0, p.retryAt.Sub(p.cfg.Now()))
	case p.checkpoint.dirty:
		return max(0, checkpointEvery-p.cfg.Now().Sub(p.checkpointed))
	}
	return -1
}

func (p *partition) bounds() (oldest, next int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.segments[0].base, p.next
}

// close ends the writing side. What is in the files is durable already.
func (p *partition) close() {
	if p.file != nil {
		p.seal()
	}
	p.noteCheckpoint(p.checkpoint.sync())
	p.checkpoint.discard()
	p.mu.Lock()
	p.closed = true
	p.notifyLocked()
	p.mu.Unlock()
}

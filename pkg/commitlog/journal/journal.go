package journal

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"tollgate/internal/invariants"
	"tollgate/pkg/commitlog"
	"tollgate/pkg/recordbatch"
)

// Journal is a commitlog.Log on a local disk.
type Journal struct {
	cfg         Config
	behindBytes int // BehindBytes; tests set it
	metrics     *meters
	space       *space
	topics      map[string][]*partition // fixed after Open
	partitions  []*partition            // the same, in one list

	wake    chan struct{} // one token: there is something to commit, or the journal closes
	behind  chan struct{} // one token: there may be something to do while a group is synced
	closing chan struct{} // closed by Close
	stopped chan struct{} // closed when the committer has come to its end
	janitor chan struct{} // closed when the janitor has
	trimmed chan struct{} // one token: there is something to remove

	mu      sync.Mutex
	waiting []*commitlog.Batch // handed over and not yet taken by the committer; guarded by mu
	closed  bool               // guarded by mu
	gaveUp  atomic.Bool        // Close did not wait for the disk

	// What follows, and the writing side of the partitions, is the committer's. It lends it to writeBehind while it syncs, but
	// for what partition.sync is about: who has taken the token out of lent has it.
	lent     chan struct{}
	hurried  int // groups in a row after which the disk went on at once
	taken    []*commitlog.Batch
	touched  []*partition       // with a part in the group that is synced
	finished []*commitlog.Batch // that have their outcome and are to be told
	flush    func()             // syncs a group
}

var _ commitlog.Log = (*Journal)(nil)

// Open reads what is on disk, cuts torn tails, and begins to take appends. The error names the file and the remedy;
// it is a *RotError when durable bytes are damaged.
func Open(cfg Config) (*Journal, error) {
	j, err := open(cfg)
	if err != nil {
		return nil, err
	}
	j.flush = j.flushOpenly
	go j.run()
	go j.writeBehind()
	go j.clean()
	return j, nil
}

// open is Open without the goroutines: a group is written and synced in step alone.
func open(cfg Config) (*Journal, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	if err := cfg.FS.MkdirAll(cfg.Dir); err != nil {
		return nil, fmt.Errorf("journal: %w", err)
	}
	if err := cfg.FS.SyncDir(filepath.Dir(cfg.Dir)); err != nil {
		return nil, fmt.Errorf("journal: %w", err)
	}
	j := &Journal{
		cfg:         cfg,
		behindBytes: BehindBytes,
		metrics:     newMeters(cfg.Metrics),
		topics:      map[string][]*partition{},
		wake:        make(chan struct{}, 1),
		closing:     make(chan struct{}),
		stopped:     make(chan struct{}),
		janitor:     make(chan struct{}),
		trimmed:     make(chan struct{}, 1),
		behind:      make(chan struct{}, 1),
		lent:        make(chan struct{}, 1),
	}
	j.flush = j.sync
	j.space = newSpace(&j.cfg, j.metrics)
	if err := j.compareTopics(); err != nil {
		return nil, err
	}
	for _, t := range cfg.Topics {
		for n := range t.Partitions {
			p, err := openPartition(&j.cfg, j.metrics, t, int32(n))
			if err != nil {
				j.abandon()
				return nil, fmt.Errorf("journal: %s partition %d: %w", t.Name, n, err)
			}
			j.topics[t.Name] = append(j.topics[t.Name], p)
			j.partitions = append(j.partitions, p)
		}
	}
	return j, nil
}

// compareTopics compares the directories on disk with the configuration.
func (j *Journal) compareTopics() error {
	entries, err := j.cfg.FS.ReadDir(j.cfg.Dir)
	if err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	partitions := map[string]int{}
	for _, t := range j.cfg.Topics {
		partitions[t.Name] = t.Partitions
	}
	for _, e := range entries {
		topic, n, ok := partitionName(e.Name)
		if !e.Dir || !ok {
			continue
		}
		switch configured := partitions[topic]; {
		case configured == 0:
			j.cfg.Notify(Notice{What: UnknownTopic, File: filepath.Join(j.cfg.Dir, e.Name)})
		case n >= configured:
			return fmt.Errorf("journal: %s exists, but topic %s is configured with %d partitions: their number can grow, "+
				"not shrink, since records would be left behind. Configure at least %d",
				filepath.Join(j.cfg.Dir, e.Name), topic, configured, n+1)
		}
	}
	return nil
}

// partitionName takes the name of a partition's directory apart.
func partitionName(dir string) (topic string, n int, ok bool) {
	dash := strings.LastIndexByte(dir, '-')
	if dash <= 0 {
		return "", 0, false
	}
	n, err := strconv.Atoi(dir[dash+1:])
	return dir[:dash], n, err == nil && n >= 0 && strconv.Itoa(n) == dir[dash+1:]
}

// Append implements commitlog.Log.
func (j *Journal) Append(set []*commitlog.Batch) {
	bytes := 0
	for _, b := range set {
		b.Err = j.accept(b)
		bytes += len(b.Bytes)
	}
	j.mu.Lock()
	closed := j.closed
	if !closed {
		j.waiting = append(j.waiting, set...)
	}
	j.mu.Unlock()
	if closed {
		set = slices.Clone(set) // the caller's again on return
		go func() {
			for _, b := range set {
				j.turnAway(b, j.errClosed())
			}
		}()
		return
	}
	j.signal(j.wake)
	if bytes >= j.behindBytes {
		j.signal(j.behind)
	}
}

// signal leaves a token.
func (j *Journal) signal(to chan struct{}) {
	select {
	case to <- struct{}{}:
	default: // there is one
	}
}

// accept checks a batch, in the caller's goroutine, so that the committer only moves bytes. Its CRC is the builder's.
func (j *Journal) accept(b *commitlog.Batch) error {
	p := j.partition(b.Topic, b.Partition)
	if p == nil {
		return fmt.Errorf("%w: there is no topic %q with a partition %d", commitlog.ErrRefused, b.Topic, b.Partition)
	}
	if len(b.Bytes) > j.cfg.BatchBytesMax {
		return fmt.Errorf("%w: %d bytes, at most %d are taken", commitlog.ErrRefused, len(b.Bytes), j.cfg.BatchBytesMax)
	}
	h, err := recordbatch.ParseHeader(b.Bytes)
	if err != nil {
		return fmt.Errorf("%w: %w", commitlog.ErrRefused, err)
	}
	if int(h.Length) != len(b.Bytes) || int(h.Records) != b.Records || h.Records != h.LastOffsetDelta+1 || h.Records == 0 {
		return fmt.Errorf("%w: %d records in %d bytes, but its header says %d up to offset delta %d in %d bytes",
			commitlog.ErrRefused, b.Records, len(b.Bytes), h.Records, h.LastOffsetDelta, h.Length)
	}
	if p.topic.Compact {
		if err := wantKeys(b.Bytes); err != nil {
			return fmt.Errorf("%w: topic %q is compacted: %w", commitlog.ErrRefused, b.Topic, err)
		}
	}
	if !p.topic.KeepProducer {
		recordbatch.Stamp(b.Bytes, recordbatch.NoProducer)
	}
	if invariants.Enabled {
		_, err := recordbatch.Verify(b.Bytes)
		invariants.Check(err == nil, "journal: a batch for %s was changed after it was sealed: %v", b.Topic, err)
	}
	return nil
}

// wantKeys refuses what compaction could not keep. Kafka answers the same with INVALID_RECORD.
func wantKeys(batch []byte) error {
	var s recordbatch.Scanner
	_ = s.Reset(batch, decompressedBytesMax) // Err says the same
	for s.Next() {
		if s.Record().Key == nil {
			return errors.New("a record has no key")
		}
	}
	return s.Err()
}

// partition returns nil when there is no such one.
func (j *Journal) partition(topic string, n int32) *partition {
	list := j.topics[topic]
	if n < 0 || int(n) >= len(list) {
		return nil
	}
	return list[n]
}

// Partitions implements commitlog.Log.
func (j *Journal) Partitions(topic string) int { return len(j.topics[topic]) }

// BatchBytesMax implements commitlog.Log.
func (j *Journal) BatchBytesMax(string) int { return j.cfg.BatchBytesMax }

// Bounds implements commitlog.Log. It does not wait.
func (j *Journal) Bounds(_ context.Context, topic string, n int32) (oldest, next int64, err error) {
	p := j.partition(topic, n)
	if p == nil {
		return 0, 0, fmt.Errorf("%w: there is no topic %q with a partition %d", commitlog.ErrRefused, topic, n)
	}
	oldest, next = p.bounds()
	return oldest, next, nil
}

// Ready implements commitlog.Log.
func (j *Journal) Ready() error {
	j.mu.Lock()
	closed := j.closed
	j.mu.Unlock()
	if closed {
		return j.errClosed()
	}
	if err := j.space.look(0); err != nil {
		return err
	}
	var faults []error
	for _, p := range j.partitions {
		if err := p.ready(); err != nil {
			faults = append(faults, err)
		}
	}
	return errors.Join(faults...)
}

// Close implements commitlog.Log. When ctx ends before the disk has answered, what was not written yet completes with
// ErrClosed; what the disk still holds, and what is written behind that, completes when it answers.
func (j *Journal) Close(ctx context.Context) error {
	j.mu.Lock()
	first := !j.closed
	j.closed = true
	j.mu.Unlock()
	if first {
		close(j.closing)
		j.signal(j.wake)
	}
	for _, done := range []chan struct{}{j.stopped, j.janitor} {
		select {
		case <-done:
		case <-ctx.Done():
			j.giveUp()
			return fmt.Errorf("journal %s: the disk has not answered: %w", j.cfg.Dir, ctx.Err())
		}
	}
	return nil
}

// giveUp completes what waits behind a disk that does not answer: here what the committer has not taken, which may be held
// up in a write, and there what it has taken and not written.
func (j *Journal) giveUp() {
	j.gaveUp.Store(true)
	j.signal(j.behind)
	j.mu.Lock()
	waiting := j.waiting
	j.waiting = nil
	j.mu.Unlock()
	for _, b := range waiting {
		j.turnAway(b, j.errClosed())
	}
}

func (j *Journal) errClosed() error {
	return fmt.Errorf("journal %s: %w", j.cfg.Dir, commitlog.ErrClosed)
}

// abandon closes what open has opened so far.
func (j *Journal) abandon() {
	for _, p := range j.partitions {
		p.close()
	}
}

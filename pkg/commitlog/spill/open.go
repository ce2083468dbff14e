package spill

import (
	"context"
	"errors"
	"fmt"
	iofs "io/fs"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"tollgate/internal/vfs"
	"tollgate/pkg/commitlog"
	"tollgate/pkg/commitlog/journal"
)

// Open reads what is left of an earlier time and begins to drain it. Kafka may be away: with what is left on the disk it is
// known how many partitions there are; without it, the topic has none until Kafka has said.
func Open(cfg Config) (*Log, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	l := &Log{
		cfg: cfg, kafka: cfg.Kafka,
		wake: make(chan struct{}, 1), over: make(chan struct{}), ended: make(chan struct{}), idle: make(chan struct{}),
		unusable: fmt.Errorf("%w: Kafka has not said how many partitions %s has", commitlog.ErrUnavailable, cfg.Topic),
	}
	l.ctx, l.stop = context.WithCancel(context.Background())
	l.counts.register(cfg.Metrics, l) // before anything counts
	if err := cfg.FS.MkdirAll(cfg.Dir); err != nil {
		return nil, fmt.Errorf("spill: %w", err)
	}
	topic, partitions, err := onDisk(cfg.FS, cfg.Dir)
	switch {
	case err != nil:
		return nil, fmt.Errorf("spill: %w", err)
	case partitions == 0:
		partitions = cfg.Kafka.Partitions(cfg.Topic)
	case topic != cfg.Topic:
		return nil, fmt.Errorf("spill: %s holds records of topic %s, and it is to spill %s: drain it as what it was made for, and then move the folder away",
			cfg.Dir, topic, cfg.Topic)
	}
	if partitions > 0 {
		if err := l.begin(partitions); err != nil {
			return nil, err
		}
	}
	go l.deliver()
	l.running.Go(l.prepare)
	return l, nil
}

// onDisk is the topic and the number of partitions that a directory's journal was opened with, 0 when it never was.
func onDisk(fs vfs.FS, dir string) (topic string, partitions int, err error) {
	entries, err := fs.ReadDir(dir)
	for _, e := range entries {
		at := strings.LastIndexByte(e.Name, '-')
		if !e.Dir || at < 0 || e.Name[:at] == cursorTopic {
			continue
		}
		if i, err := strconv.Atoi(e.Name[at+1:]); err == nil {
			topic, partitions = e.Name[:at], max(partitions, i+1)
		}
	}
	return topic, partitions, err
}

// Left is what an earlier process has left in a directory.
type Left struct {
	Topic string
	Bytes int64 // that are not known to be in Kafka
}

// Waiting tells what waits in a directory, for a caller who would go on without a spill. The directory need not exist; like
// Open, it takes a lock of the caller's.
func Waiting(fs vfs.FS, dir string) (Left, error) {
	topic, partitions, err := onDisk(fs, dir)
	if errors.Is(err, iofs.ErrNotExist) || err == nil && partitions == 0 {
		return Left{}, nil
	}
	if err != nil {
		return Left{}, fmt.Errorf("spill: %w", err)
	}
	l := &Log{cfg: Config{Topic: topic, Dir: dir, FS: fs}.withDefaults()}
	if err := l.openJournal(partitions); err != nil {
		return Left{}, err
	}
	return Left{topic, l.bytes}, l.journal.Close(context.Background())
}

// begin opens the journal and drains what it holds.
func (l *Log) begin(partitions int) error {
	if err := l.openJournal(partitions); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.unusable = nil
	for _, p := range l.partitions {
		if p.mode == spilling {
			l.running.Go(p.drain)
		}
	}
	l.known.Store(int32(partitions))
	return nil
}

// openJournal opens the journal and finds what waits in it.
func (l *Log) openJournal(partitions int) (err error) {
	l.journal, err = journal.Open(journal.Config{
		Dir: l.cfg.Dir, FS: l.cfg.FS, SegmentBytes: l.cfg.segmentBytes(partitions), ReserveBytes: l.cfg.ReserveBytes,
		Topics: []journal.TopicConfig{
			{Name: l.cfg.Topic, Partitions: partitions, KeepProducer: true},
			{Name: cursorTopic, Partitions: 1, Compact: true, Vital: true, SegmentBytes: min(cursorSegment, l.cfg.segmentBytes(partitions))},
		},
		Now: l.cfg.Now, Metrics: l.cfg.Metrics, Notify: l.cfg.NotifyJournal,
	})
	if err != nil {
		return fmt.Errorf("spill: %w", err)
	}
	if err := l.takeUp(partitions); err != nil {
		return errors.Join(fmt.Errorf("spill: %w", err), l.journal.Close(context.Background()))
	}
	return nil
}

func (l *Log) takeUp(number int) error {
	notes, err := l.notes()
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	var partitions []*partition
	for n := range number {
		p := &partition{log: l, number: int32(n), work: make(chan struct{}, 1)}
		if err := p.takeUp(notes[int32(n)]); err != nil {
			return err
		}
		partitions = append(partitions, p)
	}
	l.partitions = partitions
	for _, p := range partitions {
		l.bytes += p.bytes
		if p.mode == spilling {
			l.left(p.oldest)
		}
	}
	return nil
}

// prepare opens the journal when Kafka says how many partitions there are, if it was not there before, and compares.
func (l *Log) prepare() {
	tick := time.NewTicker(preparePause)
	defer tick.Stop()
	for {
		if n := l.kafka.Partitions(l.cfg.Topic); n > 0 {
			if l.known.Load() > 0 {
				l.compare(n)
				return
			}
			err := l.begin(n)
			if err == nil {
				return
			}
			l.mu.Lock()
			if l.unusable == nil || l.unusable.Error() != err.Error() {
				l.notice(Notice{NoticeUnusable, -1, err.Error()})
			}
			l.unusable = fmt.Errorf("%w: %w", commitlog.ErrUnavailable, err)
			l.mu.Unlock()
		}
		select {
		case <-tick.C:
		case <-l.ctx.Done():
			return
		}
	}
}

// compare tells when Kafka has another number of partitions, and leaves a mark on disk so that the next start has more.
func (l *Log) compare(n int) {
	known := int(l.known.Load())
	if n == known {
		return
	}
	text := fmt.Sprintf("topic %s has %d partitions, the spill was made for %d", l.cfg.Topic, n, known)
	if n > known {
		err := l.cfg.FS.MkdirAll(filepath.Join(l.cfg.Dir, l.cfg.Topic+"-"+strconv.Itoa(n-1)))
		text += "; the others are used from the next start on"
		if err != nil {
			text += ": " + err.Error()
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.notice(Notice{NoticePartitions, -1, text})
}

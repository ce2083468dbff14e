package spill

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"time"

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
	partitions, err := l.partitionsOnDisk()
	if err != nil {
		return nil, fmt.Errorf("spill: %w", err)
	}
	if partitions == 0 {
		partitions = cfg.Kafka.Partitions(cfg.Topic)
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

// partitionsOnDisk is how many partitions the journal was opened with, 0 when it never was.
func (l *Log) partitionsOnDisk() (n int, err error) {
	if err := l.cfg.FS.MkdirAll(l.cfg.Dir); err != nil {
		return 0, err
	}
	entries, err := l.cfg.FS.ReadDir(l.cfg.Dir)
	for _, e := range entries {
		number, ok := strings.CutPrefix(e.Name, l.cfg.Topic+"-")
		if i, err := strconv.Atoi(number); ok && err == nil && e.Dir {
			n = max(n, i+1)
		}
	}
	return n, err
}

// begin opens the journal and takes up what it holds.
func (l *Log) begin(partitions int) (err error) {
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
	l.partitions, l.unusable = partitions, nil
	for _, p := range partitions {
		l.bytes += p.bytes
		if p.mode == spilling {
			l.running.Go(p.drain)
		}
	}
	l.known.Store(int32(number))
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

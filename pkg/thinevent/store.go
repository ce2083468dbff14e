package thinevent

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"tollgate/pkg/commitlog"
	"tollgate/pkg/commitlog/follow"
)

// partition is the only one of the topic that is used: events of all businesses have one order.
const partition = 0

// appendsMax is how many calls of Append are under way at once; others wait.
const appendsMax = 16

// Store is the events topic with an index of the last 30 days of it on this machine. See the package.
type Store struct {
	cfg      Config
	index    *index // nil: damage
	damage   *DamagedError
	follower *follow.Follower
	counts   *counts
	appends  chan struct{} // a token of each Append under way

	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	swept  chan struct{} // upkeep has returned

	// use is held for reading by who asks the index, for writing once, by Close.
	use    sync.RWMutex
	closed bool // guarded by use

	// write is held by who changes the index: the fold and the sweep.
	write   sync.Mutex
	is      progress // of the index; guarded by write
	waiting bool     // told that the topic can not be read; the fold's alone

	next, stored, topicEnd atomic.Int64 // the last that is known of is and of the topic
	changed                signal
}

// signal tells whoever wants to know that something came.
type signal struct {
	mu sync.Mutex
	ch chan struct{} // closed by the next tell; nil: nobody asked since. Guarded by mu
}

func (s *signal) wait() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ch == nil {
		s.ch = make(chan struct{})
	}
	return s.ch
}

func (s *signal) tell() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ch != nil {
		close(s.ch)
		s.ch = nil
	}
}

// Open opens the index, or makes it, and follows the topic. A damaged index is no error: every question is answered with
// the *DamagedError, and Append too.
func Open(cfg Config) (*Store, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	s := &Store{cfg: cfg, counts: newCounts(cfg.Metrics), appends: make(chan struct{}, appendsMax), swept: make(chan struct{})}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	if err := s.open(); err != nil {
		if !errors.As(err, &s.damage) {
			s.cancel()
			return nil, err
		}
		cfg.Notify(Notice{What: Damaged, Detail: s.damage.Path, Err: s.damage})
	}
	s.export(cfg.Metrics)
	return s, nil
}

func (s *Store) open() (err error) {
	if s.index, err = openIndex(&s.cfg); err != nil {
		return err
	}
	if s.is, err = s.index.progress(s.index.DB); err == nil {
		s.publish()
		s.follower, err = follow.Start(follow.Config{
			Log: s.cfg.Log, Topic: s.cfg.Topic, Partition: partition, Begin: s.begin, Apply: s.apply, Notify: s.trouble,
		})
	}
	if err != nil {
		return errors.Join(err, s.index.Close())
	}
	go func() {
		defer close(s.swept)
		s.upkeep()
	}()
	return nil
}

// publish lets others know how far the index is. write is held, or nobody else is there.
func (s *Store) publish() {
	s.next.Store(s.is.next)
	s.stored.Store(s.is.stored)
}

// Damage is why the index can not be used, or nil.
func (s *Store) Damage() error {
	if s.damage != nil {
		return s.damage
	}
	return s.index.Usable()
}

// Ready is nil once the index has what the topic held at the start.
func (s *Store) Ready() error {
	if err := s.Damage(); err != nil {
		return err
	}
	if err := s.follower.Ready(); err != nil {
		return fmt.Errorf("thinevent: %w", err)
	}
	return nil
}

// CaughtUp returns when the index has everything that was in the topic when it was called.
func (s *Store) CaughtUp(ctx context.Context) error {
	if err := s.Damage(); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(s.index.Up(), cancel)()
	if err := s.follower.CaughtUp(ctx); err != nil {
		if damaged := s.Damage(); damaged != nil {
			return damaged
		}
		return fmt.Errorf("thinevent: %w", err)
	}
	return nil
}

// Changed returns a channel that is closed when the index gets another event after the call.
func (s *Store) Changed() <-chan struct{} { return s.changed.wait() }

// ask runs a question on a snapshot of the index.
func (s *Store) ask(question func(from pebble.Reader) error) error {
	if err := s.Damage(); err != nil {
		return err
	}
	s.use.RLock()
	defer s.use.RUnlock()
	if s.closed {
		return fmt.Errorf("thinevent: %w", commitlog.ErrClosed)
	}
	snapshot := s.index.DB.NewSnapshot()
	defer snapshot.Close()
	return question(snapshot)
}

// oldestMs is the creation of the oldest event that is shown.
func (s *Store) oldestMs() int64 { return s.cfg.Now().UnixMilli() - RetentionMs }

// downTimeout is how long what uses the index has to end when the index has failed: it may wait in there for ever.
const downTimeout = time.Second

// Close ends following and closes the index.
func (s *Store) Close(ctx context.Context) error {
	s.cancel()
	if s.index == nil || s.follower == nil {
		return nil
	}
	if s.index.Stuck() {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, downTimeout)
		defer cancel()
	}
	done := make(chan error, 1)
	go func() { done <- s.shut(ctx) }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		if s.index.Stuck() {
			return nil // it was told, and there is nothing left to close
		}
		return fmt.Errorf("thinevent: the index of events was not closed in time: %w", ctx.Err())
	}
}

func (s *Store) shut(ctx context.Context) error {
	if err := s.follower.Close(ctx); err != nil {
		return err
	}
	<-s.swept
	s.use.Lock()
	defer s.use.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	return s.index.Close()
}

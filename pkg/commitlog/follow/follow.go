package follow

import (
	"context"
	"errors"
	"fmt"
	"time"

	"tollgate/pkg/commitlog"
	"tollgate/pkg/recordbatch"
)

// Follower follows one partition. Use Start.
type Follower struct {
	cfg      Config
	progress progress
	ends     ends

	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	done   chan struct{} // run has returned

	// What is below is run's alone.
	next   int64 // the offset to be read next; -1: Begin is to be called
	target int64 // where the log ended at Begin
	loaded bool
	pause  time.Duration
}

// Start starts to read and returns at once; see Ready.
func Start(cfg Config) (*Follower, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	f := &Follower{cfg: cfg, done: make(chan struct{}), next: -1, pause: cfg.BackoffMin}
	f.ctx, f.cancel = context.WithCancel(context.Background())
	f.progress.init()
	go func() {
		defer close(f.done)
		f.run()
	}()
	return f, nil
}

// Ready is nil once everything that the log held at the start has been folded, and stays nil when the fold begins anew.
// Until then the error says how far the fold is, and what keeps it.
func (f *Follower) Ready() error { return f.progress.ready() }

// Next is the offset behind the last record that was folded, or the one that Begin returned; 0 before that.
func (f *Follower) Next() int64 { return f.progress.next() }

// Close stops reading and waits for that until ctx ends. Who waits in CaughtUp is told commitlog.ErrClosed. A question to
// the log may still be on its way, with a context that has ended.
func (f *Follower) Close(ctx context.Context) error {
	f.cancel()
	select {
	case <-f.done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("the reader of %s did not stop: %w", f.cfg.Topic, ctx.Err())
	}
}

func (f *Follower) run() {
	for f.ctx.Err() == nil {
		err := f.follow()
		if f.ctx.Err() != nil {
			return
		}
		f.progress.trouble(err)
		n := Notice{Next: f.next, Anew: f.next >= 0 && errors.Is(err, commitlog.ErrOffsetOutOfRange), Err: err}
		if n.Anew {
			f.next = -1
		}
		f.cfg.Notify(n)
		select {
		case <-f.ctx.Done():
		case <-time.After(f.pause):
		}
		f.pause = min(2*f.pause, f.cfg.BackoffMax)
	}
}

// follow reads until something fails, and says what.
func (f *Follower) follow() error {
	if f.next < 0 {
		if err := f.begin(); err != nil {
			return err
		}
	}
	if !f.loaded && f.next >= f.target { // Begin has left nothing to load
		if err := f.apply(nil); err != nil {
			return err
		}
	}
	r, err := f.cfg.Log.NewReader(f.cfg.Topic, f.cfg.Partition, f.next)
	if err != nil {
		return err
	}
	defer r.Close()
	for {
		records, err := f.read(r)
		if err != nil {
			return err
		}
		if err := f.apply(records); err != nil {
			return err
		}
		f.pause = f.cfg.BackoffMin
	}
}

// begin asks for the log's end too: until there the fold is behind.
func (f *Follower) begin() error {
	oldest, end, err := f.bounds()
	if err != nil {
		return err
	}
	from, err := f.cfg.Begin(oldest, end)
	if err != nil {
		return err
	}
	f.ends.latest.Store(0) // another log may be shorter
	f.next, f.target, f.loaded = from, end, false
	f.progress.restart(from, end)
	return nil
}

// read waits for records.
func (f *Follower) read(r commitlog.Reader) ([]recordbatch.Record, error) {
	for {
		ctx, cancel := context.WithTimeout(f.ctx, f.cfg.StallMax)
		records, err := r.Next(ctx)
		stalled := ctx.Err() != nil && f.ctx.Err() == nil
		cancel()
		if err == nil || !stalled || errors.Is(err, commitlog.ErrOffsetOutOfRange) {
			return records, err
		}
		if wanted := max(f.target, f.ends.latest.Load()); f.next < wanted {
			f.progress.trouble(err)
			f.cfg.Stalled(f.next, wanted)
		}
	}
}

func (f *Follower) apply(records []recordbatch.Record) error {
	next := f.next
	if len(records) > 0 {
		next = records[len(records)-1].Offset + 1
	}
	loaded := f.loaded || next >= f.target
	if err := f.cfg.Apply(records, loaded); err != nil {
		return err
	}
	f.next, f.loaded = next, loaded
	f.progress.at(next, loaded)
	return nil
}

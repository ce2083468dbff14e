package usage

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"tollgate/pkg/commitlog"
)

// Worker follows the partitions that its group gives it. See the package.
type Worker struct {
	cfg    Config
	store  *store
	damage error // the store could not be used when it was opened
	counts *counts
	closed sync.Once

	mu      sync.Mutex
	parts   map[int32]*partition // those that are run; guarded by mu, as is what follows
	damaged map[int32]error      // those that are not, since their part of the state can not be used
}

// Open opens the state, or makes it when there is none. A state that is damaged is no error: the worker that is returned
// answers every question with the *DamagedError, and so does Run, while everything else of the gateway goes on.
func Open(cfg Config) (*Worker, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	w := &Worker{cfg: cfg, counts: newCounts(cfg.Metrics), parts: make(map[int32]*partition), damaged: make(map[int32]error)}
	var err error
	if w.store, err = openStore(&w.cfg); err != nil {
		var damaged *DamagedError
		if !errors.As(err, &damaged) {
			return nil, err
		}
		w.damage = damaged
		cfg.Notify(Notice{What: Damaged, Partition: -1, Detail: damaged.Path, Err: damaged})
	}
	w.export(cfg.Metrics)
	return w, nil
}

// Damage is why the state can not be used, or nil.
func (w *Worker) Damage() error {
	if w.damage != nil {
		return w.damage
	}
	return w.store.Usable()
}

// Run joins the group and runs partitions until ctx ends. It returns earlier when the state is damaged, or when the log
// says that it is hopeless.
func (w *Worker) Run(ctx context.Context) error {
	if err := w.Damage(); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ended := make(chan error, 1)
	go func() {
		ended <- w.cfg.Log.Group(w.cfg.Topic, w.cfg.Group).Run(ctx, commitlog.Member{Held: w.held, Own: w.own})
	}()
	for tick := time.NewTicker(w.cfg.FlushEvery); ; {
		select {
		case err := <-ended:
			tick.Stop()
			return errors.Join(err, w.Damage())
		case <-tick.C:
			if w.Damage() != nil {
				cancel()
			}
		}
	}
}

// held is the offset of each partition that there is state of.
func (w *Worker) held() map[int32]int64 {
	held := make(map[int32]int64)
	for n := range int32(w.cfg.Log.Partitions(w.cfg.Topic)) {
		if st, err := w.store.loadState(n); err == nil && st.Offset > 0 {
			held[n] = st.Offset
		}
	}
	return held
}

// own runs a partition. It does so in a goroutine of its own, since a store that fails ends the one that asked it.
func (w *Worker) own(ctx context.Context, c commitlog.Claim) {
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := w.live(ctx, c); err != nil {
			w.trouble(ctx, c.Partition(), err)
		}
	}()
	select {
	case <-ended:
		return
	case <-w.store.Up().Done():
	}
	// It may wait in the store for ever, and can write nothing any more. So it is not waited for long.
	patience := time.NewTimer(downTimeout)
	defer patience.Stop()
	select {
	case <-ended:
	case <-patience.C:
	}
}

// live runs a partition from its opening to its closing.
func (w *Worker) live(ctx context.Context, c commitlog.Claim) error {
	p, err := newPartition(&w.cfg, c.Partition(), w.store, w.counts)
	if err != nil {
		return err
	}
	f := follower{w: w, p: p, claim: c}
	defer f.end()
	if err := f.begin(ctx); err != nil {
		return p.judgeError(err)
	}
	w.cfg.Notify(Notice{What: Started, Partition: p.number, Detail: fmt.Sprintf("offset %d", p.state.Offset)})
	if err := f.follow(ctx); err != nil {
		f.failed = true
		return p.judgeError(err)
	}
	return nil
}

// trouble tells why a partition is not run on. The group gives it back after a pause, except where that would not help.
func (w *Worker) trouble(ctx context.Context, number int32, err error) {
	if ctx.Err() != nil {
		return
	}
	var damaged *DamagedError
	if errors.As(err, &damaged) {
		w.setDamaged(number, err)
		w.cfg.Notify(Notice{What: Damaged, Partition: number, Detail: damaged.Path, Err: err})
		<-ctx.Done()
		w.setDamaged(number, nil)
		return
	}
	w.cfg.Notify(Notice{What: Waiting, Partition: number, Err: err})
}

func (w *Worker) setDamaged(number int32, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.damaged[number] = err; err == nil {
		delete(w.damaged, number)
	}
}

// Owned lists the partitions that are run.
func (w *Worker) Owned() []int32 {
	if w.Damage() != nil {
		return nil
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Sorted(maps.Keys(w.parts))
}

// owned returns partitions that are run: those asked for, or all.
func (w *Worker) owned(partitions []int32) ([]*partition, error) {
	if err := w.Damage(); err != nil {
		return nil, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if partitions == nil {
		for _, err := range w.damaged {
			return nil, err // the others would be part of a sum
		}
		partitions = slices.Sorted(maps.Keys(w.parts))
	}
	found := make([]*partition, 0, len(partitions))
	for _, n := range partitions {
		p := w.parts[n]
		if err := w.damaged[n]; p == nil && err != nil {
			return nil, err
		}
		if p == nil {
			return nil, fmt.Errorf("%w: %d", ErrNotOwned, n)
		}
		found = append(found, p)
	}
	return found, nil
}

// lag is how many records this worker's partitions are behind, and how old the oldest of the newest they came to is.
func (w *Worker) lag() (records, ms int64) {
	now := w.cfg.Now().UnixMilli()
	for _, p := range w.snapshotOfParts() {
		p.mu.Lock()
		behind := p.boundNext - p.applied
		if behind > 0 {
			records += behind
			if p.clockMs > 0 {
				ms = max(ms, now-p.clockMs)
			}
		}
		p.mu.Unlock()
	}
	return records, ms
}

func (w *Worker) snapshotOfParts() []*partition {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Collect(maps.Values(w.parts))
}

func (w *Worker) storeBytes() uint64 {
	if w.Damage() != nil {
		return 0
	}
	return w.store.DB.Metrics().DiskSpaceUsage()
}

// Close closes the state. Run has returned before.
func (w *Worker) Close(ctx context.Context) error {
	if w.store == nil {
		return nil
	}
	closed := make(chan error, 1)
	go func() {
		var err error
		w.closed.Do(func() { err = w.store.close() })
		closed <- err
	}()
	select {
	case err := <-closed:
		return err
	case <-ctx.Done():
		return fmt.Errorf("usage: the state in %s was not closed in time: %w", w.cfg.storeDir(), ctx.Err())
	}
}

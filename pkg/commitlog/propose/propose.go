package propose

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"tollgate/pkg/commitlog"
)

// Config says where proposals go. All of it is required.
type Config struct {
	Log       commitlog.Log
	Topic     string
	Partition int32
	// InFlightMax is how many slots there are.
	InFlightMax int
	// Closed is closed when nothing is folded any more: who waits then is told that the outcome is unknown.
	Closed <-chan struct{}
}

// Proposals is the proposals in flight, whose fold comes to verdicts of type V.
type Proposals[V any] struct {
	cfg   Config
	slots chan struct{}

	mu sync.Mutex
	// Guarded by mu. By id; each channel has room for its verdict.
	waiting map[[16]byte]chan V
}

// New returns a Proposals without any.
func New[V any](cfg Config) *Proposals[V] {
	return &Proposals[V]{cfg: cfg, slots: make(chan struct{}, cfg.InFlightMax), waiting: make(map[[16]byte]chan V)}
}

// Record is a proposal as it is appended.
type Record struct {
	ID         [16]byte // also somewhere in Key or Value
	AtMs       int64    // the record's time
	Key, Value []byte   // Key may be nil
}

// Append writes a proposal and waits for its verdict. It is called as often as one likes while the slot is held, once at a
// time.
//
// An error wraps commitlog.ErrUnknown when the proposal may be decided yet, commitlog.ErrUnavailable when it will not and
// may be proposed again, commitlog.ErrRefused when it can not be a record.
func (p *Proposals[V]) Append(ctx context.Context, slot *Slot, r Record) (V, error) {
	verdict := p.add(r.ID)
	defer p.remove(r.ID)
	answer := make(chan error, 1)
	slot.hold()
	b := p.Batch(r, func(b *commitlog.Batch) {
		slot.Leave()
		answer <- b.Err
	})
	p.cfg.Log.Append([]*commitlog.Batch{b})
	var none V
	for {
		select {
		case v := <-verdict:
			return v, nil // the fold read it, so it is durable, whatever the log answers
		case err := <-answer:
			if err != nil {
				return failed(err, verdict)
			}
			answer = nil // durable: the fold will come to it
		case <-ctx.Done():
			return none, fmt.Errorf("%w: no verdict yet: %w", commitlog.ErrUnknown, ctx.Err())
		case <-p.cfg.Closed:
			return none, fmt.Errorf("%w: %w before the verdict", commitlog.ErrUnknown, commitlog.ErrClosed)
		}
	}
}

// failed returns what an append's error means to the proposal.
func failed[V any](err error, verdict <-chan V) (v V, _ error) {
	select {
	case v = <-verdict:
		return v, nil
	default:
	}
	for _, known := range []error{commitlog.ErrUnknown, commitlog.ErrUnavailable, commitlog.ErrRefused} {
		if errors.Is(err, known) {
			return v, err
		}
	}
	return v, fmt.Errorf("%w: %w", commitlog.ErrUnavailable, err) // ErrClosed: it is not in the log
}

// Batch is a record batch of one record, for those who do not wait for a verdict on it.
func (p *Proposals[V]) Batch(r Record, done func(*commitlog.Batch)) *commitlog.Batch {
	b := commitlog.OneRecord(p.cfg.Topic, p.cfg.Partition, r.AtMs, r.Key, r.Value)
	b.Done = done
	return b
}

func (p *Proposals[V]) add(id [16]byte) <-chan V {
	p.mu.Lock()
	defer p.mu.Unlock()
	verdict := make(chan V, 1)
	p.waiting[id] = verdict
	return verdict
}

func (p *Proposals[V]) remove(id [16]byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.waiting, id)
}

// Waits says whether somebody waits for the verdict on a proposal.
func (p *Proposals[V]) Waits(id [16]byte) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.waiting[id] != nil
}

// Decide gives a verdict to who waits for it, if anybody does. A second one, of a fold that started over, is dropped.
func (p *Proposals[V]) Decide(id [16]byte, v V) {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case p.waiting[id] <- v:
	default:
	}
}

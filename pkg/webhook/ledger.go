package webhook

import (
	"context"
	"sync"
	"time"

	"tollgate/pkg/commitlog"
	"tollgate/pkg/recordbatch"
)

// appendMax bounds the wait for one batch. An outcome that is not known by then counts as failed: the same records are
// written again, which is harmless.
const appendMax = 30 * time.Second

// entry is a record of the cursors topic; a nil value says that there is none of the key any more.
type entry struct {
	key   string
	value []byte
}

// group is records that land in their order or, from some record on, do not land now.
type group struct {
	entries []entry
	done    func(error) // called once, by the ledger's goroutine; it must not block
}

// ledger writes to the cursors topic: what came while one batch flies goes into the next, of all destinations together.
// Its backlog is bounded by who uses it: a runner has one group in it at a time.
type ledger struct {
	log   commitlog.Log
	topic string
	now   func() time.Time

	kick chan struct{} // holds one
	mu   sync.Mutex
	todo []*group // guarded by mu
}

func newLedger(cfg *Config) *ledger {
	return &ledger{log: cfg.Log, topic: cfg.CursorsTopic, now: cfg.Now, kick: make(chan struct{}, 1)}
}

func (l *ledger) add(g *group) {
	l.mu.Lock()
	l.todo = append(l.todo, g)
	l.mu.Unlock()
	select {
	case l.kick <- struct{}{}:
	default:
	}
}

// write adds a group and waits for it.
func (l *ledger) write(ctx context.Context, entries []entry) error {
	done := make(chan error, 1)
	l.add(&group{entries: entries, done: func(err error) { done <- err }})
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// run writes until ctx ends; groups that are then left are told so.
func (l *ledger) run(ctx context.Context) {
	for {
		select {
		case <-l.kick:
		case <-ctx.Done():
			for _, g := range l.take() {
				g.done(ctx.Err())
			}
			return
		}
		l.flush(ctx, l.take())
	}
}

func (l *ledger) take() []*group {
	l.mu.Lock()
	defer l.mu.Unlock()
	todo := l.todo
	l.todo = nil
	return todo
}

// flush writes groups, batch after batch, each when the one before has landed: a cursor never lands without the
// deliveries that it has passed. After a fault nothing of what is behind it is tried.
func (l *ledger) flush(ctx context.Context, groups []*group) {
	var failed error
	var waiting []*group // those that end in the open batch
	p, nowMs := commitlog.NewPacker(l.log, l.topic, partition), l.now().UnixMilli()
	land := func() {
		if b := p.Take(); b != nil && failed == nil {
			failed = appendWait(ctx, l.log, b)
		}
		for _, g := range waiting {
			g.done(failed)
		}
		waiting = waiting[:0]
	}
	var body []byte
	for _, g := range groups {
		for _, e := range g.entries {
			body = recordbatch.AppendBody(body[:0], []byte(e.key), e.value)
			if !p.Fits(body) {
				land()
			}
			p.Add(nowMs, body)
		}
		waiting = append(waiting, g)
	}
	land()
}

// appendWait appends to the cursors topic and waits, for appendMax at most.
func appendWait(ctx context.Context, log commitlog.Log, b *commitlog.Batch) error {
	ctx, cancel := context.WithTimeout(ctx, appendMax)
	defer cancel()
	return commitlog.AppendWait(ctx, log, b)
}

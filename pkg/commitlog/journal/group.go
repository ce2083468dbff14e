package journal

import (
	"context"
	"fmt"
	"sync"

	"tollgate/pkg/commitlog"
)

// group is the only member there can be: a journal belongs to one process.
type group struct {
	j     *Journal
	topic string
}

// Group implements commitlog.Log. Its one member runs all partitions of the topic at once; commits go nowhere, since no
// tool looks at them.
func (j *Journal) Group(topic, _ string) commitlog.Group { return group{j, topic} }

// Run implements commitlog.Group. It ends with ErrClosed when the journal is closed first.
func (g group) Run(ctx context.Context, m commitlog.Member) error {
	partitions := g.j.topics[g.topic]
	if len(partitions) == 0 {
		return fmt.Errorf("journal: there is no topic %q", g.topic)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var owns sync.WaitGroup
	for n := range partitions {
		owns.Go(func() { m.Hold(ctx, claim(n)) })
	}
	var err error
	select {
	case <-ctx.Done():
	case <-g.j.closing:
		err = g.j.errClosed()
	}
	cancel()
	owns.Wait()
	return err
}

type claim int32

// Partition implements commitlog.Claim.
func (c claim) Partition() int32 { return int32(c) }

// Commit implements commitlog.Claim.
func (c claim) Commit(int64) {}

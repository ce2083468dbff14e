package main

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"tollgate/pkg/fleet"
	"tollgate/pkg/usage"
)

// counting is who counts in this process: the worker, or nobody.
func (g *gateway) counting() fleet.Worker {
	if g.usage == nil {
		return noWorker{}
	}
	return g.usage
}

var errDisabled = errors.New("this gateway counts and delivers nothing, since usage.disabled is set")

// noWorker stands for the worker of a gateway that has none. All that is asked of it is asked of others.
type noWorker struct{}

func (noWorker) Owned() []int32 { return nil }
func (noWorker) Damage() error  { return errDisabled }

func (noWorker) Totals(context.Context, []int32, usage.Query) (usage.Totals, error) {
	return usage.Totals{}, usage.ErrNotOwned
}

func (noWorker) Fate(context.Context, []int32, usage.FateQuery) (usage.Fate, error) {
	return usage.Fate{}, usage.ErrNotOwned
}

func (noWorker) Verdict(context.Context, usage.VerdictQuery) (usage.Verdict, error) {
	return usage.Verdict{}, usage.ErrNotOwned
}

func (noWorker) Amounts(context.Context, []int32, usage.AmountsQuery) (usage.Amounts, error) {
	return usage.Amounts{}, usage.ErrNotOwned
}

// sharing is whether a gateway that has just started still waits for its part of the usage topic. A group on Kafka takes
// seconds to give its first member the partitions, and a synchronous request would be refused until then: such a gateway
// is not ready yet. Later, partitions that move do not make it unready: events are taken as before.
type sharing struct {
	over  atomic.Bool
	since atomic.Int64 // when it was asked first while all else was ready, in Unix milliseconds
}

// sharingMax bounds it: the first member of a group waits for 3 s by Kafka's default. One whose predecessor was killed
// would wait for its session to end, 10 s, and it is better that it takes the stream's events meanwhile.
const sharingMax = 4 * time.Second

func (s *sharing) underWay(g *gateway, now time.Time) bool {
	if s.over.Load() {
		return false
	}
	s.since.CompareAndSwap(0, now.UnixMilli())
	counts := g.counting()
	if counts.Damage() != nil || len(counts.Owned()) > 0 || len(g.fleet.Away()) == 0 || now.UnixMilli()-s.since.Load() > sharingMax.Milliseconds() {
		s.over.Store(true)
		return false
	}
	return true
}

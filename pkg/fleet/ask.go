package fleet

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"tollgate/pkg/usage"
)

// question is one of the four that can be asked: of which path, how one partition of this process answers it, how two
// answers become one, and what is wrong with one that came over the network.
type question[Q, A any] struct {
	path  string
	local func(ctx context.Context, w Worker, partition int32, q Q) (A, error)
	merge func(q Q, a, b A) (A, error)
	sound func(q Q, a A) error
}

var (
	totals   = question[usage.Query, usage.Totals]{pathTotals, localTotals, mergeTotals, soundTotals}
	fates    = question[usage.FateQuery, usage.Fate]{pathFate, localFate, mergeFates, soundFate}
	verdicts = question[usage.VerdictQuery, usage.Verdict]{pathVerdict, localVerdict, mergeVerdicts, soundVerdict}
	amounts  = question[usage.AmountsQuery, usage.Amounts]{pathAmounts, localAmounts, mergeAmounts, soundAmounts}
)

func localTotals(ctx context.Context, w Worker, partition int32, q usage.Query) (usage.Totals, error) {
	return w.Totals(ctx, []int32{partition}, q)
}

func localAmounts(ctx context.Context, w Worker, partition int32, q usage.AmountsQuery) (usage.Amounts, error) {
	return w.Amounts(ctx, []int32{partition}, q)
}

func localFate(ctx context.Context, w Worker, partition int32, q usage.FateQuery) (usage.Fate, error) {
	return w.Fate(ctx, []int32{partition}, q)
}

func localVerdict(ctx context.Context, w Worker, partition int32, q usage.VerdictQuery) (usage.Verdict, error) {
	if q.Partition != partition {
		return usage.Verdict{}, fmt.Errorf("%w: the record is in partition %d, and %d was asked", usage.ErrNotOwned, q.Partition, partition)
	}
	return w.Verdict(ctx, q)
}

// share is the answer for some partitions.
type share[A any] struct {
	partitions []int32
	answer     A
}

// gathering is one question on its way through the fleet.
type gathering[Q, A any] struct {
	f    *Fleet
	what question[Q, A]
	q    Q

	sum   share[A]
	left  []int32         // partitions that are not in sum yet
	asked map[int32]owner // whom they were asked of last
	why   map[int32]error // they are not answered
}

// gather asks every partition's owner, once, and once more after reading the announcements for those that moved
// meanwhile. It returns the answer about all of the partitions or an error.
func gather[Q, A any](ctx context.Context, f *Fleet, what question[Q, A], q Q, partitions []int32) (A, error) {
	g := &gathering[Q, A]{f: f, what: what, q: q, left: partitions, asked: map[int32]owner{}, why: map[int32]error{}}
	err := g.round(ctx)
	if err == nil && len(g.left) > 0 && f.cfg.Listener != nil && f.catchUp(ctx) == nil {
		f.counts.again.Add(1)
		err = g.round(ctx)
	}
	var none A
	switch {
	case err != nil:
		f.counts.failed.Add(1)
		return none, err
	case ctx.Err() != nil && len(g.left) > 0:
		f.counts.failed.Add(1)
		return none, ctx.Err()
	case len(g.left) > 0:
		f.counts.away.Add(1)
		return none, g.missing()
	}
	f.counts.answered.Add(1)
	return g.sum.answer, nil
}

// round asks all owners of what is left at once. Its error is a worker's, which no other owner could better.
func (g *gathering[Q, A]) round(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var here []int32
	others := map[owner][]int32{} // by whom is asked: gateway and address alone
	owned := g.f.cfg.Worker.Owned()
	for _, p := range g.left {
		if _, ok := slices.BinarySearch(owned, p); ok {
			here = append(here, p)
			continue
		}
		o, err := g.f.elsewhere(p)
		if err != nil {
			g.why[p] = err
			continue
		}
		o = owner{gateway: o.gateway, address: o.address}
		if g.asked[p] == o {
			continue // it has not moved, and its owner has answered or failed already
		}
		g.asked[p] = o
		others[o] = append(others[o], p)
	}
	type result struct {
		asked []int32
		share share[A]
		err   error
	}
	results := make(chan result, len(others))
	for o, partitions := range others {
		go func() {
			s, err := post[A](ctx, g.f, g.what.path, o, request[Q]{partitions, g.q})
			if fault := g.what.sound(g.q, s.answer); err == nil && fault != nil {
				err = away(o, fmt.Errorf("its answer is none: %w", fault))
			}
			results <- result{partitions, s, err}
		}()
	}
	s, err := answerHere(ctx, g.f.cfg.Worker, g.what, here, g.q)
	if err == nil {
		err = g.add(s)
	}
	for range others {
		r := <-results
		switch {
		case err != nil: // the rest is waited for, since its goroutines must end here
		case errors.Is(r.err, ErrOwnerAway), errors.Is(r.err, usage.ErrNotOwned):
			for _, p := range r.asked {
				g.why[p] = r.err
			}
		case r.err != nil:
			err = r.err
		default:
			err = g.add(r.share)
		}
		if err != nil {
			cancel()
		}
	}
	return err
}

// answerHere answers for those of the partitions that this process still runs.
func answerHere[Q, A any](ctx context.Context, w Worker, what question[Q, A], partitions []int32, q Q) (sum share[A], err error) {
	for _, p := range partitions {
		a, err := what.local(ctx, w, p, q)
		if errors.Is(err, usage.ErrNotOwned) {
			continue
		}
		if err == nil && len(sum.partitions) > 0 {
			a, err = what.merge(q, sum.answer, a)
		}
		if err != nil {
			return sum, err
		}
		sum = share[A]{append(sum.partitions, p), a}
	}
	return sum, nil
}

// missing is why there is no answer.
func (g *gathering[Q, A]) missing() error {
	p := g.left[0]
	switch err := g.why[p]; {
	case errors.Is(err, ErrOwnerAway):
		return err
	case err != nil:
		return fmt.Errorf("%w: partition %d is changing hands: %w", ErrOwnerAway, p, err)
	default:
		return fmt.Errorf("%w: partition %d is changing hands", ErrOwnerAway, p)
	}
}

// add puts an answer to the sum and takes its partitions from left. An owner answers for what it was asked for and for
// no partition twice, or the sum would be wrong.
func (g *gathering[Q, A]) add(s share[A]) error {
	if len(s.partitions) == 0 {
		return nil
	}
	left := slices.Clone(g.left)
	for _, p := range s.partitions {
		i := slices.Index(left, p)
		if i < 0 {
			return fmt.Errorf("%w: another gateway answered for partition %d, which it was not asked", ErrOwnerAway, p)
		}
		left = slices.Delete(left, i, i+1)
	}
	a := s.answer
	if len(g.sum.partitions) > 0 {
		var err error
		if a, err = g.what.merge(g.q, g.sum.answer, a); err != nil {
			return err
		}
	}
	g.left = left
	g.sum = share[A]{append(g.sum.partitions, s.partitions...), a}
	return nil
}

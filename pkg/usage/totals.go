package usage

import (
	"context"
	"math"
	"slices"

	"github.com/cockroachdb/pebble/v2"

	"tollgate/pkg/control"
	"tollgate/pkg/meterevent"
)

// Totals answers a query over partitions that this worker runs, or over all of them when partitions is nil. It reads
// what the last flushes wrote; AsOfMs says how current that is.
func (w *Worker) Totals(ctx context.Context, partitions []int32, q Query) (Totals, error) {
	parts, err := w.owned(partitions)
	if err != nil {
		return Totals{}, err
	}
	m, err := w.meter(ctx, &q)
	if err != nil {
		return Totals{}, err
	}
	answers := make([]Totals, 0, len(parts))
	for _, p := range parts {
		t, err := p.totals(&q, m)
		if err != nil {
			return Totals{}, err
		}
		answers = append(answers, t)
	}
	return Merge(q, answers...), nil
}

// meter finds the query's meter; nil when there is none.
func (w *Worker) meter(ctx context.Context, q *Query) (*control.Meter, error) {
	if m := w.cfg.Control.Snapshot().Meter(q.Business, q.Livemode, q.MeterID); m != nil {
		return m, nil
	}
	if err := w.cfg.Control.CaughtUp(ctx); err != nil {
		return nil, err
	}
	return w.cfg.Control.Snapshot().Meter(q.Business, q.Livemode, q.MeterID), nil
}

// Merge puts the answers of several partitions to one query together. A customer's events are in one partition, or in
// several when the meter's spread was changed. AsOfMs is the least.
func Merge(q Query, parts ...Totals) Totals {
	var merged Totals
	byStart := make(map[int64]*WindowTotal)
	for i, t := range parts {
		if i == 0 || t.AsOfMs < merged.AsOfMs {
			merged.AsOfMs = t.AsOfMs
		}
		merged.More = merged.More || t.More
		for _, w := range t.Windows {
			if known := byStart[w.StartMs]; known != nil {
				known.combine(&w)
			} else {
				byStart[w.StartMs] = &w
			}
		}
	}
	for _, w := range byStart {
		merged.Windows = append(merged.Windows, *w)
	}
	slices.SortFunc(merged.Windows, func(a, b WindowTotal) int { return compare(b.StartMs, a.StartMs) })
	merged.page(&q)
	return merged
}

func compare(a, b int64) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// combine adds another partition's share of the same window.
func (w *WindowTotal) combine(o *WindowTotal) {
	if w.LastMs != 0 || o.LastMs != 0 {
		if o.LastMs > w.LastMs || o.LastMs == w.LastMs && o.LastReceivedMs > w.LastReceivedMs {
			*w = *o
		}
		return
	}
	a, err1 := meterevent.ParseDecimal([]byte(w.Value))
	b, err2 := meterevent.ParseDecimal([]byte(o.Value))
	if err1 != nil || err2 != nil {
		panic("BUG: usage: a total is no decimal number: " + w.Value + ", " + o.Value)
	}
	a.Add(&b)
	w.Value = string(a.AppendText(nil))
}

// page leaves the windows that a query asks for, of all that there are, newest first.
func (t *Totals) page(q *Query) {
	kept := t.Windows[:0]
	for _, w := range t.Windows {
		if (q.BeforeMs == 0 || w.StartMs < q.BeforeMs) && (q.AfterMs == 0 || w.StartMs > q.AfterMs) {
			kept = append(kept, w)
		}
	}
	if limit := max(1, q.Limit); len(kept) > limit {
		t.More = true
		if q.AfterMs != 0 {
			kept = kept[len(kept)-limit:]
		} else {
			kept = kept[:limit]
		}
	}
	t.Windows = kept
}

// query is one partition's part in answering.
type query struct {
	*Query
	p      *partition
	m      *control.Meter
	from   pebble.Reader
	series []byte
	clock  int64 // as of the flush
	floor  int64 // the first day that is kept by the minute
	open   *accumulated
	out    []WindowTotal
}

// accumulated is a window that is being added up.
type accumulated struct {
	start, end int64
	total
	newest kept
}

// totals answers from one consistent view of the store.
func (p *partition) totals(q *Query, m *control.Meter) (Totals, error) {
	snapshot, st, asOf, err := p.view()
	if err != nil {
		return Totals{}, err
	}
	defer snapshot.Close()
	if st.RebuildTo > 0 {
		return Totals{}, ErrRebuilding
	}
	if err := incomplete(p.number, st.Gaps, q); err != nil {
		return Totals{}, err
	}
	t := Totals{AsOfMs: asOf}
	if m == nil || st.Hour == noHour || q.StartMs >= q.EndMs {
		return t, nil
	}
	r, from, to := p.query(q, m, snapshot, &st)
	r.series = appendSeries(nil, m.ID, []byte(q.Customer))
	if err := r.addUp(from, to); err != nil {
		return Totals{}, err
	}
	t.Windows = r.out
	t.page(q)
	return t, nil
}

// query begins an answer from a view of the store, for a series to be named. There is nothing before what is kept, nor
// after what is taken, so that only times from from on and before to are looked at.
func (p *partition) query(q *Query, m *control.Meter, snapshot *pebble.Snapshot, st *state) (r query, from, to int64) {
	r = query{Query: q, p: p, m: m, from: snapshot, clock: st.ClockMs, floor: st.minuteFloor()}
	from = max(q.StartMs, floorTo(st.ClockMs, dayMs)-(totalDays+2*periodDays)*dayMs)
	to = min(q.EndMs, floorTo(st.ClockMs, dayMs)+2*dayMs)
	return r, from, to
}

// addUp answers for the series.
func (r *query) addUp(from, to int64) (err error) {
	if keepsEvents(r.m) {
		err = r.events(from, to)
	} else {
		err = r.sums(from, to)
	}
	r.finish()
	return err
}

// view is the store as of the last flush, with the state that belongs to it. The caller closes it.
func (p *partition) view() (*pebble.Snapshot, state, int64, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.gone {
		return nil, state{}, 0, ErrNotOwned
	}
	if err := p.store.Usable(); err != nil {
		return nil, state{}, 0, err
	}
	return p.store.DB.NewSnapshot(), p.flushed, p.asOfMs, nil
}

// incomplete says whether a query touches times of which records are missing.
func incomplete(number int32, gaps []gap, q *Query) error {
	for _, g := range gaps {
		if q.EndMs > g.FromMs && (g.ToMs == 0 || q.StartMs < g.ToMs) {
			return &IncompleteError{number, max(g.FromMs, 0), g.ToMs}
		}
	}
	return nil
}

// window is where a time belongs by the query's grouping.
func (r *query) window(ms int64) (start, end int64) {
	switch r.Grouping {
	case ByHour:
		return floorTo(ms, hourMs), floorTo(ms, hourMs) + hourMs
	case ByDay:
		return floorTo(ms, dayMs), floorTo(ms, dayMs) + dayMs
	}
	return r.StartMs, r.EndMs
}

// at returns the window of a time to add to. Times come from the newest to the oldest.
func (r *query) at(ms int64) *accumulated {
	start, end := r.window(ms)
	if r.open == nil || r.open.start != start {
		r.finish()
		r.open = &accumulated{start: start, end: end, newest: kept{timeMs: math.MinInt64}}
	}
	return r.open
}

// finish puts the window that was added up into the answer.
func (r *query) finish() {
	a := r.open
	r.open = nil
	if a == nil || a.count == 0 {
		return
	}
	w := WindowTotal{StartMs: a.start, EndMs: a.end}
	value := &a.sum
	switch r.m.Formula {
	case control.Count:
		count := meterevent.DecimalOf(a.count)
		value = &count
	case control.Last:
		value = &a.newest.value
		w.LastMs, w.LastReceivedMs = a.newest.timeMs, a.newest.clockMs
	}
	w.Value = string(value.AppendText(nil))
	r.out = append(r.out, w)
}

package thinevent

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"os"
	"reflect"
	"slices"
	"strconv"
	"testing"

	pebblevfs "github.com/cockroachdb/pebble/v2/vfs"

	"tollgate/pkg/stripe"
)

// model is what a Store should answer, by searching everything there is.
type model struct {
	events []*Event // by offset, without repetitions
	ids    map[string]*Event
}

// put notes an event that the topic got, unless it is a repetition or was too old when it came.
func (m *model) put(e *Event, offset, nowMs int64) {
	if m.ids[e.ID] != nil || e.CreatedMs < nowMs-RetentionMs {
		return
	}
	c := *e
	c.Offset = offset
	m.ids[e.ID] = &c
	m.events = append(m.events, &c)
}

// list is everything that a query's filter lets through, the newest first.
func (m *model) list(q *Query, nowMs int64) (all []*Event) {
	for _, e := range m.events {
		switch {
		case e.Business != q.Business || e.Livemode != q.Livemode, e.CreatedMs < nowMs-RetentionMs,
			q.ObjectID != "" && (e.Related == nil || e.Related.ID != q.ObjectID),
			q.Types != nil && !slices.Contains(q.Types, e.Type),
			q.FromMs != 0 && e.CreatedMs < q.FromMs, q.BeforeMs != 0 && e.CreatedMs >= q.BeforeMs:
		default:
			all = append(all, e)
		}
	}
	slices.SortFunc(all, func(a, b *Event) int {
		return cmp.Or(cmp.Compare(b.CreatedMs, a.CreatedMs), cmp.Compare(b.Offset, a.Offset))
	})
	return all
}

// page is the page of a query.
func (m *model) page(q *Query, nowMs int64) Page {
	all := m.list(q, nowMs)
	from, to := 0, min(q.Limit, len(all))
	if q.After != nil {
		from = slices.IndexFunc(all, func(e *Event) bool { return e.position().less(*q.After) })
		if from < 0 {
			from = len(all)
		}
		to = min(from+q.Limit, len(all))
	}
	if q.Before != nil {
		to = slices.IndexFunc(all, func(e *Event) bool { return !q.Before.less(e.position()) })
		if to < 0 {
			to = len(all)
		}
		from = max(0, to-q.Limit)
	}
	p := Page{}
	if from < to {
		p.Events = all[from:to]
	}
	if to < len(all) {
		p.Next = &Position{} // there is one; where it leads is seen by going there
	}
	if from > 0 {
		p.Previous = &Position{}
	}
	return p
}

// player plays a random history and compares.
type player struct {
	*stage
	rng   *rand.Rand
	model model
	s     *Store
	nowMs int64
	seed  uint64
}

func (p *player) pick(options ...string) string { return options[p.rng.IntN(len(options))] }

func (p *player) event() *Event {
	created := p.nowMs - p.rng.Int64N(20)*1000
	switch p.rng.IntN(20) {
	case 0:
		created = p.nowMs + p.rng.Int64N(dayMs) // a clock that is ahead
	case 1:
		created = p.nowMs - RetentionMs + p.rng.Int64N(20_000) - 10_000
	case 2, 3:
		created = p.nowMs - p.rng.Int64N(31*dayMs)
	}
	r := &Report{
		Business: p.pick("acct_a", "acct_b", "acct_ab"), Livemode: p.rng.IntN(3) == 0, MeterID: p.pick("", "mtr_1", "mtr_2", "mtr_12"),
		StartMs: created - 12_000, Source: Source{int32(p.rng.IntN(3)), p.rng.Int64N(1 << 40), 1 << 41},
	}
	e := NewReport(r, created)
	if p.rng.IntN(6) == 0 {
		e = NewPing(r.Business, r.Livemode, p.pick("ed_1", "mtr_1"), [16]byte{byte(p.rng.Uint32()), byte(p.rng.Uint32()), byte(p.rng.Uint32())},
			&stripe.EventReason{RequestID: "req_1", IdempotencyKey: "k"}, created)
	}
	if n := len(p.model.events); n > 0 && p.rng.IntN(8) == 0 {
		was := p.model.events[p.rng.IntN(n)]
		e.ID, e.CreatedMs = was.ID, was.CreatedMs // a repetition, with something else in it
	}
	return e
}

func (p *player) query() *Query {
	q := &Query{Business: p.pick("acct_a", "acct_b", "acct_ab", "acct_none"), Livemode: p.rng.IntN(3) == 0, Limit: 1 + p.rng.IntN(8)}
	q.ObjectID = p.pick("", "", "mtr_1", "mtr_12", "ed_1", "mtr_none")
	types := []string{TypeErrorReport, TypeNoMeter, TypePing, "v1.none", TypePing, ""}
	switch p.rng.IntN(4) {
	case 0:
		q.Types = types[:p.rng.IntN(len(types)+1)]
	case 1:
		p.rng.Shuffle(len(types), func(i, j int) { types[i], types[j] = types[j], types[i] })
		q.Types = types[:1+p.rng.IntN(3)]
	}
	if p.rng.IntN(4) == 0 {
		q.FromMs = p.nowMs - p.rng.Int64N(40_000)
	}
	if p.rng.IntN(4) == 0 {
		q.BeforeMs = p.nowMs - p.rng.Int64N(40_000)
	}
	if p.rng.IntN(4) == 0 {
		at := Position{p.nowMs - p.rng.Int64N(30_000), p.rng.Int64N(100)}
		if n := len(p.model.events); n > 0 && p.rng.IntN(2) == 0 {
			at = p.model.events[p.rng.IntN(n)].position()
		}
		if p.rng.IntN(2) == 0 {
			q.After = &at
		} else {
			q.Before = &at
		}
	}
	return q
}

// same compares a page with the model's.
func (p *player) same(q *Query) Page {
	p.Helper()
	got, err := p.s.List(q)
	want := p.model.page(q, p.nowMs)
	if err != nil || !reflect.DeepEqual(got.Events, want.Events) || (got.Next != nil) != (want.Next != nil) || (got.Previous != nil) != (want.Previous != nil) {
		p.Fatalf("seed %d: %+v after %v before %v:\n%s next %v previous %v, %v, want\n%s next %v previous %v",
			p.seed, q, q.After, q.Before, ids(got.Events), got.Next, got.Previous, err, ids(want.Events), want.Next, want.Previous)
	}
	return got
}

// through goes from page to page, forward or back, and sees each event of the list once.
func (p *player) through() {
	q := p.query()
	q.After, q.Before = nil, nil
	all := p.model.list(q, p.nowMs)
	var seen []*Event
	page := p.same(q)
	for seen = page.Events; page.Next != nil; seen = append(seen, page.Events...) {
		q.After = page.Next
		page = p.same(q)
	}
	if ids(seen) != ids(all) {
		p.Fatalf("seed %d: %+v forward shows\n%s, want\n%s", p.seed, q, ids(seen), ids(all))
	}
	for seen = page.Events; page.Previous != nil; seen = append(slices.Clone(page.Events), seen...) {
		q.After, q.Before = nil, page.Previous
		page = p.same(q)
	}
	if ids(seen) != ids(all) {
		p.Fatalf("seed %d: %+v back shows\n%s, want\n%s", p.seed, q, ids(seen), ids(all))
	}
}

// singles compares the other questions.
func (p *player) singles() {
	for _, e := range p.model.events[max(0, len(p.model.events)-20):] {
		shown := e
		if e.CreatedMs < p.nowMs-RetentionMs {
			shown = nil
		}
		if got, err := p.s.Get(e.Business, e.Livemode, e.ID); err != nil || !reflect.DeepEqual(got, shown) {
			p.Fatalf("seed %d: Get %s: %+v, %v, want %+v", p.seed, e.ID, got, err, shown)
		}
		if got, err := p.s.At(e.Offset); err != nil || !reflect.DeepEqual(got, shown) {
			p.Fatalf("seed %d: At %d: %+v, %v, want %+v", p.seed, e.Offset, got, err, shown)
		}
		if got, err := p.s.Get(e.Business, !e.Livemode, e.ID); err != nil || got != nil {
			p.Fatalf("seed %d: Get in another mode: %+v, %v", p.seed, got, err)
		}
		if got, err := p.s.Get(e.Business+"b", e.Livemode, e.ID); err != nil || got != nil {
			p.Fatalf("seed %d: Get of another business: %+v, %v", p.seed, got, err)
		}
		through, found, err := p.s.Reported(e.ID)
		if err != nil || (shown != nil && (!found || through != e.Source.Through)) {
			p.Fatalf("seed %d: Reported %s: %d, %v, %v", p.seed, e.ID, through, found, err)
		}
	}
	since := p.nowMs - p.rng.Int64N(40_000)
	offset, err := p.s.Since(since)
	first := int64(p.log.len())
	for _, e := range p.model.events {
		if e.CreatedMs >= since && e.CreatedMs >= p.nowMs-RetentionMs {
			first = min(first, e.Offset)
		}
	}
	if err != nil || offset > first {
		p.Fatalf("seed %d: Since %d: %d, %v, and the event at %d is as new", p.seed, since, offset, err, first)
	}
}

// from reads everything by From.
func (p *player) from() {
	var seen, want []*Event
	start := p.rng.Int64N(int64(p.log.len()) + 3)
	for next := start; ; {
		events, then, err := p.s.From(next, 1+p.rng.IntN(10))
		if err != nil || then < next {
			p.Fatalf("seed %d: From %d: %d, %v", p.seed, next, then, err)
		}
		seen = append(seen, events...)
		if then == next {
			break
		}
		next = then
	}
	for _, e := range p.model.events {
		if e.Offset >= start && e.CreatedMs >= p.nowMs-RetentionMs {
			want = append(want, e)
		}
	}
	if !reflect.DeepEqual(seen, want) {
		p.Fatalf("seed %d: From %d: %s, want %s", p.seed, start, ids(seen), ids(want))
	}
}

// restart is another life of the gateway: with the index as it was, as a crash left it, or without one.
func (p *player) restart() {
	disk := p.cfg.FS.(*pebblevfs.MemFS)
	switch p.rng.IntN(3) {
	case 0:
		p.close(p.s)
	case 1:
		clone := disk.CrashClone(pebblevfs.CrashCloneCfg{UnsyncedDataPercent: p.rng.IntN(101), RNG: rand.New(rand.NewPCG(p.seed, p.rng.Uint64()))})
		p.close(p.s)
		p.cfg.FS = clone
		// What the index had lost it reads again, by today's clock: events that expired between stay out.
		p.forgetExpired()
	case 2:
		p.close(p.s)
		p.cfg.FS = pebblevfs.NewCrashableMem()
		p.forgetExpired()
	}
	p.s = p.caughtUp()
}

func (p *player) forgetExpired() {
	p.model.events = slices.DeleteFunc(p.model.events, func(e *Event) bool { return e.CreatedMs < p.nowMs-RetentionMs })
}

func (p *player) step() {
	switch n := p.rng.IntN(20); {
	case n < 6:
		for range 1 + p.rng.IntN(6) {
			e := p.event()
			p.model.put(e, p.put(e), p.nowMs)
		}
		p.catchUp(p.s)
	case n < 8:
		var events []*Event
		for range 1 + p.rng.IntN(4) {
			events = append(events, p.event())
		}
		at := int64(p.log.len())
		if err := p.s.Append(p.Context(), events...); err != nil {
			p.Fatal(err)
		}
		for ; at < int64(p.log.len()); at++ {
			rec := p.log.records[at]
			e, err := parseRecord(&rec)
			if err != nil {
				p.Fatal(err)
			}
			p.model.put(e, at, p.nowMs)
		}
	case n < 12:
		p.same(p.query())
	case n < 14:
		p.through()
	case n < 15:
		p.from()
	case n < 17:
		p.singles()
	case n < 18:
		p.nowMs += p.rng.Int64N(2 * dayMs)
		p.clockMs.Store(p.nowMs)
	case n < 19:
		if err := p.s.sweep(); err != nil {
			p.Fatal(err)
		}
	default:
		p.restart()
	}
}

func TestRandomHistoriesAreShownAsASearchThroughEverythingShowsThem(t *testing.T) {
	seeds, first := 12, uint64(1)
	if n, err := strconv.Atoi(os.Getenv("TOLLGATE_SEEDS")); err == nil {
		seeds = n
	}
	if n, err := strconv.ParseUint(os.Getenv("TOLLGATE_FIRST_SEED"), 10, 64); err == nil {
		first = n
	}
	for seed := first; seed < first+uint64(seeds); seed++ {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			p := &player{stage: newStage(t), rng: rand.New(rand.NewPCG(seed, 6)), model: model{ids: map[string]*Event{}}, nowMs: t0, seed: seed}
			p.cfg.FS = pebblevfs.NewCrashableMem()
			p.log.chunk = 1 + p.rng.IntN(20)
			p.s = p.caughtUp()
			for range 300 {
				p.step()
			}
		})
	}
}

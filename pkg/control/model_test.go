package control

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"tollgate/pkg/commitlog/propose"
	"tollgate/pkg/recordbatch"
)

// The same log, folded anywhere, is the same meters; each name has one winner; who has a verdict sees it.
func TestGatewaysThatRaceComeToTheSameMeters(t *testing.T) {
	for seed := range seeds(t, 10) {
		a, b, l, now := pair(t)
		gateways := []*Control{a, b}
		var mu sync.Mutex
		winners := make(map[string][]*Meter)
		var group sync.WaitGroup
		for w := range 8 {
			random := rand.New(rand.NewPCG(seed, uint64(w)))
			group.Go(func() {
				c := gateways[w%2]
				own := made(t, c, create(fmt.Sprint("own ", w), nil)).ID
				for i := range 12 {
					name := fmt.Sprint(w, " ", i)
					made(t, c, rename(own, name, nil))
					if seen := c.Snapshot().Meter(acct, false, own); seen.DisplayName != name {
						t.Errorf("seed %d: who gave the name %s sees %s", seed, name, seen.DisplayName)
					}
					now.advance(time.Millisecond)
					change := randomChange(random, c.Snapshot(), false)
					v := verdictOn(t, c, change)
					if v.Meter == nil || v.Replayed {
						continue
					}
					if change.Create != nil {
						mu.Lock()
						winners[v.Meter.EventName] = append(winners[v.Meter.EventName], v.Meter)
						mu.Unlock()
					}
				}
			})
		}
		group.Wait()
		want := dump(caughtUp(t, a))
		if got := dump(caughtUp(t, b)); got != want || want == "" {
			t.Errorf("seed %d: one gateway has\n%s the other\n%s", seed, want, got)
		}
		if got := dump(foldAll(l.all()).snapshot()); got != want {
			t.Errorf("seed %d: the gateways have\n%s a fold of their log\n%s", seed, want, got)
		}
		for name, meters := range winners {
			if len(meters) != 1 || a.Snapshot().Named(acct, false, name).ID != meters[0].ID {
				t.Errorf("seed %d: %d proposals got the name %s", seed, len(meters), name)
			}
		}
	}
}

// Verdicts of the two gateways on what is in the log are equal: each proposer's is what any other fold decides there.
func TestAVerdictIsWhatEveryFoldDecides(t *testing.T) {
	a, b, l, _ := pair(t)
	caughtUp(t, a)
	caughtUp(t, b)
	type told struct {
		p *proposal
		v Verdict
	}
	verdicts := make(chan told, 200)
	var group sync.WaitGroup
	for i := range 100 {
		for _, c := range []*Control{a, b} {
			group.Go(func() { // past the look at the snapshot, so that the log holds every race
				change := create(fmt.Sprint("event ", i%20), key(fmt.Sprint("key ", i%7), byte(i%20)))
				if i%2 == 0 {
					change.Idempotency = nil
				}
				if i%5 == 0 {
					change.Create, change.CreateDestination = nil, newDestination()
				}
				p := c.proposal(change)
				p.atMs = c.cfg.Now().UnixMilli()
				v, err := c.append(within(t), p, new(propose.Slot))
				if err != nil {
					t.Error(err)
				}
				verdicts <- told{p, v}
			})
		}
	}
	group.Wait()
	close(verdicts)
	s := newState()
	want := make(map[[16]byte]Verdict)
	for _, r := range l.all() {
		p, err := decode(r.Key, r.Value)
		if err != nil {
			t.Fatal(err)
		}
		want[p.id] = s.apply(p)
	}
	refusals := make(map[Refusal]int)
	for x := range verdicts {
		w := want[x.p.id]
		if fmt.Sprint(x.v.Refusal, x.v.Replayed, x.v.Meter, x.v.Destination) != fmt.Sprint(w.Refusal, w.Replayed, w.Meter, w.Destination) {
			t.Errorf("the proposer got %+v, the fold says %+v", x.v, w)
		}
		refusals[x.v.Refusal]++
	}
	if refusals[NotRefused] == 0 || refusals[KeyReused] == 0 || refusals[NameTaken] == 0 {
		t.Errorf("the races had these outcomes: %v", refusals)
	}
}

// Whatever subset a compaction leaves, as long as it has the last record of each key, is the same meters.
func TestACompactedLogIsTheSameMeters(t *testing.T) {
	for seed := range seeds(t, 500) {
		random := rand.New(rand.NewPCG(seed, 9))
		records := history(random, 5+random.IntN(120))
		want := dump(foldFew(records).snapshot())
		// Everything that may go, goes; then some of it; then what was left is compacted again with more behind it.
		for round, keep := range []float64{0, 0.5, 0.9} {
			left := compact(random, records, len(records), keep)
			if got := dump(foldFew(left).snapshot()); got != want {
				t.Fatalf("seed %d, round %d: %d of %d records are\n%s and all are\n%s", seed, round, len(left), len(records), got, want)
			}
		}
		some := compact(random, records, random.IntN(len(records)), 0)
		if got := dump(foldFew(some).snapshot()); got != want {
			t.Fatalf("seed %d: with a compacted head: \n%s and all are\n%s", seed, got, want)
		}
	}
}

// A compaction that leaves records alone for longer than keys and events are kept changes no answer about that time.
func TestACompactionThatWaitsChangesNoAnswerThatAnyoneAsksFor(t *testing.T) {
	const lagMs = 35 * 24 * hourMs
	for seed := range seeds(t, 200) {
		random := rand.New(rand.NewPCG(seed, 10))
		records := history(random, 150)
		var now int64
		for _, r := range records {
			if p, err := decode(r.Key, r.Value); err == nil {
				now = max(now, p.atMs)
			}
		}
		dirty := slices.IndexFunc(records, func(r recordbatch.Record) bool {
			p, err := decode(r.Key, r.Value)
			return err == nil && p.atMs > now-lagMs
		})
		all, left := foldFew(records), foldFew(compact(random, records, dirty, 0))
		compacted := left.snapshot()
		for _, m := range all.snapshot().Meters(acct, false) {
			other := compacted.Meter(acct, false, m.ID)
			for range 50 {
				at := now - random.Int64N(lagMs)
				if m.ActiveAt(at) != other.ActiveAt(at) {
					t.Fatalf("seed %d: %v at %d, compacted %v: %v, %v", seed, m.ActiveAt(at), at, other.ActiveAt(at), m.history, other.history)
				}
			}
		}
		for k := range 40 {
			i := key(fmt.Sprint("key ", k%10), byte(k/10))
			i.API = []string{"v1", "v2"}[random.IntN(2)]
			v, ok := all.replay(acct, false, i, now)
			w, also := left.replay(acct, false, i, now)
			if fmt.Sprint(ok, v.Refusal, v.Meter != nil, v.Destination != nil) != fmt.Sprint(also, w.Refusal, w.Meter != nil, w.Destination != nil) {
				t.Fatalf("seed %d: the replay is %+v %v, compacted %+v %v", seed, v, ok, w, also)
			}
		}
	}
}

// seeds is how many histories a test tries; TOLLGATE_SEEDS sets another number.
func seeds(t *testing.T, n uint64) uint64 {
	t.Helper()
	if text := os.Getenv("TOLLGATE_SEEDS"); text != "" {
		var err error
		if n, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	return n
}

func randomChange(random *rand.Rand, s *Snapshot, anyID bool) Change {
	change := Change{Business: acct}
	if random.IntN(2) == 0 {
		change.Idempotency = key(fmt.Sprint("key ", random.IntN(10)), byte(random.IntN(2)))
		change.Idempotency.API = []string{"v1", "v2"}[random.IntN(2)]
	}
	if random.IntN(2) == 0 {
		if change.Idempotency != nil { // no request is about a meter and about a destination
			change.Idempotency.Fingerprint[0] += 2
		}
		randomDestinationChange(random, s, &change)
		return change
	}
	list := s.Meters(acct, false)
	if len(list) == 0 || random.IntN(4) == 0 {
		change.Create = newMeter(fmt.Sprint("event ", random.IntN(8)))
		return change
	}
	m := list[random.IntN(len(list))]
	if strings.HasPrefix(m.EventName, "own ") {
		change.Create = newMeter(fmt.Sprint("event ", random.IntN(8)))
		return change
	}
	id := m.ID
	if anyID && random.IntN(20) == 0 {
		id = "mtr_test_unknown"
	}
	switch random.IntN(5) {
	case 0:
		change.Rename = &Rename{ID: id}
	case 1, 2:
		change.Rename = &Rename{id, fmt.Sprint("name ", random.IntN(1000))}
	default:
		change.Status = &StatusChange{id, random.IntN(2) == 0}
	}
	return change
}

func randomDestinationChange(random *rand.Rand, s *Snapshot, change *Change) {
	list := s.Destinations(acct, false)
	if len(list) == 0 || random.IntN(4) == 0 {
		change.CreateDestination = newDestination()
		if random.IntN(4) == 0 {
			change.CreateDestination = newTopic()
		}
		return
	}
	d := list[random.IntN(len(list))]
	text := fmt.Sprint("text ", random.IntN(3))
	switch random.IntN(7) {
	case 0:
		change.UpdateDestination = &DestinationUpdate{ID: d.ID, Name: &text}
	case 1:
		change.UpdateDestination = &DestinationUpdate{ID: d.ID, Metadata: map[string]*string{"a": &text, "b": nil}}
	case 2:
		change.UpdateDestination = &DestinationUpdate{ID: d.ID, Metadata: map[string]*string{"a": nil, "b": &text}}
	case 3, 4:
		change.DestinationStatus = &DestinationStatus{d.ID, random.IntN(2) == 0, text}
	case 5:
		change.RollSecret = &SecretRoll{d.ID, "whsec_" + fmt.Sprint(random.IntN(1000)), d.UpdatedMs + random.Int64N(3*24*hourMs)}
	default:
		change.RemoveDestination = &DestinationRemoval{d.ID}
	}
}

// history is records such as racing gateways write, over some months: by proposers that have not caught up, with clocks
// that differ, and garbage between.
func history(random *rand.Rand, n int) (records []recordbatch.Record) {
	s := newState()
	s.destinationsMax = fewDestinations
	seen := s.snapshot()
	fill := func(b []byte) {
		for i := range b {
			b[i] = byte(random.Uint32())
		}
	}
	c := &Control{cfg: Config{Random: fill}}
	now := int64(1_795_000_000_000)
	for range n {
		now += random.Int64N(2 * 24 * hourMs)
		p := c.proposal(randomChange(random, seen, true))
		p.atMs = now - random.Int64N(1000)
		// Only what is inactive is activated, as far as its proposer knows, and the other way round.
		if x := p.change.Status; x != nil {
			if m := seen.Meter(acct, false, x.ID); m != nil && m.Active == x.Active {
				if p.change.Idempotency == nil {
					continue
				}
				p.object = objectUnchanged
			}
		}
		if x := p.change.Rename; x != nil && x.DisplayName == "" && p.change.Idempotency == nil {
			continue
		}
		if id := p.change.destinationID(); id != "" { // what it writes is what it saw, with its change
			d := seen.Destination(acct, false, id)
			if p.fill(d) != NotRefused || p.object == objectDestinationUnchanged && p.change.Idempotency == nil {
				continue
			}
		}
		k, v := p.encode()
		if random.IntN(30) == 0 {
			v = v[:len(v)/2]
			k = []byte("garbage")
		} else {
			s.apply(p)
		}
		records = append(records, recordbatch.Record{Offset: int64(len(records)), Key: k, Value: v})
		if random.IntN(3) > 0 {
			seen = s.snapshot()
		}
	}
	if len(records) == 0 {
		return history(random, n)
	}
	return records
}

// compact leaves the last record of each key, of those before dirty, and others by chance.
func compact(random *rand.Rand, records []recordbatch.Record, dirty int, keep float64) (left []recordbatch.Record) {
	last := make(map[string]int)
	for i, r := range records[:max(dirty, 0)] {
		last[string(r.Key)] = i
	}
	for i, r := range records {
		if i >= dirty || last[string(r.Key)] == i || random.Float64() < keep {
			left = append(left, r)
		}
	}
	return left
}

func foldAll(records []recordbatch.Record) *state { return foldInto(newState(), records) }

// foldFew is foldAll with a bound on destinations that a history comes to.
func foldFew(records []recordbatch.Record) *state {
	s := newState()
	s.destinationsMax = fewDestinations
	return foldInto(s, records)
}

const fewDestinations = 3

func foldInto(s *state, records []recordbatch.Record) *state {
	for _, r := range records {
		if p, err := decode(r.Key, r.Value); err == nil {
			s.apply(p)
		}
	}
	return s
}

func TestAGatewayThatStartsOnACompactedLogGoesOnWithIt(t *testing.T) {
	a, _, l, now := pair(t)
	random := rand.New(rand.NewPCG(1, 1))
	for range 60 {
		now.advance(time.Second)
		verdictOn(t, a, randomChange(random, a.Snapshot(), false))
	}
	want := dump(a.Snapshot())
	l.edit(func() { l.records = compact(random, l.records, len(l.records), 0) })
	b := open(t, testConfig(l, now))
	if got := dump(caughtUp(t, b)); got != want {
		t.Errorf("it has\n%s and the log was\n%s", got, want)
	}
	made(t, b, create("one more", nil))
	if got, want := dump(caughtUp(t, a)), dump(b.Snapshot()); got != want {
		t.Errorf("one has\n%s the other\n%s", got, want)
	}
	if err := a.Close(context.Background()); err != nil {
		t.Error(err)
	}
}

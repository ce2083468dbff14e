package dedup

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"tollgate/internal/invariants"
	"tollgate/internal/vfs"
)

// mix makes the uniform ID of a number.
func mix(n uint64) ID {
	word := func(z uint64) uint64 {
		z = (z ^ z>>30) * 0xBF58476D1CE4E5B9
		z = (z ^ z>>27) * 0x94D049BB133111EB
		return z ^ z>>31
	}
	return ID{word(2*n*0x9E3779B97F4A7C15 + 1), word((2*n + 1) * 0x9E3779B97F4A7C15)}
}

// TestAnswersAreTheModelsThroughCrashesAndFaults lives many lives on a disk that fails, with merges at any time, and
// compares every answer with a map's. TOLLGATE_SEEDS sets how many seeds it tries, TOLLGATE_SEED repeats a single one.
func TestAnswersAreTheModelsThroughCrashesAndFaults(t *testing.T) {
	if text := os.Getenv("TOLLGATE_SEED"); text != "" {
		seed, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		if err := newWorld(seed).live(t.Logf); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		return
	}
	seeds := uint64(2000)
	if invariants.Enabled {
		seeds = 200
	}
	if text := os.Getenv("TOLLGATE_SEEDS"); text != "" {
		var err error
		if seeds, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	var next, failed, seals, merges, expired, crashes, covers, anew, passed atomic.Int64
	var workers sync.WaitGroup
	for range 2 {
		workers.Go(func() {
			for failed.Load() < 5 {
				seed := uint64(next.Add(1))
				if seed > seeds {
					return
				}
				w := newWorld(seed)
				if err := w.live(func(string, ...any) {}); err != nil {
					failed.Add(1)
					t.Errorf("TOLLGATE_SEED=%d: %v", seed, err)
				}
				seals.Add(w.seals)
				merges.Add(w.merges)
				expired.Add(w.expired)
				crashes.Add(w.crashes)
				covers.Add(w.covers)
				anew.Add(w.anew)
				passed.Add(w.passed)
			}
		})
	}
	workers.Wait()
	t.Logf("%d seals, %d merges, %d drops, %d crashes, %d covers, %d of them begun anew, %d questions passed on by them",
		seals.Load(), merges.Load(), expired.Load(), crashes.Load(), covers.Load(), anew.Load(), passed.Load())
	for _, n := range []*atomic.Int64{&seals, &merges, &expired, &crashes, &covers, &anew, &passed} {
		if !t.Failed() && n.Load() == 0 {
			t.Error("the simulation does not do what it is for")
		}
	}
}

// record is what a log holds: its offset is its place, and it may be one that needs no identifier.
type record struct {
	id     uint64
	timeMs int64
	passed bool

	// What the model says.
	clock int64 // after it
	first int   // -1: it is new
}

// world is a log, what the model says of it, a disk, and the offset of the caller's own state.
type world struct {
	dice  *rand.Rand
	disk  *vfs.Mem
	cfg   Config
	log   []record
	state int   // records whose effects the caller has made durable
	far   int   // records that any life has read
	next  int64 // the largest Next that any life has told

	// What is under way in this life: a run that is filled into the cover, and a look at a view with what it has to find.
	held    *view
	filling *run
	filled  bool
	look    *view
	asked   query

	seals, merges, expired, crashes, covers, anew, passed int64
}

func newWorld(seed uint64) *world {
	w := &world{dice: rand.New(rand.NewPCG(seed, 1)), disk: vfs.NewMem(seed)}
	w.cfg = Config{Dir: "index", Window: time.Duration(1+w.dice.IntN(4)) * time.Hour, BucketWidth: time.Duration(20*(1+w.dice.IntN(3))) * time.Minute, MemoryBytes: memoryBytesMin}
	ids := 20 + w.dice.Uint64N(3000)
	step := 2 + w.dice.Int64N(1<<w.dice.IntN(21))
	type seen struct {
		at     int
		bucket int64
	}
	last := map[uint64]seen{}
	s := w.cfg.span()
	clock, now := int64(0), 1_790_000_000_000+w.dice.Int64N(3_600_000)
	for i := range 200 + w.dice.IntN(1200) {
		r := record{id: w.dice.Uint64N(ids), timeMs: now + w.dice.Int64N(2*step) - step/2, passed: w.dice.IntN(20) == 0, first: -1}
		if w.dice.IntN(100) == 0 {
			r.timeMs += w.cfg.Window.Milliseconds() // a pause
		}
		clock = max(clock, r.timeMs)
		r.clock, now = clock, clock
		if !r.passed {
			if p, ok := last[r.id]; ok && s.bucket(clock)-p.bucket <= s.buckets {
				r.first = p.at
			} else {
				last[r.id] = seen{i, s.bucket(minuteOf(clock) * minuteMs)}
			}
		}
		w.log = append(w.log, r)
	}
	return w
}

func (w *world) live(logf func(string, ...any)) error {
	for life := 0; w.far < len(w.log) && life < 40; life++ {
		if err := w.oneLife(logf); err != nil {
			return fmt.Errorf("life %d, %d read, state at %d: %w", life, w.far, w.state, err)
		}
		w.disk.SetFaults(vfs.Faults{})
		w.crashes++
		if w.dice.IntN(3) == 0 {
			w.disk = w.disk.Kill()
		} else {
			w.disk = w.disk.Crash()
		}
	}
	return nil
}

func (w *world) oneLife(logf func(string, ...any)) error {
	w.cfg.FS = w.disk
	x, err := open(w.cfg)
	if err != nil {
		return err
	}
	if x.Next() < w.next {
		return fmt.Errorf("next is %d, and was %d", x.Next(), w.next)
	}
	w.held, w.filling, w.look = nil, nil, nil
	defer func() {
		w.next = max(w.next, x.Next())
		s := x.Stats()
		w.covers, w.anew, w.passed = w.covers+s.Covers, w.anew+max(0, s.Covers-1), w.passed+s.CoverPassed
	}()
	x.table, x.fan = newTable(40+w.dice.IntN(300)), 2+w.dice.IntN(3)
	x.coverFrom, x.coverBlocks = 1+w.dice.IntN(3), 1<<w.dice.IntN(12)
	at, clock := int(x.Next()), x.Clock()
	if w.state <= at {
		at, clock = w.state, 0
		if at > 0 {
			clock = w.log[at-1].clock
		}
	}
	logf("opens at %d of %d, next %d, state %d, %d runs", at, w.far, x.Next(), w.state, x.Stats().Runs)
	last := min(len(w.log), at+w.dice.IntN(len(w.log)))
	for at < last {
		w.disk.SetFaults(vfs.Faults{})
		if w.dice.IntN(4) == 0 {
			w.disk.SetFaults(vfs.Faults{SyncFails: w.dice.Float64() / 3, WriteFails: w.dice.Float64() / 3, OpenFails: w.dice.Float64() / 4})
			if w.dice.IntN(5) == 0 {
				w.disk.SetFaults(vfs.Faults{CrashAt: 1 + w.dice.IntN(60)})
			}
		}
		if at, clock, err = w.insert(x, at, min(last, at+1+w.dice.IntN(60)), clock); err != nil {
			if errors.Is(err, vfs.ErrOff) {
				return nil
			}
			return err
		}
		w.far = max(w.far, at)
		if err := w.act(x, at, clock, logf); err != nil {
			if errors.Is(err, vfs.ErrOff) {
				return nil
			}
			return err
		}
		w.disk.SetFaults(vfs.Faults{})
		if err := holds(x); err != nil {
			if errors.Is(err, vfs.ErrOff) {
				return nil
			}
			return err
		}
	}
	return nil
}

// holds tells whether the cover knows all of what it is said to be over.
func holds(x *Index) error {
	for _, r := range x.view.runs[:x.view.covered] {
		s := source{run: r, pages: newPageReader(&r.pageFile, r.entryPage(), r.pages(), make([]byte, pageBytes))}
		for {
			ok, err := s.next()
			if err != nil {
				return err
			}
			if !ok {
				break
			}
			if !x.view.cover.maybe(s.head.id) {
				return fmt.Errorf("the cover calls %x new, which is in %s, one of the first %d of %d runs", s.head.id, r.name(), x.view.covered, len(x.view.runs))
			}
		}
	}
	return nil
}

// cover fills a run into the cover, or ends that later.
func (w *world) cover(x *Index) {
	if w.filling == nil {
		if w.held, w.filling = x.beginCover(); w.filling == nil {
			return
		}
		if w.dice.IntN(10) > 0 {
			w.filled = x.fill(w.filling) == nil
		} else {
			w.filled = false // as when it fails at the first page
		}
		if w.dice.IntN(2) == 0 {
			return
		}
	}
	x.endCover(w.held, w.filling, w.filled)
	w.filling = nil
}

// lookOn begins a look at a view that goes on while others come, or ends it.
func (w *world) lookOn(x *Index, at int, clock int64) error {
	q := query{id: mix(w.log[w.dice.IntN(at)].id), offset: anyOffset, since: x.span.since(clock)}
	if w.look == nil {
		if x.view.cover == nil {
			return nil
		}
		v := x.hold()
		err := find(v, &q)
		x.release(v)
		if err == nil {
			w.look, w.asked = x.acquire(), q
		}
		return nil
	}
	q.id, q.since = w.asked.id, w.asked.since
	err := find(w.look, &q)
	x.release(w.look)
	w.look = nil
	if err == nil && q != w.asked {
		return fmt.Errorf("at %d: an older view gave %+v without the cover, and %+v with it", at, w.asked, q)
	}
	return nil
}

// insert applies records up to end, tries again what fails, and compares the answers.
func (w *world) insert(x *Index, at, end int, clock int64) (int, int64, error) {
	many := w.dice.IntN(2) == 0
	for at < end {
		var items []Item
		from := at
		for ; at < end && (many || len(items) == 0); at++ {
			r := &w.log[at]
			clock = max(clock, r.timeMs)
			if clock != r.clock {
				return 0, 0, fmt.Errorf("record %d: the clock is %d, and was %d", at, clock, r.clock)
			}
			if !r.passed {
				items = append(items, Item{ID: mix(r.id), Offset: int64(at), NowMs: clock, Kind: uint8(r.id % 16)})
			} else if len(items) == 0 {
				x.Advance(clock)
			}
		}
		for done := 0; done < len(items); {
			n, err := 0, error(nil)
			if many {
				n, err = x.InsertMany(items[done:])
			} else {
				it := &items[done]
				it.Prev, it.Found, err = x.Insert(it.ID, it.Offset, it.NowMs, it.Kind)
				n = 1
			}
			if err != nil && !isFault(err) || errors.Is(err, vfs.ErrOff) {
				return 0, 0, err
			}
			if err != nil {
				if !many {
					n = 0
				}
				w.disk.SetFaults(vfs.Faults{})
			}
			done += n
		}
		for i := range items {
			if err := w.compare(&items[i]); err != nil {
				return 0, 0, fmt.Errorf("%w (from %d)", err, from)
			}
		}
		x.Advance(clock)
	}
	return at, clock, nil
}

func isFault(err error) bool {
	var path *os.PathError
	return errors.As(err, &path)
}

func (w *world) compare(it *Item) error {
	r := &w.log[it.Offset]
	switch {
	case it.Found != (r.first >= 0):
		return fmt.Errorf("record %d: found %v (%+v), and its first is %d", it.Offset, it.Found, it.Prev, r.first)
	case it.Found && it.Prev != w.entry(r.first):
		return fmt.Errorf("record %d: first %+v, want %+v", it.Offset, it.Prev, w.entry(r.first))
	}
	return nil
}

func (w *world) entry(at int) Entry {
	r := &w.log[at]
	return Entry{Offset: int64(at), TimeMs: minuteOf(r.clock) * minuteMs, Kind: uint8(r.id % 16)}
}

// act does what happens between two batches.
func (w *world) act(x *Index, at int, clock int64, logf func(string, ...any)) error {
	switch w.dice.IntN(9) {
	case 0:
		if err := x.Seal(int64(at)); err != nil {
			if !isFault(err) || errors.Is(err, vfs.ErrOff) {
				return err
			}
			logf("seal at %d: %v", at, err)
		} else {
			w.seals++
			if x.Next() < int64(at) || x.Stats().TableEntries > 0 {
				return fmt.Errorf("after Seal(%d) next is %d, and the table has %d entries", at, x.Next(), x.Stats().TableEntries)
			}
		}
	case 1:
		w.state = max(w.state, at)
		x.Release(w.log[w.state-1].clock)
	case 2:
		before, runs := x.merged.Load(), x.Stats().Runs
		x.mergeAll()
		w.merges += x.merged.Load() - before
		if runs > x.Stats().Runs && x.merged.Load() == before {
			w.expired++
		}
		if err := x.Stats().MergeError; err != nil && (!isFault(err) || errors.Is(err, vfs.ErrOff)) {
			return err
		}
	case 3:
		for _, r := range x.view.runs {
			if w.dice.IntN(2) == 0 {
				r.resident.Store(nil)
			}
		}
	case 4:
		w.cover(x)
	case 5:
		if w.filling == nil {
			x.coverAll()
		}
	case 6:
		return w.lookOn(x, at, clock)
	case 7:
		if at < w.far {
			return nil // it would find what is of the life before
		}
		n := w.dice.IntN(at)
		id, want := w.log[n].id, -1
		for i := range slices.Backward(w.log[:at]) {
			if r := &w.log[i]; r.id == id && !r.passed && r.first < 0 {
				s := x.span
				if s.bucket(clock)-s.bucket(r.clock) <= s.buckets {
					want = i
				}
				break
			}
		}
		got, found, err := x.Find(mix(id), clock)
		switch {
		case err != nil && isFault(err):
			return nil
		case err != nil:
			return err
		case found != (want >= 0) || found && got != w.entry(want):
			return fmt.Errorf("at %d: Find %d gives %+v %v, want record %d", at, id, got, found, want)
		}
	}
	return nil
}

package usage

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"

	pebblevfs "github.com/cockroachdb/pebble/v2/vfs"

	"tollgate/internal/vfs"
	"tollgate/pkg/control"
	"tollgate/pkg/meterevent"
	"tollgate/pkg/thinevent"
)

// A history of refused events: gateways whose clocks differ, records that come late, windows that a record closes and
// windows that the time closes, machines that take the partition from one another, lose what they had not synced or
// everything, and an events topic that fails, with and without having taken what it was given. At its end every refused
// record is in exactly one event, of its own window, whoever comes back with whatever it had.
func TestEveryRefusedRecordIsInExactlyOneEventWhateverHappens(t *testing.T) {
	first := 1
	if n, err := strconv.Atoi(os.Getenv("TOLLGATE_FIRST_SEED")); err == nil {
		first = n
	}
	for seed := first; seed < first+seedsOf(200); seed++ {
		if !t.Run(strconv.Itoa(seed), func(t *testing.T) { newRefusals(t, uint64(seed)).run() }) {
			t.Fatalf("seed %d failed: TOLLGATE_FIRST_SEED=%d TOLLGATE_SEEDS=1", seed, seed)
		}
	}
}

// refusals is such a history.
type refusals struct {
	*stage
	dice   *rand.Rand
	meters map[string]*control.Meter
	topic  *fakeTopic
	hosts  []*refusalHost
	owner  *refusalHost
	want   []refusedRecord
	// What the rules say, by plain means.
	offset, clock int64
	pending       []refusedRecord // cancels without an event
	ids           int
	stuckMs       int64 // by the gateways' clocks, which do not go; 0: they do
}

type refusalHost struct {
	host
	number int
	events *fakeEvents
	fo     *follower
	sender *sender
}

// refusedRecord is what an event has to count.
type refusedRecord struct {
	offset, clock int64
	meter, code   string
	identifier    string
}

func newRefusals(t *testing.T, seed uint64) *refusals {
	h := &refusals{stage: newStage(t, 1), dice: rand.New(rand.NewPCG(seed, 11)), topic: &fakeTopic{}, meters: map[string]*control.Meter{}}
	for _, name := range []string{"sum", "count"} {
		h.meters[name] = h.meter(name, control.Sum, control.NoWindow)
	}
	h.now += minuteMs // records that come late are of the time of the meters, too
	for n := range 3 {
		h.hosts = append(h.hosts, &refusalHost{number: n, host: host{storeFS: pebblevfs.NewCrashableMem(), indexFS: vfs.NewMem(h.dice.Uint64())}})
		h.hosts[n].events = h.index()
	}
	return h
}

// index is a gateway's view of the events topic, which fails as the dice say.
func (h *refusals) index() *fakeEvents {
	e := h.topic.index()
	e.dice = h.dice
	e.fate = func() appendFate {
		return pick(h.dice, []appendFate{appendGood, appendGood, appendAway, appendUnknown, appendSome})
	}
	return e
}

func (h *refusals) run() {
	defer h.shutDown()
	for range 40 + h.dice.IntN(120) {
		switch n := h.dice.IntN(100); {
		case n < 40:
			for range 1 + h.dice.IntN(8) {
				h.sendOne()
			}
		case n < 55:
			h.now += pick(h.dice, []int64{1, 300, 1_000, 2_000, 5_000, 10_000, 30_000})
			if h.dice.IntN(30) == 0 {
				h.now += 13 * hourMs
			}
		case n < 57:
			h.stuck()
		case n < 75:
			h.work()
		case n < 84:
			h.tick()
		case n < 90:
			h.sendReports()
		case n < 94:
			h.crash()
		case n < 99:
			h.handOver()
		default:
			h.loseAll()
		}
	}
	h.end()
	h.check()
}

// stuck has the gateways' clocks stand, or go again: what they receive meanwhile is of one window, which the time closes
// again and again.
func (h *refusals) stuck() {
	if h.stuckMs == 0 {
		h.stuckMs = h.now
	} else {
		h.stuckMs = 0
	}
}

// sendOne sends a record that was received now, or earlier, by a gateway whose clock is good or not.
func (h *refusals) sendOne() {
	h.now += h.dice.Int64N(400)
	h.ids++
	s := sent{name: pick(h.dice, []string{"sum", "sum", "count", "nobody", "nothing"}), id: fmt.Sprint("id", h.ids), receivedMs: h.now}
	switch h.dice.IntN(20) {
	case 0:
		s.receivedMs -= h.dice.Int64N(15_000)
	case 1:
		s.receivedMs += h.dice.Int64N(15_000)
	case 2:
		s.receivedMs -= 4_000
	}
	if h.dice.IntN(400) == 0 {
		s.receivedMs += 10 * minuteMs
	}
	if h.stuckMs != 0 {
		s.receivedMs = h.stuckMs
	}
	code := ""
	switch h.dice.IntN(8) {
	case 0, 1, 2:
		s.customer, s.value, code = "cus_1", "x", string(meterevent.InvalidValue)
	case 3:
		s.payload, code = `{"value":"1"}`, string(meterevent.NoCustomer)
	case 4:
		s.cancel = true
	default:
		s.customer, s.value = "cus_1", "1"
	}
	h.expect(s, code)
	h.send(s)
}

// expect says by the rules what the record comes to.
func (h *refusals) expect(s sent, code string) {
	before := hourOf(h.clock)
	if h.clock = max(h.clock, s.receivedMs); hourOf(h.clock) != before {
		var kept []refusedRecord
		for _, c := range h.pending {
			if hourOf(c.clock) > hourOf(h.clock)-26 {
				kept = append(kept, c)
				continue
			}
			c.offset, c.clock = h.offset, h.clock
			h.want = append(h.want, c)
		}
		h.pending = kept
	}
	m := h.meters[s.name]
	r := refusedRecord{h.offset, h.clock, "", code, s.id}
	if m != nil {
		r.meter = m.ID
	}
	switch {
	case s.cancel && m != nil:
		r.code = string(meterevent.InvalidCancel)
		h.pending = append(h.pending, r)
	case s.cancel:
	case m == nil:
		r.code = string(meterevent.NoMeter)
		h.want = append(h.want, r)
	case code != "":
		h.want = append(h.want, r)
	}
	h.offset++
}

// running is who runs the partition, somebody after the call.
func (h *refusals) running() *refusalHost {
	if h.owner == nil {
		h.owner = pick(h.dice, h.hosts)
	}
	h.begin(h.owner)
	return h.owner
}

func (h *refusals) begin(o *refusalHost) {
	if o.worker == nil {
		h.cfg.StoreFS, h.cfg.FS, h.cfg.Events = o.storeFS, o.indexFS, o.events
		o.worker = h.open()
	}
	if o.fo == nil {
		o.fo = h.take(o.worker, 0)
		o.sender = &sender{cfg: &o.worker.cfg, p: o.fo.p}
	}
}

func (h *refusals) work() {
	o := h.running()
	h.catchUp(o.fo, 1+h.dice.Int64N(60))
	switch h.dice.IntN(4) {
	case 0:
		h.flush(o.fo)
	case 1:
		if err := o.fo.p.seal(context.Background()); err != nil {
			h.t.Fatal(err)
		}
	}
}

// tick asks how long the log is, or leaves it at what was asked before, and closes what is due by the time.
func (h *refusals) tick() {
	o := h.running()
	if h.dice.IntN(4) > 0 {
		o.fo.p.bound(h.now, h.offset)
	}
	if h.dice.IntN(2) == 0 {
		h.catchUp(o.fo, 1<<40)
	}
	if err := o.fo.closeIdle(context.Background()); err != nil {
		h.t.Fatal(err)
	}
}

// sendReports appends what waits, as far as the topic takes it. What the store does not have yet does not wait.
func (h *refusals) sendReports() {
	o := h.running()
	for range 1 + h.dice.IntN(3) {
		if _, err := o.sender.round(context.Background()); err != nil {
			return
		}
	}
}

func (h *refusals) crash() {
	o := pick(h.dice, h.hosts)
	if o.worker == nil {
		return
	}
	old := o.storeFS
	o.storeFS = old.CrashClone(pebblevfs.CrashCloneCfg{UnsyncedDataPercent: h.dice.IntN(101), RNG: h.dice})
	o.indexFS = o.indexFS.Crash()
	h.stop(o)
}

// stop ends a machine's process without any ceremony.
func (h *refusals) stop(o *refusalHost) {
	if o.fo != nil {
		_ = o.fo.p.close()
	}
	_ = o.worker.Close(context.Background())
	o.worker, o.fo = nil, nil
	o.events = h.index()
	if h.owner == o {
		h.owner = nil
	}
}

// loseAll takes a machine's disk.
func (h *refusals) loseAll() {
	o := pick(h.dice, h.hosts)
	if o.worker != nil {
		h.stop(o)
	}
	o.storeFS, o.indexFS = pebblevfs.NewCrashableMem(), vfs.NewMem(h.dice.Uint64())
}

func (h *refusals) handOver() {
	h.giveBack()
	h.owner = pick(h.dice, h.hosts)
}

func (h *refusals) giveBack() {
	if h.owner != nil && h.owner.fo != nil {
		h.owner.fo.end()
		h.owner.fo = nil
	}
	h.owner = nil
}

// end lets every machine run the partition once more, to its end, with an events topic that is well.
func (h *refusals) end() {
	h.now += hourMs
	for range 2 {
		for _, o := range h.hosts {
			h.giveBack()
			h.owner = o
			o.events.fate = nil
			h.running()
			h.catchUp(o.fo, 1<<40)
			h.now += windowMs + graceMs
			o.fo.p.bound(h.now+2*windowMs, h.offset)
			if err := o.fo.closeIdle(context.Background()); err != nil {
				h.t.Fatal(err)
			}
			h.flush(o.fo)
			for n := 1; n > 0; {
				var err error
				if n, err = o.sender.round(context.Background()); err != nil {
					h.t.Fatal(err)
				}
			}
			if rows, bytes := o.fo.p.outbox.rows.Load(), o.fo.p.outbox.bytes.Load(); rows != 0 || bytes != 0 {
				h.t.Fatalf("the empty outbox has %d rows of %d bytes", rows, bytes)
			}
			if n := o.worker.counts.reports[reportDisagrees].Value(); n != 0 {
				h.t.Fatalf("%d reports disagree", n)
			}
		}
	}
}

func (h *refusals) shutDown() {
	h.giveBack()
	for _, o := range h.hosts {
		if o.worker != nil {
			_ = o.worker.Close(context.Background())
		}
	}
}

// check holds the topic against what was to be told.
func (h *refusals) check() {
	events := map[string]*thinevent.Event{}
	told := make([]int, len(h.want))
	for _, e := range h.topic.events {
		if known := events[e.ID]; known != nil {
			if !bytes.Equal(known.Data, e.Data) || known.CreatedMs != e.CreatedMs || known.Source != e.Source {
				h.t.Fatalf("the same id with other contents:\n%s\n%s", inShort(h.t, known), inShort(h.t, e))
			}
			continue
		}
		events[e.ID] = e
		h.checkEvent(e, told)
	}
	for i, n := range told {
		if n != 1 {
			for _, e := range h.topic.events {
				h.t.Log(inShort(h.t, e))
			}
			h.t.Fatalf("%+v (window %s) is in %d events", h.want[i], clockText(floorTo(h.want[i].clock, windowMs)), n)
		}
	}
}

func (h *refusals) checkEvent(e *thinevent.Event, told []int) {
	meter := ""
	if e.Related != nil {
		meter = e.Related.ID
	}
	d := textOf(h.t, e)
	byCode := map[string][]string{}
	for i, r := range h.want {
		if r.meter != meter || r.offset < e.Source.First || r.offset >= e.Source.Through {
			continue
		}
		told[i]++
		byCode[r.code] = append(byCode[r.code], r.identifier)
		start := floorTo(r.clock, windowMs)
		if d.Start != clockText(start) || d.End != clockText(start+windowMs) {
			h.t.Fatalf("%s counts %+v of the window from %s", inShort(h.t, e), r, clockText(start))
		}
	}
	total := int64(0)
	for _, c := range d.Reason.Types {
		ids := byCode[c.Code]
		delete(byCode, c.Code)
		total += c.Count
		if int64(len(ids)) != c.Count || len(c.Samples) != min(len(ids), samplesMax) {
			h.t.Fatalf("%s: %s came up %d times, and %d samples are shown", inShort(h.t, e), c.Code, len(ids), len(c.Samples))
		}
		for i, s := range c.Samples {
			if s.Request.Identifier != ids[i] || s.Message == "" {
				h.t.Fatalf("%s: sample %d of %s is %+v, want %s", inShort(h.t, e), i, c.Code, s, ids[i])
			}
		}
	}
	if len(byCode) != 0 || total != d.Reason.Count || total == 0 {
		h.t.Fatalf("%s: counts %d, and not %v", inShort(h.t, e), total, byCode)
	}
}

package usage

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	pebblevfs "github.com/cockroachdb/pebble/v2/vfs"

	"tollgate/internal/vfs"
	"tollgate/pkg/control"
	"tollgate/pkg/meterevent"
)

// seedsOf is how many histories are tried: TOLLGATE_SEEDS, or the default.
func seedsOf(normal int) int {
	if n, err := strconv.Atoi(os.Getenv("TOLLGATE_SEEDS")); err == nil {
		return n
	}
	return normal
}

// A history is a random one: events, duplicates, cancels, meters that come and go, time that passes, crashes, restarts,
// partitions that change hands. At its end, and on its way, the workers must say what the model says; and a worker that
// reads the log in one go must have the same bytes of state.
func TestRandomHistoriesGiveWhatTheModelSays(t *testing.T) {
	first := 1
	if n, err := strconv.Atoi(os.Getenv("TOLLGATE_FIRST_SEED")); err == nil {
		first = n
	}
	for seed := first; seed < first+seedsOf(200); seed++ {
		if !t.Run(strconv.Itoa(seed), func(t *testing.T) { newHistory(t, uint64(seed)).run() }) {
			t.Fatalf("seed %d failed: TOLLGATE_FIRST_SEED=%d TOLLGATE_SEEDS=1", seed, seed)
		}
	}
}

type history struct {
	*stage
	dice     *rand.Rand
	names    []string
	metric   map[string]*modelMeter
	models   []*model
	sent     [][]sent // by partition and offset
	modelled []int
	ids      []string
	hosts    []*host
	runs     []*host // by partition
}

// host is a machine with its disk.
type host struct {
	storeFS *pebblevfs.MemFS
	indexFS *vfs.Mem
	worker  *Worker
	parts   map[int32]*follower
}

const historyPartitions = 2

func newHistory(t *testing.T, seed uint64) *history {
	h := &history{stage: newStage(t, historyPartitions), dice: rand.New(rand.NewPCG(seed, 7)), metric: map[string]*modelMeter{}}
	h.report()
	for n := range int32(historyPartitions) {
		h.models = append(h.models, &model{partition: n, meters: h.metric, verdicts: map[int64]Verdict{}})
		h.sent = append(h.sent, nil)
		h.modelled = append(h.modelled, 0)
		h.runs = append(h.runs, nil)
	}
	for range 2 {
		host := &host{storeFS: pebblevfs.NewCrashableMem(), indexFS: vfs.NewMem(h.dice.Uint64()), parts: map[int32]*follower{}}
		h.hosts = append(h.hosts, host)
	}
	h.names = []string{"sum", "count", "last", "hourly", "daily", "spread", "nobody"}
	for _, name := range h.names[:4] {
		h.create(name)
	}
	return h
}

func (h *history) create(name string) {
	if h.metric[name] != nil || name == "nobody" {
		return
	}
	formulas := []control.Formula{control.Sum, control.Count, control.Last}
	formula, window := formulas[h.dice.IntN(3)], control.NoWindow
	switch name {
	case "sum", "spread":
		formula = control.Sum
	case "count":
		formula = control.Count
	case "last":
		formula = control.Last
	case "hourly":
		window = control.Hour
	case "daily":
		window = control.Day
	}
	h.metric[name] = &modelMeter{Meter: h.meter(name, formula, window)}
}

func pick[T any](d *rand.Rand, from []T) T { return from[d.IntN(len(from))] }

func (h *history) run() {
	defer h.shutDown()
	for range 20 + h.dice.IntN(60) {
		switch n := h.dice.IntN(100); {
		case n < 55:
			for range 1 + h.dice.IntN(12) {
				h.sendOne()
			}
		case n < 60:
			h.changeMeter()
		case n < 75:
			h.passTime()
		case n < 90:
			h.work()
		case n < 93:
			h.crash()
		case n < 96:
			h.handOver()
		default:
			h.check()
		}
	}
	h.check()
	h.replayed()
}

func (h *history) passTime() {
	steps := []int64{1, 999, 60_000, 17 * 60_000, 3_600_000, 5 * 3_600_000, 23 * 3_600_000, 24 * 3_600_000, 26 * 3_600_000}
	h.now += pick(h.dice, steps) + h.dice.Int64N(2000)
	if h.dice.IntN(8) == 0 {
		h.now += h.dice.Int64N(30 * 86_400_000)
	}
}

func (h *history) changeMeter() {
	name := pick(h.dice, h.names)
	m := h.metric[name]
	h.now += 2 // later than all that was received
	if m == nil {
		h.create(name)
		h.now++
		return
	}
	active := h.dice.IntN(3) > 0
	if m.activeAt(h.now) != active {
		h.setActive(m.Meter, active)
		m.changes = append(m.changes, modelChange{h.now, active})
	}
	h.now++
}

func (h *history) sendOne() {
	s := sent{name: pick(h.dice, h.names), receivedMs: h.now}
	if len(h.ids) > 0 && h.dice.IntN(3) == 0 {
		s.id = pick(h.dice, h.ids[max(0, len(h.ids)-40):])
	} else {
		s.id = fmt.Sprintf("id%d", len(h.ids))
		h.ids = append(h.ids, s.id)
	}
	if h.dice.IntN(4) == 0 {
		s.request = &meterevent.Request{Key: uint64(h.dice.IntN(30)), Params: uint64(h.dice.IntN(2))}
	}
	s.cancel = h.dice.IntN(5) == 0
	if !s.cancel {
		h.fill(&s)
	}
	if h.dice.IntN(3) == 0 {
		h.now += h.dice.Int64N(50)
	}
	if s.spread = s.name == "spread"; s.spread {
		if s.cancel {
			for s.bucket = range 2 {
				h.put(s)
			}
			return
		}
		s.bucket = len(s.customerText()) + int(s.customerText()[len(s.customerText())-1])
		s.bucket %= 2
	}
	h.put(s)
}

// fill makes an event of it, mostly a good one.
func (h *history) fill(s *sent) {
	s.customer = fmt.Sprintf("cus_%d", h.dice.IntN(3))
	s.value = pick(h.dice, []string{"1", "2", "-3", "0.5", "0.001", "123456789012345", "-99999999999999.9", "0", "00012"})
	switch h.dice.IntN(12) {
	case 0:
		s.value = pick(h.dice, []string{"", "1.", "1e5", "1234567890123456", "+1", " 1"})
	case 1:
		s.customer, s.payload = "", `{"value":"1"}`
	case 2:
		s.customer, s.payload = "", `{"stripe_customer_id":"cus_payload"}`
	}
	switch h.dice.IntN(6) {
	case 0:
		s.timestamp = h.now - h.dice.Int64N(36*86_400_000)
	case 1:
		s.timestamp = h.now - h.dice.Int64N(3*3_600_000)
	case 2:
		s.timestamp = h.now + h.dice.Int64N(320_000)
	case 3:
		s.timestamp = h.now - 35*86_400_000 + int64(h.dice.IntN(3)-1)
	}
}

func (h *history) put(s sent) {
	rec := h.record(s)
	n := int32(0)
	if s.name == "spread" {
		n = int32(s.bucket)
	} else {
		n = h.partitionOf(rec.Key)
	}
	h.log.add(usageTopic, n, rec)
	h.sent[n] = append(h.sent[n], s)
}

// running is who runs a partition, somebody after the call.
func (h *history) running(n int32) *follower {
	if h.runs[n] == nil {
		h.runs[n] = pick(h.dice, h.hosts)
	}
	host := h.runs[n]
	if host.worker == nil {
		h.stage.cfg.StoreFS, h.stage.cfg.FS = host.storeFS, host.indexFS
		host.worker = h.open()
	}
	if host.parts[n] == nil {
		host.parts[n] = h.take(host.worker, n)
	}
	return host.parts[n]
}

func (h *history) work() {
	n := int32(h.dice.IntN(historyPartitions))
	fo := h.running(n)
	h.catchUp(fo, 1+h.dice.Int64N(200))
	switch h.dice.IntN(3) {
	case 0:
		h.flush(fo)
	case 1:
		if err := fo.p.seal(context.Background()); err != nil {
			h.t.Fatal(err)
		}
	}
}

// crash stops a machine, and its disk keeps what was synced and some of the rest.
func (h *history) crash() {
	host := pick(h.dice, h.hosts)
	if host.worker == nil {
		return
	}
	old := host.storeFS
	host.storeFS = old.CrashClone(pebblevfs.CrashCloneCfg{UnsyncedDataPercent: h.dice.IntN(101), RNG: h.dice})
	if h.dice.IntN(2) == 0 {
		host.indexFS = host.indexFS.Crash()
	} else {
		host.indexFS = host.indexFS.Kill()
	}
	for _, fo := range host.parts {
		_ = fo.p.close()
	}
	_ = host.worker.Close(context.Background())
	host.worker, host.parts = nil, map[int32]*follower{}
}

// handOver gives a partition to the other machine, or to the same again.
func (h *history) handOver() {
	n := int32(h.dice.IntN(historyPartitions))
	if host := h.runs[n]; host != nil && host.parts[n] != nil {
		host.parts[n].end()
		delete(host.parts, n)
	}
	h.runs[n] = pick(h.dice, h.hosts)
}

func (h *history) shutDown() {
	for _, host := range h.hosts {
		for _, fo := range host.parts {
			fo.end()
		}
		if host.worker != nil {
			_ = host.worker.Close(context.Background())
		}
	}
}

// check asks the workers and the model the same things.
func (h *history) check() {
	for n := range int32(historyPartitions) {
		fo := h.running(n)
		h.catchUp(fo, 1<<40)
		h.flush(fo)
		for ; h.modelled[n] < len(h.sent[n]); h.modelled[n]++ {
			h.models[n].apply(h.sent[n][h.modelled[n]], int64(h.modelled[n]))
		}
	}
	for _, name := range h.names {
		if h.metric[name] != nil {
			for range 3 {
				h.checkTotals(name)
			}
			h.checkAmounts(name)
		}
	}
	for range 20 {
		if len(h.ids) > 0 {
			h.checkFate(pick(h.dice, h.names), pick(h.dice, h.ids[max(0, len(h.ids)-60):]))
		}
	}
	for range 10 {
		h.checkVerdict()
	}
}

func (h *history) checkTotals(name string) {
	m := h.metric[name]
	q := Query{
		Scope: Scope{Business: business, EventName: name}, MeterID: m.ID,
		Customer: pick(h.dice, []string{"cus_0", "cus_1", "cus_2", "cus_payload"}), Limit: 1 + h.dice.IntN(100),
		Grouping: pick(h.dice, []Grouping{NoGrouping, ByHour, ByDay}),
	}
	unit := map[Grouping]int64{NoGrouping: 60_000, ByHour: 3_600_000, ByDay: 86_400_000}[q.Grouping]
	q.EndMs = floorDiv(h.now-h.dice.Int64N(40*86_400_000)+86_400_000, unit) * unit
	q.StartMs = floorDiv(q.EndMs-1-h.dice.Int64N(40*86_400_000), unit) * unit
	if q.StartMs < h.now-37*86_400_000 { // minutes may be rolled up
		q.StartMs, q.EndMs = floorDiv(q.StartMs, 86_400_000)*86_400_000, floorDiv(q.EndMs, 86_400_000)*86_400_000
	}
	if h.dice.IntN(6) == 0 {
		q.StartMs, q.EndMs = 0, floorDiv(h.now+2*86_400_000, 86_400_000)*86_400_000
	}
	switch h.dice.IntN(4) {
	case 0:
		q.BeforeMs = q.StartMs + h.dice.Int64N(q.EndMs-q.StartMs+1)
	case 1:
		q.AfterMs = q.StartMs + h.dice.Int64N(q.EndMs-q.StartMs+1)
	}
	var want Totals
	for n, o := range h.models {
		windows := o.answer(m, q)
		if n == 0 {
			want.Windows = windows
			continue
		}
		if len(windows) > 0 && len(want.Windows) == 0 {
			want.Windows = windows
		} else if len(windows) > 0 {
			h.t.Fatalf("the test sends a customer's events of %s to two partitions", name)
		}
	}
	want.page(&q)
	got := h.ask(q)
	if got.More != want.More || !slices.Equal(got.Windows, want.Windows) {
		h.t.Fatalf("%s (%s, window %q): %+v\n got %+v %v\nwant %+v %v", name, m.Formula, m.Window, q, got.Windows, got.More, want.Windows, want.More)
	}
}

// ask asks whoever runs the partitions.
func (h *history) ask(q Query) Totals {
	var answers []Totals
	for n := range int32(historyPartitions) {
		t, err := h.runs[n].worker.Totals(context.Background(), []int32{n}, q)
		if err != nil {
			h.t.Fatal(err)
		}
		answers = append(answers, t)
	}
	return Merge(q, answers...)
}

func (h *history) checkFate(name, id string) {
	for n := range int32(historyPartitions) {
		want := h.models[n].fate(name, id)
		got, err := h.runs[n].parts[n].p.fate(context.Background(), &FateQuery{Scope{Business: business, EventName: name}, id})
		if err != nil {
			h.t.Fatal(err)
		}
		if got.Status == Refused && got.Message == "" {
			h.t.Fatalf("the refusal of %s %s has no message", name, id)
		}
		got.Topic, got.AsOfMs, got.Message = "", 0, ""
		if !reflect.DeepEqual(got, want) {
			h.t.Fatalf("fate of %s %s in partition %d:\n got %+v\nwant %+v", name, id, n, got, want)
		}
	}
}

func (h *history) checkVerdict() {
	n := int32(h.dice.IntN(historyPartitions))
	if len(h.sent[n]) == 0 {
		return
	}
	offset := int64(max(0, len(h.sent[n])-1-h.dice.IntN(20)))
	s, o := h.sent[n][offset], h.models[n]
	if s.request == nil || hourOf(o.clockAt[offset]) != hourOf(o.clock) {
		return
	}
	got, err := h.runs[n].worker.Verdict(context.Background(), VerdictQuery{
		Scope: Scope{Business: business, EventName: s.name}, Identifier: s.id, Adjustment: s.cancel, Partition: n, Offset: offset, Request: *s.request,
	})
	if err != nil {
		h.t.Fatalf("verdict on %+v at %d of partition %d, clock %d: %v (want %+v)", s, offset, n, o.clock, err, o.verdicts[offset])
	}
	want := o.verdicts[offset]
	if got.Outcome != want.Outcome || got.Code != want.Code || want.ReceivedMs != 0 && got.ReceivedMs != want.ReceivedMs || want.TimestampMs != 0 && got.TimestampMs != want.TimestampMs {
		h.t.Fatalf("verdict on %+v at %d of partition %d:\n got %+v\nwant %+v", s, offset, n, got, want)
	}
}

// replayed compares the states with those of a worker that reads the logs in one go.
func (h *history) replayed() {
	h.stage.cfg.StoreFS, h.stage.cfg.FS = pebblevfs.NewCrashableMem(), vfs.NewMem(3)
	w := h.open()
	defer func() { _ = w.Close(context.Background()) }()
	for n := range int32(historyPartitions) {
		fo := h.take(w, n)
		h.catchUp(fo, 1<<40)
		h.flush(fo)
		want := withoutReports(dump(h.t, w.store, n))
		got := withoutReports(dump(h.t, h.runs[n].worker.store, n))
		if got != want {
			h.t.Fatalf("partition %d:\n%s", n, difference(got, want))
		}
		fo.end()
	}
}

// withoutReports leaves out of a dump what depends on when windows were closed and appended.
func withoutReports(dump string) string {
	var kept []string
	for _, row := range strings.Split(dump, "\n") {
		if !strings.HasPrefix(row, string(rune(tableParts))+" ") && !strings.HasPrefix(row, string(rune(tableReports))+" ") {
			kept = append(kept, row)
		}
	}
	return strings.Join(kept, "\n")
}

func difference(got, want string) string {
	g, w := strings.Split(got, "\n"), strings.Split(want, "\n")
	var b strings.Builder
	for _, line := range g {
		if !slices.Contains(w, line) {
			fmt.Fprintf(&b, "got  %s\n", line)
		}
	}
	for _, line := range w {
		if !slices.Contains(g, line) {
			fmt.Fprintf(&b, "want %s\n", line)
		}
	}
	return b.String()
}

// dump lists a partition's rows.
func dump(t testing.TB, s *store, n int32) string {
	t.Helper()
	var b bytes.Buffer
	prefix := appendTable(nil, n, 0)[:tableAt]
	if err := s.each(prefix, prefixEnd(prefix), func(key, value []byte) error {
		fmt.Fprintf(&b, "%c %q = %q\n", key[tableAt], key[tableAt+1:], value)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

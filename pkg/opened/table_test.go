package opened

import (
	"math/rand/v2"
	"runtime"
	"testing"
	"unsafe"
)

// The model is a list that is searched from its beginning.
type model struct {
	max     int
	entries []entry
}

func (m *model) add(e entry) entry {
	for _, x := range m.entries {
		if x.key == e.key && x.apiKey == e.apiKey && !x.over(e.createdMs) {
			return x
		}
	}
	m.entries = append(m.entries, e)
	if len(m.entries) > m.max {
		m.entries = m.entries[1:]
	}
	return e
}

func (m *model) forget(nowMs int64) {
	for len(m.entries) > 0 && m.entries[0].over(nowMs) {
		m.entries = m.entries[1:]
	}
}

func TestTheTableAnswersAsASearchOfTheWholeWould(t *testing.T) {
	for seed := range uint64(40) {
		random := rand.New(rand.NewPCG(seed, 1))
		most := 1 << random.IntN(8)
		table, m := newTable(most), &model{max: most}
		keys := 1 + random.IntN(2*most)
		nowMs := int64(0)
		for i := range 4000 {
			nowMs += int64(random.IntN(keptMs / most))
			e := entry{
				createdMs: nowMs - int64(random.IntN(keptMs/10)), id: [16]byte{byte(i), byte(i >> 8)},
				key: [16]byte{byte(random.IntN(keys))}, apiKey: [8]byte{byte(random.IntN(3))},
			}
			got, want := *table.add(e), m.add(e)
			if got.next = 0; got != want {
				t.Fatalf("seed %d, step %d: a use got %+v, want %+v", seed, i, got, want)
			}
			if random.IntN(3) == 0 {
				table.forget(nowMs)
				m.forget(nowMs)
			}
			if table.len() != len(m.entries) || len(table.ring) > max(most, 1) {
				t.Fatalf("seed %d, step %d: %d entries in %d places, want %d", seed, i, table.len(), len(table.ring), len(m.entries))
			}
			compare(t, table, m, nowMs, [16]byte{byte(random.IntN(keys))}, [8]byte{byte(random.IntN(3))})
		}
		if table.forget(nowMs + 2*keptMs); table.len() != 0 || len(table.first) != 0 {
			t.Errorf("seed %d: after all are over %d entries of %d keys are left", seed, table.len(), len(table.first))
		}
	}
}

func compare(t *testing.T, table *table, m *model, nowMs int64, key [16]byte, apiKey [8]byte) {
	t.Helper()
	var want *entry
	used := false
	for i := range m.entries {
		x := &m.entries[i]
		if x.key != key || x.over(nowMs) {
			continue
		}
		used = true
		if want == nil && x.apiKey == apiKey {
			want = x
		}
	}
	got := table.find(key, apiKey, nowMs)
	if (got == nil) != (want == nil) || got != nil && got.id != want.id || table.used(key, nowMs) != used {
		t.Fatalf("key %v of %v: found %+v, want %+v; used %v, want %v", key, apiKey, got, want, table.used(key, nowMs), used)
	}
}

func TestAUseOfAKeyCostsLittleMemory(t *testing.T) {
	if size := unsafe.Sizeof(entry{}); size != 64 {
		t.Errorf("an entry has %d bytes", size)
	}
	const uses = 1 << 17
	random := rand.New(rand.NewPCG(1, 1))
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	table := newTable(uses)
	for range uses {
		e := entry{}
		for i := range e.key {
			e.key[i] = byte(random.Uint32())
		}
		table.add(e)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	each := (after.HeapAlloc - before.HeapAlloc) / uses
	t.Logf("%d bytes each", each)
	if each > 150 {
		t.Errorf("a use costs %d bytes", each)
	}
	runtime.KeepAlive(table)
}

package usage

import (
	"context"
	"fmt"
	"syscall"
	"testing"
	"time"

	"tollgate/pkg/control"
	"tollgate/pkg/recordbatch"
)

// Applying, flushes included, with the index in memory: identifiers are all new, each event of a series of its own turn.
// Run with: go test -run '^$' -bench Apply -benchmem ./pkg/usage
func BenchmarkApply(b *testing.B) {
	for _, size := range []struct{ meters, customers int }{{1, 1000}, {1000, 1000}} {
		b.Run(fmt.Sprintf("meters=%d/customers=%d", size.meters, size.customers), func(b *testing.B) {
			benchmarkApply(b, size.meters, size.customers)
		})
	}
}

func benchmarkApply(b *testing.B, meters, customers int) {
	f := newStage(b, 1)
	f.cfg.MemtableBytes, f.cfg.DedupBytes, f.cfg.CacheBytes = 32<<20, 1<<30, 64<<20
	f.cfg.Now = time.Now
	for i := range meters {
		f.meter(fmt.Sprintf("meter_%d", i), control.Sum, control.NoWindow)
	}
	w := f.open()
	fo := f.take(w, 0)
	m := f.meters()
	const chunkRecords = 5000
	records := make([]recordbatch.Record, 0, chunkRecords)
	n, offset := 0, int64(0)
	fill := func() {
		records = records[:0]
		for range chunkRecords {
			rec := f.record(sent{name: fmt.Sprintf("meter_%d", n%meters), id: fmt.Sprintf("evt_%020d", n), customer: fmt.Sprintf("cus_%08d", n/meters%customers), value: "25"})
			rec.Offset = offset
			records = append(records, rec)
			n, offset = n+1, offset+1
		}
		f.now += 10 // half a million a second
	}
	b.ReportAllocs()
	b.ResetTimer()
	b.StopTimer()
	var worked, cpu time.Duration
	for done := 0; done < b.N; done += chunkRecords {
		fill()
		begun, used := time.Now(), processCPU(b)
		b.StartTimer()
		if err := fo.p.apply(context.Background(), records, m); err != nil {
			b.Fatal(err)
		}
		if worked > max(time.Second, 4*fo.p.flushTook) {
			if err := fo.p.flush(context.Background(), false); err != nil {
				b.Fatal(err)
			}
			worked = 0
		}
		b.StopTimer()
		worked += time.Since(begun)
		cpu += processCPU(b) - used
	}
	b.ReportMetric(float64(cpu)/float64(b.N), "cpu-ns/op")
	fo.end()
	_ = w.Close(context.Background())
}

// Refusing events, flushes included: of one meter, of many, and of names without one. Each event has an identifier of its
// own, and a window lasts 100,000 events.
// Run with: go test -run '^$' -bench Refuse -benchtime 2000000x -benchmem ./pkg/usage
func BenchmarkRefuse(b *testing.B) {
	for _, c := range []struct {
		name  string
		named func(n int) string
	}{
		{"meters=1", func(int) string { return "meter_0" }},
		{"meters=1000", func(n int) string { return fmt.Sprintf("meter_%d", n%1000) }},
		{"names=10000", func(n int) string { return fmt.Sprintf("nobody_%d", n%10_000) }},
	} {
		b.Run(c.name, func(b *testing.B) { benchmarkRefuse(b, c.named) })
	}
}

func benchmarkRefuse(b *testing.B, named func(n int) string) {
	f := newStage(b, 1)
	f.cfg.MemtableBytes, f.cfg.DedupBytes, f.cfg.CacheBytes = 32<<20, 1<<30, 64<<20
	f.cfg.Now = time.Now
	f.report()
	for i := range 1000 {
		f.meter(fmt.Sprintf("meter_%d", i), control.Sum, control.NoWindow)
	}
	f.now = time.Now().UnixMilli()
	w := f.open()
	fo := f.take(w, 0)
	m := f.meters()
	const chunkRecords = 5000
	records := make([]recordbatch.Record, 0, chunkRecords)
	n, offset := 0, int64(0)
	b.ReportAllocs()
	b.ResetTimer()
	b.StopTimer()
	var worked, cpu time.Duration
	for done := 0; done < b.N; done += chunkRecords {
		records = records[:0]
		for range chunkRecords {
			rec := f.record(sent{name: named(n), id: fmt.Sprintf("evt_%020d", n), customer: "cus_1", value: "x"})
			rec.Offset = offset
			records = append(records, rec)
			n, offset = n+1, offset+1
		}
		f.now += 500
		begun, used := time.Now(), processCPU(b)
		b.StartTimer()
		if err := fo.p.apply(context.Background(), records, m); err != nil {
			b.Fatal(err)
		}
		if worked > max(time.Second, 4*fo.p.flushTook) {
			if err := fo.p.flush(context.Background(), false); err != nil {
				b.Fatal(err)
			}
			worked = 0
		}
		b.StopTimer()
		worked += time.Since(begun)
		cpu += processCPU(b) - used
	}
	b.ReportMetric(float64(cpu)/float64(b.N), "cpu-ns/op")
	fo.end()
	_ = w.Close(context.Background())
}

// processCPU is what this process has used so far: on a machine that does other things too, it says more than the time.
func processCPU(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// A summary by the hour over 35 days of one customer among many.
// Run with: go test -run '^$' -bench Summary ./pkg/usage
func BenchmarkSummary(b *testing.B) {
	const customers = 1_000_000
	f := newStage(b, 1)
	f.cfg.MemtableBytes, f.cfg.CacheBytes = 32<<20, 64<<20
	m := f.meter("sum", control.Sum, control.NoWindow)
	f.send(sent{name: "sum", id: "a", customer: "cus_0", value: "1"})
	w, fo := f.one()
	p := fo.p
	one := total{count: 1}
	for i := range customers {
		hours := 4
		if i%1000 == 0 {
			hours = 35 * 24
		}
		series := appendSeries(nil, m.ID, fmt.Appendf(nil, "cus_%d", i))
		for h := range hours {
			p.write(appendHour(nil, 0, tableHours, series, floorDiv(t0, hourMs)-int64(h)), one.append(nil))
		}
		if p.batch.Len() > 4<<20 {
			if err := p.commit(false); err != nil {
				b.Fatal(err)
			}
		}
	}
	if err := p.commit(false); err != nil {
		b.Fatal(err)
	}
	end := floorTo(t0, hourMs) + hourMs
	for _, g := range []Grouping{NoGrouping, ByHour, ByDay} {
		b.Run("by="+string(g), func(b *testing.B) {
			for i := range b.N {
				q := Query{Scope: Scope{Business: business}, MeterID: m.ID, Customer: fmt.Sprintf("cus_%d", i*7919%1000*1000), StartMs: end - 35*dayMs, EndMs: end, Grouping: g, Limit: 100}
				t, err := w.Totals(context.Background(), nil, q)
				if err != nil || len(t.Windows) == 0 {
					b.Fatal(t, err)
				}
			}
		})
	}
}

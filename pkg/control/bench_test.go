package control

import (
	"context"
	"fmt"
	"testing"

	"tollgate/pkg/recordbatch"
)

// What a gateway does at its start, without the log's part: 100,000 records of 10,000 meters in 100 businesses.
// The command is
//
//	go test -run '^$' -bench . -benchmem ./pkg/control
func BenchmarkFold(b *testing.B) {
	const records, meters, businesses = 100_000, 10_000, 100
	random := dice(1)
	log := make([]recordbatch.Record, 0, records)
	for i := range records {
		p := &proposal{atMs: 1_795_000_000_000 + int64(i)*1000}
		random(p.id[:])
		meter := i % meters
		id := fmt.Sprintf("mtr_%022d", meter)
		switch {
		case i < meters:
			p.object, p.newID, p.change = objectMeter, id, create(fmt.Sprint("event ", meter), nil)
		case i%2 == 0:
			p.object, p.change = objectDisplayName, rename(id, "Other", key(fmt.Sprint(i), 1))
		default:
			p.object, p.change = objectStatus, status(id, i/meters%2 == 0, key(fmt.Sprint(i), 1))
		}
		p.change.Business = fmt.Sprint("acct_", meter%businesses)
		k, v := p.encode()
		log = append(log, recordbatch.Record{Offset: int64(i), Key: k, Value: v})
	}
	b.ReportAllocs()
	for b.Loop() {
		if s := foldAll(log).snapshot(); len(s.Meters("acct_0", false)) != meters/businesses {
			b.Fatal("the fold lost meters")
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/records, "ns/record")
}

// BenchmarkChange is one record after the start, with a snapshot of its own, in a business of so many meters.
func BenchmarkChange(b *testing.B) {
	for _, meters := range []int{10, MetersMax} {
		b.Run(fmt.Sprint(meters), func(b *testing.B) {
			s := newState()
			for i := range meters {
				s.apply(&proposal{object: objectMeter, newID: fmt.Sprint(i), change: create(fmt.Sprint(i), nil)})
			}
			s.snapshot()
			p := &proposal{object: objectDisplayName, change: rename("1", "x", nil)}
			b.ReportAllocs()
			for b.Loop() {
				s.apply(p)
				s.snapshot()
			}
		})
	}
}

// BenchmarkCaughtUp is what a worker pays for each chunk when nothing has changed, with a log that answers at once.
func BenchmarkCaughtUp(b *testing.B) {
	l := newMemLog(b)
	c := open(b, testConfig(l, newClock()))
	made(b, c, create("requests", nil))
	ctx := context.Background()
	b.ReportAllocs()
	for b.Loop() {
		if err := c.CaughtUp(ctx); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkDestinations is what a change of a destination costs each fold where 10,000 businesses have one.
func BenchmarkDestinations(b *testing.B) {
	s := newState()
	for i := range 10_000 {
		c := createDestination(nil)
		c.Business = fmt.Sprint("acct_", i)
		s.apply(&proposal{object: objectDestination, newID: "ed_1", change: c})
	}
	s.snapshot()
	change := disable("ed_1", "user", nil)
	change.Business = "acct_77"
	b.ReportAllocs()
	for b.Loop() {
		s.apply(&proposal{object: objectDestinationStatus, change: change})
		if len(s.snapshot().AllDestinations()) != 10_000 {
			b.Fatal("destinations are lost")
		}
	}
}

// BenchmarkNamed is the look at the meter that a worker has for each event.
func BenchmarkNamed(b *testing.B) {
	s := newState()
	for i := range 100 {
		s.apply(&proposal{object: objectMeter, newID: fmt.Sprint(i), change: create(fmt.Sprint("event_name_", i), nil)})
	}
	snapshot := s.snapshot()
	b.ReportAllocs()
	for b.Loop() {
		if !snapshot.Named(acct, false, "event_name_7").ActiveAt(1) {
			b.Fatal("the meter is not active")
		}
	}
}

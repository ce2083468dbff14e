package meterevent

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"
)

func TestARecorderWritesWhatAppendRecordWrites(t *testing.T) {
	seed := rand.Uint64()
	random := rand.New(rand.NewPCG(seed, 1))
	names := []string{"a", "api_requests", "with \"quotes\"", "größe", "a/b"}
	businesses := []string{"acct_1", "acct_22"}
	times := []int64{0, -1, 1, msPerDay - 1, msPerDay, -msPerDay, 1_795_294_370_123, timestampMinMs, timestampMaxMs}
	var rec Recorder
	for range 2000 {
		business, livemode := businesses[random.IntN(2)], random.IntN(2) == 0
		receivedMs := 1_795_294_370_123 + random.Int64N(3*msPerDay)
		rec.Begin(business, livemode, receivedMs)
		for range random.IntN(4) {
			e := Event{Name: []byte(names[random.IntN(len(names))]), Identifier: fmt.Append(nil, "id \n", random.IntN(10)), Payload: []byte(`{"value":"1"}`)}
			if random.IntN(3) > 0 {
				e.HasTimestamp, e.TimestampMs = true, receivedMs-random.Int64N(2*msPerDay)
				if random.IntN(4) == 0 {
					e.TimestampMs = times[random.IntN(len(times))]
				}
			}
			rec.Meter(e.Name)
			if got, want := rec.Key(), AppendKey(nil, business, livemode, e.Name); !bytes.Equal(got, want) {
				t.Fatalf("seed %d: key %s, not %s", seed, got, want)
			}
			if got, want := rec.Append(nil, &e), AppendRecord(nil, business, livemode, &e, receivedMs); !bytes.Equal(got, want) {
				t.Fatalf("seed %d:\n%s, not\n%s", seed, got, want)
			}
		}
	}
}

func TestARecorderKnowsTheMetersOfItsBusinessAgain(t *testing.T) {
	var rec Recorder
	rec.Begin("acct_1", false, 0)
	names := [][]byte{[]byte("api_requests"), []byte("gigabytes")}
	for _, name := range names {
		if _, known := rec.Meter(name); known {
			t.Errorf("%s was known before it was met", name)
		}
	}
	rec.Begin("acct_1", false, 1)
	places := map[int]bool{}
	for _, name := range names {
		place, known := rec.Meter(name)
		if !known {
			t.Errorf("%s is not known in the next request", name)
		}
		places[place] = true
	}
	if len(places) != len(names) {
		t.Fatalf("choose names that do not share a place: %v", places)
	}
	for _, begin := range []func(){func() { rec.Begin("acct_2", false, 1) }, func() { rec.Begin("acct_2", true, 1) }} {
		begin()
		if _, known := rec.Meter(names[0]); known {
			t.Error("a meter is known under another business or mode")
		}
	}
}

func TestMetersThatShareAPlaceAreNotTakenForOneAnother(t *testing.T) {
	var rec Recorder
	rec.Begin("acct_1", false, 0)
	for i := range 20 * MetersKept {
		e := Event{Name: fmt.Appendf(nil, "m%d", i%(3*MetersKept)), Identifier: []byte("i"), Payload: []byte("{}")}
		rec.Meter(e.Name)
		if got, want := rec.Append(nil, &e), AppendRecord(nil, "acct_1", false, &e, 0); !bytes.Equal(got, want) {
			t.Fatalf("%s, not %s", got, want)
		}
	}
}

package usage

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"tollgate/pkg/control"
	"tollgate/pkg/meterevent"
	"tollgate/pkg/recordbatch"
)

// ruled is what a view says of all of partition 0, one line each.
func (f *stage) ruled(v *View) (lines []string) {
	f.t.Helper()
	f.log.mu.Lock()
	records := f.log.topics[usageTopic][0].records
	f.log.mu.Unlock()
	if err := v.Each(records, func(rec *recordbatch.Record, o *Ruling) {
		lines = append(lines, fmt.Sprintf("%d %d %s %d %s %s", rec.Offset, o.Kind, o.Reason, o.Other, o.Customer, o.Value.AppendText(nil)))
	}); err != nil {
		f.t.Fatal(err)
	}
	return lines
}

func TestAViewSaysOfEachRecordWhatTheFoldHasMadeOfIt(t *testing.T) {
	f := newStage(t, 1)
	f.meter("calls", control.Sum, control.NoWindow)
	f.now += 1000
	f.send(sent{name: "calls", id: "a", customer: "cus_1", value: "5"})
	f.send(sent{name: "calls", id: "a", customer: "cus_1", value: "5"})
	f.send(sent{name: "none", id: "b", customer: "cus_1", value: "5"})
	f.send(sent{name: "calls", id: "c", customer: "cus_1", value: "x"})
	f.send(sent{name: "calls", id: "a", cancel: true})
	f.send(sent{name: "calls", id: "a", cancel: true})
	f.send(sent{name: "calls", id: "d", cancel: true})
	f.send(sent{name: "calls", id: "d", customer: "cus_2", value: "7"})
	f.send(sent{name: "calls", id: "e", customer: "cus_2", value: "1.50"})
	f.log.add(usageTopic, 0, recordbatch.Record{TimestampMs: f.now, Key: []byte("k"), Value: []byte("?")})
	_, fo := f.one()
	want := []string{
		fmt.Sprintf("0 %d  4 cus_1 5", RulingCounted),
		fmt.Sprintf("1 %d  -1 cus_1 5", RulingAgain),
		fmt.Sprintf("2 %d %s -1  0", RulingNotCounted, meterevent.NoMeter),
		fmt.Sprintf("3 %d %s -1  0", RulingNotCounted, meterevent.InvalidValue),
		fmt.Sprintf("4 %d  0  0", RulingCancels),
		fmt.Sprintf("5 %d  -1  0", RulingCancelsNothing),
		fmt.Sprintf("6 %d  -1  0", RulingCancelsNothing),
		fmt.Sprintf("7 %d  -1 cus_2 7", RulingStillborn),
		fmt.Sprintf("8 %d  -1 cus_2 1.5", RulingCounted),
		fmt.Sprintf("9 %d  -1  0", RulingInvalid),
	}
	for i, got := range f.ruled((&View{p: fo.p}).Fork()) {
		if got != want[i] {
			t.Errorf("%q instead of %q", got, want[i])
		}
	}
}

func TestAViewDoesNotGuessAboutWhatTheIndexHasForgotten(t *testing.T) {
	f := newStage(t, 1)
	f.meter("calls", control.Sum, control.NoWindow)
	f.now += 1000
	f.send(sent{name: "calls", id: "a", customer: "cus_1", value: "5"})
	f.now += (30 * time.Hour).Milliseconds()
	f.send(sent{name: "calls", id: "a", customer: "cus_1", value: "5"})
	_, fo := f.one()
	got := f.ruled(&View{p: fo.p})
	if got[0] != fmt.Sprintf("0 %d  -1 cus_1 5", RulingForgotten) || got[1] != fmt.Sprintf("1 %d  -1 cus_1 5", RulingCounted) {
		t.Errorf("%q", got)
	}
}

func TestWhatRunsBesideAPartitionReturnsBeforeItIsGivenBack(t *testing.T) {
	f := newStage(t, 1)
	f.meter("calls", control.Sum, control.NoWindow)
	f.now += 1000
	f.send(sent{name: "calls", id: "a", customer: "cus_1", value: "5"})
	seen, returned, last := make(chan int32, 1), false, error(nil)
	f.cfg.Beside = func(ctx context.Context, v *View) {
		if err := v.Wait(ctx, 0); err != nil {
			t.Error(err)
		}
		seen <- v.Partition()
		<-ctx.Done()
		time.Sleep(20 * time.Millisecond)
		last = v.Each(nil, nil)
		returned = true
	}
	w := f.open()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx) }()
	if n := <-seen; n != 0 {
		t.Errorf("beside partition %d", n)
	}
	cancel()
	if err := <-done; err != nil && !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if !returned || last != nil {
		t.Errorf("the partition was given back before: %v, %v", returned, last)
	}
	if err := w.Close(context.Background()); err != nil {
		t.Error(err)
	}
}

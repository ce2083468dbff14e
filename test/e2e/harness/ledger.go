package harness

import (
	"fmt"
	"iter"
	"strconv"
	"strings"
	"testing"
	"time"
)

// Ledger is what a load saw. It does not keep identifiers, of which a load sends millions: they are made of numbers, and
// a request was acknowledged whole or not at all.
type Ledger struct {
	Besides  []string       // acknowledged identifiers of other senders: a test may add its own
	Requests int            // sent in all
	Other    map[string]int // answers that were no 200, by status or error
	Slowest  time.Duration  // answer

	name   string
	events int      // of a request
	acked  [][]bool // by client and request: must be in the log
}

// identifier is NAME/CLIENT/REQUEST/EVENT; the requests of a client were sent in turn.
func identifier(name string, client, request, event int) string {
	return fmt.Sprintf("%s/%d/%06d/%03d", name, client, request, event)
}

// place is the reverse of identifier; ok is false for what the load did not send.
func (l Ledger) place(id string) (client, request, event int, ok bool) {
	parts := strings.Split(id, "/")
	if len(parts) != 4 {
		return 0, 0, 0, false
	}
	var err [3]error
	client, err[0] = strconv.Atoi(parts[1])
	request, err[1] = strconv.Atoi(parts[2])
	event, err[2] = strconv.Atoi(parts[3])
	ok = err == [3]error{} && id == identifier(l.name, client, request, event) &&
		0 <= client && client < len(l.acked) && 0 <= request && request < len(l.acked[client]) && 0 <= event && event < l.events
	return client, request, event, ok
}

// Acked is how many events were acknowledged.
func (l Ledger) Acked() int {
	n := len(l.Besides)
	for _, requests := range l.acked {
		for _, acked := range requests {
			if acked {
				n += l.events
			}
		}
	}
	return n
}

// Check compares the ledger with the identifiers found in the log, in the log's order within a partition.
// Every acknowledged identifier must be there; with once, nothing may be there twice; and the acknowledged events of
// one client and meter must stand in the order in which they were sent. Each record bears the time of its receipt.
func (l Ledger) Check(tb testing.TB, found iter.Seq[Event], once bool) {
	tb.Helper()
	seen := l.newSightings()
	order, times, total := "", "", 0
	for e := range found {
		total++
		if fault := seen.add(&e); order == "" {
			order = fault
		}
		if times == "" {
			times = checkTimes(&e)
		}
	}
	missing, example := seen.missing()
	if missing > 0 {
		tb.Errorf("%d of %d acknowledged identifiers are missing from the log, for example %s", missing, l.Acked(), example)
	}
	if once && seen.twice > 0 {
		tb.Errorf("%d identifiers are in the log more than once, for example %s", seen.twice, seen.example)
	}
	for _, fault := range []string{order, times} {
		if fault != "" {
			tb.Error(fault)
		}
	}
	tb.Logf("%d requests, %d events acknowledged, %d in the log, %d missing, %d twice; other answers: %v",
		l.Requests, l.Acked(), total, missing, seen.twice, l.Other)
}

// sightings is how often each identifier was found in the log.
type sightings struct {
	l       Ledger
	copies  [][]uint8 // by client and event, counted from its first request on; 2 is more than once
	others  map[string]uint8
	last    map[lane]int // the event found last, counted likewise
	twice   int
	example string // of twice
}

// lane is what has an order: the events of one client and meter.
type lane struct {
	client int
	meter  string
}

func (l Ledger) newSightings() *sightings {
	s := &sightings{l: l, others: map[string]uint8{}, last: map[lane]int{}}
	for _, requests := range l.acked {
		s.copies = append(s.copies, make([]uint8, len(requests)*l.events))
	}
	return s
}

// add notes a record, and says what is wrong with its place: promise G5 as a client sees it.
func (s *sightings) add(e *Event) (fault string) {
	client, request, event, ok := s.l.place(e.Identifier)
	if !ok {
		s.others[e.Identifier] = s.again(e.Identifier, s.others[e.Identifier])
		return ""
	}
	at := request*s.l.events + event
	copies := &s.copies[client][at]
	// A second copy from another life says nothing about order.
	if k := (lane{client, e.Name}); *copies == 0 && s.l.acked[client][request] {
		if last := s.last[k]; at < last {
			fault = fmt.Sprintf("client %d, meter %s: %s stands after %s", client, e.Name, e.Identifier,
				identifier(s.l.name, client, last/s.l.events, last%s.l.events))
		}
		s.last[k] = at
	}
	*copies = s.again(e.Identifier, *copies)
	return fault
}

// again is one copy more.
func (s *sightings) again(id string, copies uint8) uint8 {
	if copies == 1 {
		s.twice++
		s.example = id
	}
	return min(copies+1, 2)
}

// missing counts what was acknowledged and not found.
func (s *sightings) missing() (n int, example string) {
	for client, requests := range s.l.acked {
		for request, acked := range requests {
			for event := range s.l.events {
				if acked && s.copies[client][request*s.l.events+event] == 0 {
					n++
					example = identifier(s.l.name, client, request, event)
				}
			}
		}
	}
	for _, id := range s.l.Besides {
		if s.others[id] == 0 {
			n++
			example = id
		}
	}
	return n, example
}

// checkTimes is decision D8: a record's own timestamp is the time of receipt, which the value tells too.
func checkTimes(e *Event) (fault string) {
	if received, err := time.Parse(time.RFC3339, e.Received); err != nil || received.UnixMilli() != e.RecordMs {
		return fmt.Sprintf("%s: received %q, but the record's timestamp is %s", e.Identifier, e.Received,
			time.UnixMilli(e.RecordMs).UTC().Format(time.RFC3339Nano))
	}
	return ""
}

package usage

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"tollgate/pkg/commitlog"
	"tollgate/pkg/thinevent"
)

var _ Events = (*thinevent.Store)(nil)

// fakeTopic is an events topic. Of an id that is in it twice only the first counts.
type fakeTopic struct {
	mu     sync.Mutex
	events []*thinevent.Event
}

func (t *fakeTopic) len() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.events)
}

// index is a gateway's view of it, which is behind as long as nobody asks it to catch up.
func (t *fakeTopic) index() *fakeEvents { return &fakeEvents{topic: t, known: map[string]int64{}} }

// fakeEvents is what the worker has of a thinevent.Store.
type fakeEvents struct {
	topic *fakeTopic
	seen  int
	known map[string]int64

	fate   func() appendFate // of an append; nil: good
	dice   *rand.Rand        // for appendSome
	away   error             // of everything
	notAsk error             // of Reported and CaughtUp
	calls  int               // of Reported
	during func()            // called within an append
}

type appendFate int

const (
	appendGood    appendFate = iota
	appendAway               // nothing is appended
	appendUnknown            // it is, and the answer is lost
	appendSome               // likewise, of some of it
)

func (e *fakeEvents) catchUp() {
	for ; e.seen < len(e.topic.events); e.seen++ {
		event := e.topic.events[e.seen]
		if _, found := e.known[event.ID]; !found {
			e.known[event.ID] = event.Source.Through
		}
	}
}

func (e *fakeEvents) CaughtUp(context.Context) error {
	e.topic.mu.Lock()
	defer e.topic.mu.Unlock()
	if err := errors.Join(e.away, e.notAsk); err != nil {
		return err
	}
	e.catchUp()
	return nil
}

func (e *fakeEvents) Reported(id string) (through int64, found bool, err error) {
	e.topic.mu.Lock()
	defer e.topic.mu.Unlock()
	e.calls++
	through, found = e.known[id]
	return through, found, e.notAsk
}

func (e *fakeEvents) Append(_ context.Context, events ...*thinevent.Event) error {
	if e.during != nil {
		e.during()
	}
	e.topic.mu.Lock()
	defer e.topic.mu.Unlock()
	if e.away != nil {
		return e.away
	}
	fate := appendGood
	if e.fate != nil {
		fate = e.fate()
	}
	if fate == appendAway {
		return commitlog.ErrUnavailable
	}
	for _, event := range events {
		if fate == appendSome && e.dice.IntN(2) == 0 {
			continue
		}
		if _, found := e.known[event.ID]; !found {
			e.topic.events = append(e.topic.events, event)
		}
	}
	if fate != appendGood {
		return commitlog.ErrUnknown
	}
	e.catchUp()
	return nil
}

// reportText is what an event says.
type reportText struct {
	Summary string `json:"developer_message_summary"`
	Reason  struct {
		Count int64 `json:"error_count"`
		Types []struct {
			Code    string `json:"code"`
			Count   int64  `json:"error_count"`
			Samples []struct {
				Message string `json:"error_message"`
				Request struct {
					Identifier string `json:"identifier"`
				} `json:"request"`
			} `json:"sample_errors"`
		} `json:"error_types"`
	} `json:"reason"`
	Start string `json:"validation_start"`
	End   string `json:"validation_end"`
}

func textOf(t testing.TB, e *thinevent.Event) (d reportText) {
	t.Helper()
	if err := json.Unmarshal(e.Data, &d); err != nil {
		t.Fatal(err)
	}
	return d
}

// inShort is an event in short: its window and what it counts.
func inShort(t testing.TB, e *thinevent.Event) string {
	d := textOf(t, e)
	about := "no meter"
	if e.Related != nil {
		about = e.Related.ID
	}
	s := fmt.Sprintf("%s %s to %s [%d, %d)", about, d.Start[11:19], d.End[11:19], e.Source.First, e.Source.Through)
	for _, c := range d.Reason.Types {
		s += fmt.Sprintf(" %s %d", c.Code, c.Count)
	}
	return s
}

// report gives a stage an events topic.
func (f *stage) report() { f.cfg.Events = new(fakeTopic).index() }

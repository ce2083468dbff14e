package e2e

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"tollgate/test/e2e/harness"
)

// usageLoad streams events with duplicates and cancels to gateways in turn, and keeps the model of what they must add up
// to. A request that was not answered with 200 is sent again, as it is, to the next gateway, until it was: what its
// first sending did is then made good by its identifiers.
type usageLoad struct {
	urls      []string
	meters    []*meterSpec
	customers int
	events    int // to be sent in all
	perSecond int // at most; 0: as fast as it goes
	clients   int
	fromMs    int64 // event times are in the hours between
	toMs      int64
	seed      uint64

	left      atomic.Int64
	failed    atomic.Int64
	stop      atomic.Bool
	sent      atomic.Int64
	model     *usageModel
	examples  []sentEvent    // some that were cancelled, and some that were not
	streaming sync.WaitGroup // clients that still send events
	http      *http.Client
}

// usageSender is one client. Its events are its own, so that it knows what was answered before what.
type usageSender struct {
	l        *usageLoad
	n        int
	dice     *rand.Rand
	model    *usageModel
	recent   []sentEvent // acknowledged, to be repeated or cancelled
	early    []sentEvent // cancelled before they are sent
	cancels  []cancelling
	used     map[int64]bool
	tokens   []string
	turn     int
	sequence int
	body     bytes.Buffer
}

// cancelling is a cancel that was not answered with 200 yet. It needs the gateway that runs the partition, which the
// stream does not: it is tried again beside the stream.
type cancelling struct {
	sentEvent
	early bool // the event is sent after it
}

const (
	requestEvents   = 100
	duplicateChance = 0.05
	cancelChance    = 0.01
	earlyChance     = 0.1 // of a cancel to come before its event
	recentMax       = 500
	cancelsAtOnce   = 16
)

// run sends everything and returns when it was all acknowledged.
func (l *usageLoad) run(t *testing.T) {
	t.Helper()
	l.left.Store(int64(l.events))
	l.model = newUsageModel()
	l.http = &http.Client{Timeout: 15 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: l.clients * (cancelsAtOnce + 1)}}
	var wg sync.WaitGroup
	senders := make([]*usageSender, l.clients)
	start := time.Now()
	for i := range senders {
		s := &usageSender{
			l: l, n: i, dice: rand.New(rand.NewPCG(l.seed, uint64(i))), model: newUsageModel(),
			used: map[int64]bool{}, tokens: make([]string, len(l.urls)), turn: i,
		}
		senders[i] = s
		l.streaming.Add(1)
		wg.Go(func() { s.run(start) })
	}
	l.streaming.Done() // run's caller counted it, see there
	wg.Wait()
	for _, s := range senders {
		l.model.merge(s.model)
		l.examples = append(l.examples, s.recent[:min(3, len(s.recent))]...)
	}
	t.Logf("seed %d: %d events in %s, %d requests were not answered with 200 and sent again", l.seed, l.sent.Load(), time.Since(start).Round(time.Second), l.failed.Load())
}

func (s *usageSender) run(start time.Time) {
	l := s.l
	for !l.stop.Load() && l.left.Add(-requestEvents) > -requestEvents {
		fresh := s.request()
		body := bytes.Clone(s.body.Bytes())
		s.stream(body)
		l.sent.Add(requestEvents)
		for _, e := range fresh {
			if !s.model.cancelled[e.identifier] {
				s.model.add(e)
				s.remember(e)
			}
		}
		for range requestEvents {
			if s.dice.Float64() < cancelChance {
				s.cancel()
			}
		}
		s.tryCancels()
		if l.perSecond > 0 {
			time.Sleep(time.Until(start.Add(time.Duration(l.sent.Load()) * time.Second / time.Duration(l.perSecond))))
		}
	}
	l.streaming.Done()
	for len(s.cancels) > 0 && !l.stop.Load() {
		if s.tryCancels() == 0 {
			time.Sleep(100 * time.Millisecond)
		}
	}
}

// request fills body, and returns the events in it that are new. Those that were cancelled before they are sent are
// among them.
func (s *usageSender) request() (fresh []sentEvent) {
	s.body.Reset()
	s.body.WriteString(`{"events":[`)
	for i := range requestEvents {
		if i > 0 {
			s.body.WriteByte(',')
		}
		var e sentEvent
		switch {
		case len(s.recent) > 0 && s.dice.Float64() < duplicateChance:
			// The same identifier with another value: the first wins.
			e = s.recent[s.dice.IntN(len(s.recent))]
			e.cents += 777
		case len(s.early) > 0:
			e = s.early[0]
			s.early = s.early[1:]
			fresh = append(fresh, e)
		default:
			e = s.event()
			fresh = append(fresh, e)
		}
		fmt.Fprintf(&s.body, `{"event_name":"%s","identifier":"%s","timestamp":"%s","payload":{"stripe_customer_id":"%s","value":"%s"}}`,
			e.meter.name, e.identifier, time.UnixMilli(e.atMs).UTC().Format("2006-01-02T15:04:05.000Z"), customerName(e.customer), hundredths(e.cents))
	}
	s.body.WriteString(`]}`)
	return fresh
}

func (s *usageSender) event() sentEvent {
	s.sequence++
	e := sentEvent{
		meter: s.l.meters[s.dice.IntN(len(s.l.meters))], customer: s.dice.IntN(s.l.customers),
		identifier: fmt.Sprintf("e%d-%d-%d", s.l.seed, s.n, s.sequence), cents: s.dice.Int64N(20_000) - 5_000,
	}
	// Two events at the same time have no order that a model could know, so no two have it: each client has times of its
	// own.
	span := (s.l.toMs - s.l.fromMs) / int64(s.l.clients)
	for {
		e.atMs = s.l.fromMs + s.dice.Int64N(span)*int64(s.l.clients) + int64(s.n)
		if !e.meter.ordered() || !s.used[e.atMs] {
			break
		}
	}
	if e.meter.ordered() {
		s.used[e.atMs] = true
	}
	return e
}

func (s *usageSender) remember(e sentEvent) {
	if len(s.recent) < recentMax {
		s.recent = append(s.recent, e)
		return
	}
	s.recent[s.dice.IntN(len(s.recent))] = e
}

// cancel takes back an event that was acknowledged, or one that will be sent next.
func (s *usageSender) cancel() {
	if len(s.recent) == 0 {
		return
	}
	if s.dice.Float64() < earlyChance {
		s.cancels = append(s.cancels, cancelling{s.event(), true})
		return
	}
	e := s.recent[s.dice.IntN(len(s.recent))] // perhaps a second time, without effect
	if !s.model.cancelled[e.identifier] {
		s.model.cancel(e)
	}
	s.cancels = append(s.cancels, cancelling{e, false})
}

// tryCancels sends the oldest cancels once, all at the same time, and returns how many were answered with 200.
func (s *usageSender) tryCancels() (done int) {
	now := s.cancels[:min(len(s.cancels), cancelsAtOnce)]
	ok := make([]bool, len(now))
	var wg sync.WaitGroup
	for i, c := range now {
		s.turn++
		address := s.l.urls[s.turn%len(s.l.urls)] + "/v2/billing/meter_event_adjustments"
		wg.Go(func() {
			ok[i] = s.l.post(address, harness.TestKey, []byte(cancelOf(&c.sentEvent))) == http.StatusOK
		})
	}
	wg.Wait()
	left := slices.Clone(s.cancels[len(now):])
	for i, c := range now {
		switch {
		case !ok[i]:
			left = append(left, c)
		case c.early:
			s.model.cancelled[c.identifier] = true
			s.early = append(s.early, c.sentEvent)
			fallthrough
		default:
			done++
		}
	}
	s.cancels = left
	return done
}

// post sends a request once and returns the status, 0 when there was no answer.
func (l *usageLoad) post(address, bearer string, body []byte) int {
	req, err := http.NewRequest(http.MethodPost, address, bytes.NewReader(body))
	if err != nil {
		panic(err)
	}
	req.Header.Set("Authorization", "Bearer "+bearer)
	req.Header.Set("Content-Type", "application/json")
	res, err := l.http.Do(req)
	if err != nil {
		l.failed.Add(1)
		return 0
	}
	_, _ = io.Copy(io.Discard, res.Body)
	res.Body.Close()
	if res.StatusCode != http.StatusOK {
		l.failed.Add(1)
	}
	return res.StatusCode
}

// stream sends a request until it is answered with 200.
func (s *usageSender) stream(body []byte) {
	for !s.l.stop.Load() {
		s.turn++
		at := s.turn % len(s.l.urls)
		if s.tokens[at] == "" {
			_, answer, _, err := harness.Post(s.l.urls[at]+"/v2/billing/meter_event_session", harness.TestKey, "{}")
			if s.tokens[at], _ = answer["authentication_token"].(string); err != nil || s.tokens[at] == "" {
				time.Sleep(20 * time.Millisecond)
				continue
			}
		}
		switch s.l.post(s.l.urls[at]+"/v2/billing/meter_event_stream", s.tokens[at], body) {
		case http.StatusOK:
			return
		case http.StatusUnauthorized:
			s.tokens[at] = ""
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// hundredths writes a decimal with two digits behind the point.
func hundredths(cents int64) string {
	sign := ""
	if cents < 0 {
		sign, cents = "-", -cents
	}
	return fmt.Sprintf("%s%d.%02d", sign, cents/100, cents%100)
}

package harness

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// LoadOptions shape a load. Zero values are small enough for two cores beside a broker.
type LoadOptions struct {
	URL, Key string
	Clients  int           // requests in flight; default 8
	Events   int           // events a request; default 20
	Meters   int           // event names in turn; default 4
	Pause    time.Duration // of a client between requests; default 2 ms
	Rate     int           // events a second of all clients, who make up for what an answer was late; 0: as Pause has it
	Name     string        // begins each identifier; default the test's name
}

// Load is a number of clients that each open a session and stream events one request after another, each event with
// an identifier of its own, never sent twice. Every answer goes into the ledger.
type Load struct {
	o       LoadOptions
	stop    atomic.Bool
	done    sync.WaitGroup
	http    *http.Client
	clients []*client
}

// client is one sender; its fields are its goroutine's until Stop has returned.
type client struct {
	n     int
	acked []bool         // by request, in the order in which they were sent
	slow  time.Duration  // the slowest answer
	other map[string]int // answers that promise nothing, by kind
}

// StartLoad starts sending; the gateway need not be there yet, or always.
func StartLoad(tb testing.TB, o LoadOptions) *Load {
	tb.Helper()
	def := func(v *int, d int) {
		if *v == 0 {
			*v = d
		}
	}
	def(&o.Clients, 8)
	def(&o.Events, 20)
	def(&o.Meters, 4)
	if o.Pause == 0 {
		o.Pause = 2 * time.Millisecond
	}
	if o.Key == "" {
		o.Key = TestKey
	}
	if o.Name == "" {
		o.Name = strings.NewReplacer("/", "-", " ", "_").Replace(tb.Name())
		o.Name = o.Name[:min(len(o.Name), 40)]
	}
	l := &Load{o: o, http: &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: o.Clients}}}
	for i := range o.Clients {
		c := &client{n: i, other: map[string]int{}}
		l.clients = append(l.clients, c)
		l.done.Go(func() { l.run(c) })
	}
	tb.Cleanup(func() { l.Stop() })
	return l
}

// Stop ends the clients, waits for the answers still due, and returns the ledger.
func (l *Load) Stop() Ledger {
	l.stop.Store(true)
	l.done.Wait()
	l.http.CloseIdleConnections()
	sum := Ledger{Other: map[string]int{}, name: l.o.Name, events: l.o.Events}
	for _, c := range l.clients {
		sum.acked = append(sum.acked, c.acked)
		sum.Requests += len(c.acked)
		sum.Slowest = max(sum.Slowest, c.slow)
		for k, n := range c.other {
			sum.Other[k] += n
		}
	}
	return sum
}

func (l *Load) run(c *client) {
	token := ""
	due := time.Now()
	for !l.stop.Load() {
		if token == "" {
			var err error
			if token, err = l.session(); err != nil {
				c.other["session: "+kindOf(err)]++
				time.Sleep(20 * time.Millisecond)
				continue
			}
		}
		began := time.Now()
		status, err := l.stream(token, c.body(l.o))
		c.slow = max(c.slow, time.Since(began))
		acked := err == nil && status == http.StatusOK
		c.acked = append(c.acked, acked)
		switch {
		case err != nil:
			c.other[kindOf(err)]++
			time.Sleep(10 * time.Millisecond)
		case !acked:
			c.other[strconv.Itoa(status)]++
			if status == http.StatusUnauthorized {
				token = ""
			}
			time.Sleep(10 * time.Millisecond)
		}
		if l.o.Rate > 0 {
			due = due.Add(time.Second * time.Duration(l.o.Events*l.o.Clients) / time.Duration(l.o.Rate))
			time.Sleep(time.Until(due))
		} else {
			time.Sleep(l.o.Pause)
		}
	}
}

// body is the next request.
func (c *client) body(o LoadOptions) []byte {
	var b bytes.Buffer
	b.WriteString(`{"events":[`)
	request := len(c.acked)
	for i := range o.Events {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `{"event_name":"meter_%d","identifier":"%s","payload":{"stripe_customer_id":"cus_%d","value":"%d"}}`,
			(request+i)%o.Meters, identifier(o.Name, c.n, request, i), c.n, i)
	}
	b.WriteString(`]}`)
	return b.Bytes()
}

func (l *Load) session() (string, error) {
	var s struct {
		Token string `json:"authentication_token"`
	}
	status, body, err := l.post("/v2/billing/meter_event_session", l.o.Key, []byte("{}"))
	if err == nil && status != http.StatusOK {
		err = fmt.Errorf("status %d", status)
	}
	if err == nil {
		err = json.Unmarshal(body, &s)
	}
	return s.Token, err
}

// stream returns an error also when a 200 comes with another body than {}: that is no acknowledgement.
func (l *Load) stream(token string, body []byte) (int, error) {
	status, answer, err := l.post("/v2/billing/meter_event_stream", token, body)
	if err == nil && status == http.StatusOK && string(bytes.TrimSpace(answer)) != "{}" {
		return 0, fmt.Errorf("200 with body %q", answer)
	}
	return status, err
}

func (l *Load) post(path, bearer string, body []byte) (int, []byte, error) {
	req, err := http.NewRequest(http.MethodPost, l.o.URL+path, bytes.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	req.Header.Set("Authorization", "Bearer "+bearer)
	req.Header.Set("Content-Type", "application/json")
	res, err := l.http.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
	return res.StatusCode, answer, err
}

// kindOf cuts what differs from one occurrence to the next out of a network error.
func kindOf(err error) string {
	s := err.Error()
	if i := strings.LastIndex(s, ": "); i >= 0 {
		s = s[i+2:]
	}
	return s
}

// Event is a usage record as found in the log.
type Event struct {
	Partition  int
	Offset     int64
	Key        string
	RecordMs   int64             // the record's own timestamp
	Value      string            `json:"-"` // the record's value as it is; the fields below are what it says
	Object     string            `json:"object"`
	Business   string            `json:"business"`
	Livemode   bool              `json:"livemode"`
	Name       string            `json:"event_name"`
	Identifier string            `json:"identifier"`
	Timestamp  string            `json:"timestamp"`
	Received   string            `json:"received"`
	Payload    map[string]string `json:"payload"`
	Type       string            `json:"type"`
	Cancel     struct {
		Identifier string `json:"identifier"`
	} `json:"cancel"`
}

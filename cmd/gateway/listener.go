package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"tollgate/pkg/stripe"
)

const (
	// pollEvery is the pause between two looks, and pollPauseMax the longest one while the gateway does not answer.
	pollEvery    = time.Second
	pollPauseMax = 30 * time.Second
	// An event may show up later than others that were created after it: a report waits for its log. Each look asks for the
	// newest ones until it meets a page of which it knows everything; once every sweepEvery all of the last lateMax are
	// asked for.
	lateMax    = 5 * time.Minute
	sweepEvery = 10 * time.Second
	// pagesMax bounds a look, and listenSeenMax the ids that are remembered: all that a look may find, and those of the one
	// before.
	listenPageEvents = 100
	pagesMax         = 100
	listenSeenMax    = 2 * pagesMax * listenPageEvents
)

// listener asks a gateway for events, again and again, and tells each once. It belongs to one goroutine.
type listener struct {
	api     *apiClient
	types   url.Values
	forward forwarder
	out     io.Writer // where events go
	say     io.Writer // where all else goes
	json    bool
	pause   time.Duration // pollEvery

	began  time.Time // by the clock of this machine
	from   time.Time // the same moment by the gateway's clock: what was created before is not told
	polled time.Time // when the last look began that was answered, by the gateway's clock
	swept  time.Time // the same of the last sweep
	seen   *recent
	fault  string // what was said about why there are no answers; empty: there are
}

// run looks until ctx ends or the gateway refuses. It pauses longer while there is no answer.
func (l *listener) run(ctx context.Context) error {
	pause := l.pause
	for ctx.Err() == nil {
		status, err := l.look(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case err == nil:
			pause = l.pause
			err = l.recovered()
		case status >= 400 && status < 500 && status != http.StatusTooManyRequests:
			return err // the key, or what is asked for, is refused: it will be the next time
		default:
			pause = min(2*pause, pollPauseMax)
			err = l.failing(err)
		}
		if err != nil {
			return err
		}
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
	}
	return nil
}

// failing says once that there are no answers.
func (l *listener) failing(why error) error {
	if l.fault != "" {
		return nil
	}
	l.fault = why.Error()
	_, err := fmt.Fprintf(l.say, "No answer, trying on: %v\n", why)
	return err
}

func (l *listener) recovered() error {
	if l.fault == "" {
		return nil
	}
	l.fault = ""
	_, err := fmt.Fprintln(l.say, "The gateway answers again.")
	return err
}

// query is what all lists have in common.
func (l *listener) query() url.Values {
	q := url.Values{}
	for name, values := range l.types {
		q[name] = values
	}
	return q
}

// look tells the events that are new, the oldest first.
func (l *listener) look(ctx context.Context) (status int, err error) {
	now := l.from.Add(time.Since(l.began))
	sweep := now.Sub(l.swept) >= sweepEvery
	since := l.polled.Add(-lateMax)
	if since.Before(l.from) {
		since = l.from
	}
	found, status, err := l.find(ctx, since, sweep)
	if err != nil {
		return status, err
	}
	slices.Reverse(found)
	for i := range found {
		if err := l.tell(ctx, &found[i]); err != nil {
			return status, err
		}
		if ctx.Err() != nil {
			return status, nil
		}
	}
	l.polled = now
	if sweep {
		l.swept = now
	}
	return status, nil
}

// find asks for pages, and returns what was not seen yet, the newest first.
func (l *listener) find(ctx context.Context, since time.Time, sweep bool) (found []apiEvent, status int, err error) {
	q := l.query()
	q.Set("created[gte]", since.UTC().Format(stripe.TimeLayout))
	q.Set("limit", strconv.Itoa(listenPageEvents))
	path := "/v2/core/events?" + q.Encode()
	met := map[string]bool{}
	for range pagesMax {
		page, status, err := l.api.events(ctx, path)
		if err != nil {
			return nil, status, err
		}
		known := len(page.Data)
		for _, e := range page.Data {
			if !l.seen.has(e.ID) && !met[e.ID] {
				met[e.ID] = true
				found, known = append(found, e), known-1
			}
		}
		if page.Next == "" || !sweep && known == len(page.Data) {
			return found, status, nil
		}
		path = page.Next
	}
	_, err = fmt.Fprintf(l.say, "There are more than %d events since the last look; the older ones are left out.\n", pagesMax*listenPageEvents)
	return found, http.StatusOK, err
}

// tell prints an event and forwards it. It counts as told before it is: what was printed is not printed again.
func (l *listener) tell(ctx context.Context, e *apiEvent) error {
	l.seen.add(e.ID)
	if _, err := fmt.Fprintln(l.out, e.line(l.json)); err != nil {
		return err
	}
	if l.forward.to == "" {
		return nil
	}
	result := l.forward.post(ctx, e)
	if ctx.Err() != nil {
		return nil
	}
	_, err := fmt.Fprintf(l.say, "  %s: %s\n", e.ID, result)
	return err
}

// forwarder posts events as a destination gets them.
type forwarder struct {
	to, secret string
	http       *http.Client
}

// post makes one try, and says what came of it.
func (f *forwarder) post(ctx context.Context, e *apiEvent) string {
	body := stripe.AppendNotification(nil, &e.Event)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, f.to, bytes.NewReader(body))
	if err != nil {
		return err.Error()
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Stripe-Signature", string(stripe.AppendSignature(nil, time.Now().Unix(), body, f.secret)))
	start := time.Now()
	res, err := f.http.Do(req)
	took := time.Since(start).Milliseconds()
	if err != nil {
		var ue *url.Error
		if errors.As(err, &ue) { // the address is known
			err = ue.Err
		}
		return fmt.Sprintf("no answer after %d ms: %v", took, err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusSwitchingProtocols { // whose body is the connection, and does not end
		_, _ = io.Copy(io.Discard, io.LimitReader(res.Body, answerBytesMax)) // so that the connection is used again
	}
	return fmt.Sprintf("%s in %d ms", res.Status, took)
}

// recent is the ids that were told last.
type recent struct {
	known map[string]bool
	order []string // a ring of the ids, once it is full
	next  int
	max   int
}

func newRecent(n int) *recent { return &recent{known: map[string]bool{}, max: n} }

func (r *recent) has(id string) bool { return r.known[id] }

func (r *recent) add(id string) {
	if len(r.order) < r.max {
		r.order = append(r.order, id)
	} else {
		delete(r.known, r.order[r.next])
		r.order[r.next] = id
		r.next = (r.next + 1) % r.max
	}
	r.known[id] = true
}

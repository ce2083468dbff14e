package load

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"sync"
	"syscall"
	"time"

	"tollgate/bench/internal/ledger"
)

// A worker is one connection and one lane of the ledger. All of it belongs to its goroutine until Run has waited for
// it, but for the shard and the kinds of errors, which it shares.
type worker struct {
	run     *run
	number  int
	session *session
	client  client
	shard   *shard
	lane    ledger.Lane
	request *request
	token   *token
}

// failurePause keeps a connection from asking an absent target as fast as it can when no schedule does.
const failurePause = 10 * time.Millisecond

func newWorker(r *run, number int, s *session) *worker {
	u, _ := parseTarget(r.c.Target)
	return &worker{
		run: r, number: number, session: s, shard: &r.shards[number%shardsMax],
		client: client{url: u, answerMax: r.c.AnswerMax},
	}
}

// work sends what is due until the run is over. The connection stays open: one that is done early would be closed while
// others are measured.
func (w *worker) work(ctx context.Context) {
	for ctx.Err() == nil {
		due, now := time.Time{}, time.Time{}
		if w.session.schedule.open() {
			var ok bool
			if due, ok = w.session.schedule.next(); !ok {
				return
			}
			if !sleepUntil(ctx, due) {
				w.miss(due)
				return
			}
			now = time.Now()
		} else {
			now = time.Now()
			due = now
		}
		if err := w.send(ctx, due, now); err != nil {
			w.run.errors.count(kindOf(err))
			w.shard.failed.Add(1)
			if !w.session.schedule.open() {
				sleepUntil(ctx, time.Now().Add(failurePause))
			}
		}
		w.shard.requests.Add(1)
	}
}

// miss counts an intended time that was taken and not sent at, because the run ended first.
func (w *worker) miss(due time.Time) {
	waited := time.Since(due)
	if waited < 0 {
		return // an interrupted run: it was not due yet
	}
	w.shard.missed.Add(1)
	if !due.Before(w.run.measure) {
		w.shard.latency.Record(waited)
	}
}

// send makes one request and notes its outcome in the ledger, if it went out at all.
func (w *worker) send(ctx context.Context, due, now time.Time) error {
	t, err := w.session.token(ctx, now)
	if err != nil {
		return fmt.Errorf("session: %w", err)
	}
	if t != w.token {
		w.token, w.request = t, newRequest(&w.run.c, w.run.draws, w.number, t.text)
	}
	measured := !due.Before(w.run.measure)
	if measured {
		w.shard.lateness.Record(now.Sub(due))
	}
	a, err := w.client.exchange(ctx, w.request.patch(w.lane.Sent(), now), now)
	if errors.Is(err, errDial) {
		return err
	}
	batch := w.run.c.Batch
	outcome := ledger.Unknown
	if err == nil {
		outcome = outcomeOf(w.run.c.Dialect, a)
	}
	w.lane.Add(outcome, batch)
	switch {
	case err != nil:
		return err
	case outcome == ledger.Acked:
		if measured {
			w.shard.latency.Record(time.Since(due))
		}
		w.shard.acked.Add(uint64(batch))
		return nil
	case a.status == http.StatusUnauthorized:
		w.session.refused(t)
	}
	return statusError(a.status)
}

// outcomeOf judges an answer by the gateway's contract: {} with 200 is a promise; of the refusals only 500 and the
// 503 that says so leave open whether something was stored. In OTLP no refusal but those with 4xx says that nothing was.
func outcomeOf(dialect string, a answer) ledger.Outcome {
	switch {
	case dialect == OTLPLogs && a.status == http.StatusOK && !bytes.Contains(a.body, []byte(`"rejectedLogRecords"`)):
		return ledger.Acked
	case dialect == OTLPLogs && a.status < 400, dialect == OTLPLogs && a.status >= 500:
		return ledger.Unknown
	case a.status == http.StatusOK && string(bytes.TrimSpace(a.body)) == "{}":
		return ledger.Acked
	case a.status >= 400 && a.status < 500:
		return ledger.Refused
	case a.status == http.StatusServiceUnavailable && bytes.Contains(a.body, []byte(`"service_unavailable"`)):
		return ledger.Refused
	}
	return ledger.Unknown
}

type statusError int

func (s statusError) Error() string { return "status " + strconv.Itoa(int(s)) }

// sleepUntil returns false when the context ended first.
func sleepUntil(ctx context.Context, t time.Time) bool {
	d := time.Until(t)
	if d <= 0 {
		return ctx.Err() == nil
	}
	// A plain sleep is cheaper than a timer and a select; the context is looked at again soon enough. Where it is a
	// long time, ten thousand connections that look up every 50 ms would take a processor.
	const nap, long = 50 * time.Millisecond, time.Second
	if d > long {
		early := time.NewTimer(d - long)
		defer early.Stop()
		select {
		case <-ctx.Done():
			return false
		case <-early.C:
		}
		d = time.Until(t)
	}
	for ; d > nap; d = time.Until(t) {
		time.Sleep(nap)
		if ctx.Err() != nil {
			return false
		}
	}
	time.Sleep(d)
	return ctx.Err() == nil
}

// kindOf is an error as it is counted: few words, the same for each occurrence.
func kindOf(err error) string {
	var status statusError
	var network net.Error
	var dns *net.DNSError
	prefix := ""
	if errors.Is(err, errDial) {
		prefix = "connect: "
	}
	switch {
	case errors.As(err, &status):
		return status.Error()
	case errors.Is(err, errUnreadable):
		return "unreadable answer"
	case errors.Is(err, syscall.ECONNREFUSED):
		return prefix + "refused"
	case errors.Is(err, syscall.ECONNRESET):
		return prefix + "reset"
	case errors.Is(err, syscall.EPIPE), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return prefix + "closed without an answer"
	case errors.Is(err, os.ErrDeadlineExceeded):
		return prefix + "no answer in time"
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return prefix + "the run was over"
	case errors.As(err, &dns):
		return prefix + "name not found"
	case errors.As(err, &network) && network.Timeout():
		return prefix + "no answer in time"
	}
	text := err.Error()
	return text[:min(len(text), 100)]
}

// kinds counts errors by kind; beyond kindsMax different ones they are "other".
type kinds struct {
	mu sync.Mutex
	n  map[string]uint64 // guarded by mu
}

const kindsMax = 32

func (k *kinds) count(kind string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.n == nil {
		k.n = map[string]uint64{}
	}
	if _, known := k.n[kind]; !known && len(k.n) >= kindsMax {
		kind = "other"
	}
	k.n[kind]++
}

package fakestripe

import (
	"bytes"
	"net/http"
	"time"
)

// replay is the answer kept for an idempotency key. Stripe.mu guards it.
type replay struct {
	at     time.Time
	path   string
	body   []byte
	answer *answer
}

// replayed answers a repetition from what was kept, or does the call and keeps its answer. The stream does not take
// part: its events have identifiers.
func (s *Stripe) replayed(c *call, do func(*call) *answer) *answer {
	key := c.header.Get("Idempotency-Key")
	if key == "" || c.method != http.MethodPost || c.endpoint == Stream {
		return do(c)
	}
	if len(key) > idempotencyKeyMax {
		return badParam("idempotency_key_too_long", "", "An idempotency key has at most %d characters.", idempotencyKeyMax)
	}
	scope, keep := "v1 "+key, replayFor
	if c.version == v2 {
		scope, keep = "v2 "+key, replayForV2
	}
	a := c.account
	if r := a.replays[scope]; r != nil && s.now().Sub(r.at) < keep {
		if r.path != c.path || !bytes.Equal(r.body, c.body) {
			f := failure{Type: "idempotency_error", Message: "The key was used with other parameters."}
			if c.version == v2 {
				f.Code = "idempotency_error"
			}
			return failed(http.StatusBadRequest, f)
		}
		a.tally.replays++
		again := *r.answer
		again.header, again.events = nil, tallyOfRequest{}
		return again.with("Idempotent-Replayed", "true")
	}
	got := do(c)
	kept := got
	if c.version == v1 {
		kept = c.fault.Kind.kept(got)
	}
	if kept.status < 300 || c.version == v1 && kept.status >= 500 {
		s.keep(a, scope, &replay{at: s.now(), path: c.path, body: c.body, answer: kept})
	}
	return got
}

// kept: v1 keeps the 500 of a request that it began to execute, and gives it again for a day.
func (k Kind) kept(truth *answer) *answer {
	if k == ErrorAfter {
		return k.after(truth)
	}
	return truth
}

func (s *Stripe) keep(a *account, scope string, r *replay) {
	if a.replays[scope] == nil {
		a.replayed = append(a.replayed, scope)
	}
	a.replays[scope] = r
	if len(a.replayed) > idempotencyKeysMax {
		delete(a.replays, a.replayed[0])
		a.replayed = a.replayed[1:]
	}
}

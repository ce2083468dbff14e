package fakestripe

import (
	"fmt"
	"slices"
	"time"
)

// Kind is what goes wrong with a request.
type Kind string

// The kinds. What is applied before the fault strikes is what the name says: what a client may never conclude from the
// lack of an answer.
const (
	None               Kind = "none"                 // nothing goes wrong: a place in a script
	Slow               Kind = "slow"                 // answered after For
	HangBefore         Kind = "hang_before"          // nothing for For, or until Release; applied only if the client is still there
	HangAfter          Kind = "hang_after"           // applied, and no answer for For, or until Release
	Late               Kind = "late"                 // no answer, and applied after For, whether or not the client is still there
	ResetBeforeReading Kind = "reset_before_reading" // the connection is closed before the body is read
	ResetBefore        Kind = "reset_before"         // read, not applied, closed
	ResetPartly        Kind = "reset_partly"         // the first half of a stream's events is applied, then closed
	ResetAfter         Kind = "reset_after"          // applied, closed
	Truncated          Kind = "truncated"            // applied, closed after half of the answer
	ErrorBefore        Kind = "error_before"         // 500, not applied
	ErrorPartly        Kind = "error_partly"         // 500, the first half of a stream's events is applied
	ErrorAfter         Kind = "error_after"          // 500, applied
	Unavailable        Kind = "unavailable"          // 503, not applied
	BadGateway         Kind = "bad_gateway"          // 502 with a page in HTML, not applied
	BadGatewayAfter    Kind = "bad_gateway_after"    // the same, applied
	Garbage            Kind = "garbage"              // applied, 200 and a page in HTML
	Empty              Kind = "empty"                // applied, 200 without a body
	RateLimited        Kind = "rate_limited"         // 429 with a reason, not applied
	LockTimeout        Kind = "lock_timeout"         // 429 with code lock_timeout and without a reason, not applied
	ExpireSession      Kind = "expire_session"       // the stream's session ends now: 401, now and later
	BadKey             Kind = "bad_key"              // 401 as if the key or token were unknown, this once
)

// Kinds are all of them, in the order above.
var Kinds = []Kind{
	None, Slow, HangBefore, HangAfter, Late, ResetBeforeReading, ResetBefore, ResetPartly, ResetAfter, Truncated, ErrorBefore,
	ErrorPartly, ErrorAfter, Unavailable, BadGateway, BadGatewayAfter, Garbage, Empty, RateLimited, LockTimeout, ExpireSession, BadKey,
}

// Fault says which requests a kind befalls. The first fault in the order of Inject that befalls a request is the only one.
type Fault struct {
	Kind     Kind          `json:"kind"`
	Endpoint Endpoint      `json:"endpoint,omitempty"` // empty: all
	Business string        `json:"business,omitempty"` // empty: all
	Skip     int           `json:"skip,omitempty"`     // so many matching requests pass first
	Times    int           `json:"times,omitempty"`    // so many times; 0: until ClearFaults
	Chance   float64       `json:"chance,omitempty"`   // by Config.Random, for each matching request; 0: always
	For      time.Duration `json:"for,omitempty"`      // of the kinds that wait; in JSON nanoseconds
}

// armed is a fault and what is left of it.
type armed struct {
	Fault
	skip, times int
}

// Inject adds faults behind those that are set.
func (s *Stripe) Inject(faults ...Fault) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.faults)+len(faults) > faultsMax {
		return fmt.Errorf("fakestripe: more than %d faults", faultsMax)
	}
	for _, f := range faults {
		if !slices.Contains(Kinds, f.Kind) {
			return fmt.Errorf("fakestripe: %q is no kind of fault", f.Kind)
		}
	}
	for _, f := range faults {
		s.faults = append(s.faults, &armed{Fault: f, skip: f.Skip, times: f.Times})
	}
	return nil
}

// Script says what befalls the next requests at an endpoint, one each; None lets one pass.
func (s *Stripe) Script(e Endpoint, kinds ...Kind) error {
	faults := make([]Fault, len(kinds))
	for i, k := range kinds {
		faults[i] = Fault{Kind: k, Endpoint: e, Times: 1}
	}
	return s.Inject(faults...)
}

// ClearFaults takes away all faults. Requests that wait go on waiting; see Release.
func (s *Stripe) ClearFaults() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = nil
}

// Release ends the waiting of all requests that hang.
func (s *Stripe) Release() {
	s.mu.Lock()
	defer s.mu.Unlock()
	close(s.released)
	s.released = make(chan struct{})
}

// Pending is how many faults of a bounded number have not struck yet: a script is over when it is 0.
func (s *Stripe) Pending() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for _, f := range s.faults {
		n += f.times
	}
	return n
}

// LateRequests is how many requests will still be applied, by Late.
func (s *Stripe) LateRequests() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.late
}

// strike picks the fault of a request and uses it up.
func (s *Stripe) strike(e Endpoint, business string) Fault {
	for i, f := range s.faults {
		if f.Endpoint != "" && f.Endpoint != e || f.Business != "" && f.Business != business {
			continue
		}
		if f.skip > 0 {
			f.skip--
			continue
		}
		if f.Chance > 0 && s.cfg.Random.Float64() >= f.Chance {
			continue
		}
		if f.Times > 0 {
			if f.times--; f.times == 0 {
				s.faults = slices.Delete(s.faults, i, i+1)
			}
		}
		return f.Fault
	}
	return Fault{Kind: None}
}

// before is the answer of the kinds that refuse a request without looking at it.
func (k Kind) before(v version) *answer {
	switch k {
	case ResetBefore:
		return &answer{cut: true, code: string(k)}
	case ErrorBefore:
		return serverError(500, "internal_error", "Something went wrong.")
	case Unavailable:
		return serverError(503, "service_unavailable", "Try again.").with("Stripe-Should-Retry", "true")
	case BadGateway:
		return page(502, "502 Bad Gateway")
	case RateLimited:
		return rateLimited(v, "endpoint-rate")
	case LockTimeout:
		return lockTimeout(v)
	case BadKey:
		return badKey(v)
	}
	return nil
}

// after is what the client gets instead of the true answer.
func (k Kind) after(truth *answer) *answer {
	var a *answer
	switch k {
	case ResetAfter, ResetPartly:
		a = &answer{cut: true}
	case Truncated:
		a = &answer{status: truth.status, header: truth.header, body: truth.body, cut: true}
	case ErrorAfter, ErrorPartly:
		a = serverError(500, "internal_error", "Something went wrong.")
	case BadGatewayAfter:
		a = page(502, "502 Bad Gateway")
	case Garbage:
		a = page(200, "Welcome")
	case Empty:
		a = &answer{status: 200}
	default:
		return truth
	}
	a.code, a.events = string(k), truth.events
	return a
}

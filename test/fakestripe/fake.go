package fakestripe

import (
	"fmt"
	"strings"
	"sync"
	"time"
)

// An Account is one business in one of its two modes, which share nothing.
type Account struct {
	Business string `json:"business"`
	Live     bool   `json:"livemode"`
}

// Stripe is the fake. It is an http.Handler.
type Stripe struct {
	cfg Config

	mu       sync.Mutex // guards everything below, and is never held while a fault waits
	jumped   time.Duration
	limits   Limits
	keys     map[string]Account
	accounts map[Account]*account
	sessions map[string]*session // by token
	faults   []*armed
	released chan struct{} // closed by Release, then replaced
	late     int           // requests that will be applied later
	kept     int           // events kept, over all accounts
	ids      int64         // how many ids were given
	log      requestLog
}

// account is what the fake knows of one Account. Stripe.mu guards it.
type account struct {
	Account
	meters    []*meter // oldest first
	byName    map[string]*meter
	byID      map[string]*meter
	events    map[eventKey]*event
	order     []*event // as first received
	settling  []*event // counted, and not shown by summaries yet; by receipt
	replays   map[string]*replay
	replayed  []string // the keys of replays, oldest first
	inFlight  int
	rate      window // events, by all ways
	rateV1    window
	rateV2    window
	rateCalls window
	counts    map[string]int64
	tally     tally
}

// New returns a fake with the accounts of the keys and no meters.
func New(cfg Config) *Stripe {
	cfg = cfg.withDefaults()
	s := &Stripe{
		cfg: cfg, limits: cfg.Limits, keys: make(map[string]Account), accounts: make(map[Account]*account),
		sessions: make(map[string]*session), released: make(chan struct{}), log: requestLog{max: cfg.RequestsMax},
	}
	for key, business := range cfg.Keys {
		s.keys[key] = Account{Business: business, Live: strings.HasPrefix(key, "sk_live_") || strings.HasPrefix(key, "rk_live_")}
	}
	return s
}

// of returns an account's state, made at its first use: the keys bound how many there are.
func (s *Stripe) of(a Account) *account {
	got := s.accounts[a]
	if got == nil {
		got = &account{
			Account: a, byName: make(map[string]*meter), byID: make(map[string]*meter), events: make(map[eventKey]*event),
			replays: make(map[string]*replay), counts: make(map[string]int64),
		}
		s.accounts[a] = got
	}
	return got
}

// now is the fake's clock.
func (s *Stripe) now() time.Time { return s.cfg.Now().Add(s.jumped).UTC() }

// id gives a new one: mtr_test_0001 and so on. They rise, so that a test's output is the same every time.
func (s *Stripe) id(prefix string, live bool) string {
	s.ids++
	mode := "test_"
	if live {
		mode = ""
	}
	return fmt.Sprintf("%s_%s%08d", prefix, mode, s.ids)
}

// Jump moves the fake's clock, and that of nothing else, by d from now on. Backwards is possible.
func (s *Stripe) Jump(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.jumped += d
}

// SetLimits replaces the limits; 0 in a field is what is documented.
func (s *Stripe) SetLimits(l Limits) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.limits = l.withDefaults()
}

// Restart forgets what a process would keep in memory: sessions, saved answers, what is in flight of rates. What was
// counted stays. Tokens from before are answered 401 as unknown.
func (s *Stripe) Restart() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.sessions)
	for _, a := range s.accounts {
		clear(a.replays)
		a.replayed = nil
		for _, w := range []*window{&a.rate, &a.rateV1, &a.rateV2, &a.rateCalls} {
			*w = window{max: w.max}
		}
	}
}

// RevokeSessions ends every session of an account before its time: the next use of it is answered 401 as expired.
func (s *Stripe) RevokeSessions(a Account) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, each := range s.sessions {
		if each.account == a {
			each.expires = time.Time{}
		}
	}
}

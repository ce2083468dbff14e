package fakestripe

import (
	"math/rand/v2"
	"time"
)

// Config says what the fake is. The zero value serves no key.
type Config struct {
	// Keys are the secret keys and the business that each belongs to. sk_live_… and rk_live_… are live, others test.
	Keys map[string]string
	// Now is the clock before jumps; nil is time.Now, which synctest replaces.
	Now func() time.Time
	// Random decides faults that have a chance; nil is a generator with a fixed seed. It is used under the lock.
	Random *rand.Rand

	// SessionTTL is how long a session lives; 0 is 15 minutes. SessionGrace is how much longer its token is taken.
	SessionTTL, SessionGrace time.Duration
	// DuplicateWindow is how long an identifier is remembered from its receipt; 0 is 24 hours.
	DuplicateWindow time.Duration
	// PerMeter makes an identifier unique in its meter; otherwise it is in the account, the harsher reading.
	PerMeter bool
	// RefuseSecondCancel answers 400 to the cancellation of what is cancelled. Nothing is documented.
	RefuseSecondCancel bool
	// StrictSummaries refuses ungrouped ranges that do not lie on minutes instead of widening them.
	StrictSummaries bool
	// SettleAfter is how long a summary does not show an event that was received. Totals shows it at once.
	SettleAfter time.Duration
	// Latency is how long every answer takes.
	Latency time.Duration
	// Limits are the limits at the start; see SetLimits.
	Limits Limits

	// EventsMax is how many identifiers are kept, over all accounts; 0 is 2 million, some 400 bytes each.
	EventsMax int
	// RequestsMax is how many requests the log keeps, the newest; 0 is 10,000.
	RequestsMax int
}

// Limits are what is taken in any one second. 0 is what is documented, negative is no limit.
type Limits struct {
	BusinessEvents int `json:"business_events"` // by all ways, of one account: 100,000
	SessionEvents  int `json:"session_events"`  // by the stream, of one session: 10,000
	SyncEvents     int `json:"sync_events"`     // by v1 and by v2 meter_events, each, of one account: 1,000
	Calls          int `json:"calls"`           // of all other endpoints together, of one account: 100
	Concurrent     int `json:"concurrent"`      // requests at once of one account: no limit
}

// Bounds of what an account may keep; what is beyond is answered with 503, or the oldest is forgotten.
const (
	sessionsMax        = 100_000
	metersMax          = 10_000
	idempotencyKeysMax = 100_000
	faultsMax          = 10_000
	samplesMax         = 100
	bodyBytesMax       = 4 << 20
)

// What Stripe's reference says about one event, and, where it is silent (the sizes of a payload), what docs/COMPATIBILITY.md
// rules.
const (
	eventsPerRequest  = 100
	nameBytesMax      = 100
	payloadKeysMax    = 50
	payloadKeyMax     = 100
	payloadValueMax   = 500
	displayNameMax    = 250
	idempotencyKeyMax = 255
	digitsMax         = 15
	pastMax           = 35 * 24 * time.Hour
	futureMax         = 5 * time.Minute
	cancelWindow      = 24 * time.Hour
	replayFor         = 24 * time.Hour      // v1's saved answers
	replayForV2       = 30 * 24 * time.Hour // v2's
)

func (c Config) withDefaults() Config {
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Random == nil {
		c.Random = rand.New(rand.NewPCG(1, 1))
	}
	or := func(d *time.Duration, otherwise time.Duration) {
		if *d == 0 {
			*d = otherwise
		}
	}
	or(&c.SessionTTL, 15*time.Minute)
	or(&c.DuplicateWindow, 24*time.Hour)
	if c.EventsMax == 0 {
		c.EventsMax = 2_000_000
	}
	if c.RequestsMax == 0 {
		c.RequestsMax = 10_000
	}
	c.Limits = c.Limits.withDefaults()
	return c
}

func (l Limits) withDefaults() Limits {
	or := func(n *int, otherwise int) {
		if *n == 0 {
			*n = otherwise
		}
	}
	or(&l.BusinessEvents, 100_000)
	or(&l.SessionEvents, 10_000)
	or(&l.SyncEvents, 1_000)
	or(&l.Calls, 100)
	or(&l.Concurrent, -1)
	return l
}

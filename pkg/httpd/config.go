package httpd

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"time"

	"tollgate/internal/metrics"
	"tollgate/pkg/auth"
)

// Config is what a Server is made of. Fields without a word about their zero value must be set.
type Config struct {
	// Sessions holds the API keys and signing keys in force. Who replaces them calls Sessions.Update; the next
	// request is judged by the new ones.
	Sessions *auth.Sessions
	// Ingest takes the events.
	Ingest Ingester
	// Control keeps the meters.
	Control Control
	// Opened knows the sessions that were opened with an Idempotency-Key.
	Opened Opened
	// Usage knows what became of events.
	Usage Usage
	// Events holds thin events.
	Events Events
	// Webhooks delivers them.
	Webhooks Webhooks
	// AllowNetworks are the networks, not public, that destinations may be in; as webhook.Config has them.
	AllowNetworks []netip.Prefix
	// KafkaTopics says whether an event destination may name a topic; nil: none may.
	KafkaTopics func(topic string) bool
	// Policy holds limits and spread meters; nil means the defaults for everybody. See SetPolicy.
	Policy *Policy

	// SessionExpiredStatus is the status of an expired session: 401 as Stripe documents it, or 400 for fleets of
	// stripe-node 17 to 20, which know the refusal only by that. 0 means 401.
	SessionExpiredStatus int
	// CoerceNumbers accepts JSON integers as payload values, Lenient ignores unknown properties; see meterevent.Options.
	CoerceNumbers, Lenient bool

	// BodyBytesMax bounds a request body, as sent and decompressed; 0 means 1 MiB.
	BodyBytesMax int
	// BodiesBytesMax bounds the memory of the bodies that are arriving on all connections together. One that does not fit
	// a connection's buffer takes a buffer of 64 KiB and HeadBytesMax; one over 64 KiB takes BodyBytesMax, as do one in
	// chunks over 32 KiB and one that is decompressed. A request over the bound is answered 503, but one
	// up to 32 KiB that is not compressed is taken all the same: the number of connections bounds those. 0 means 256 MiB.
	BodiesBytesMax int64
	// HeadBytesMax bounds request line and headers; 0 means 16 KiB. A connection holds a buffer of that size and
	// 4 KiB while a request arrives; over TLS while it waits as well.
	HeadBytesMax int
	// ConnsMax bounds open connections; over it a connection is answered 503 and closed. 0 means 16,384.
	ConnsMax int
	// ConnsPerIPMax bounds the connections from one address; 0 means no bound but ConnsMax, which suits a gateway
	// behind a proxy.
	ConnsPerIPMax int
	// SessionBuckets is how many sessions may be in debt to their rate limit at the same moment; 0 means 65,536, which
	// costs about 1 MiB. A session beyond it is bounded by its business's limit alone.
	SessionBuckets int

	// HeadTimeout is how long a request's head may take, 0 means 10 s; so long may a new connection be silent.
	HeadTimeout time.Duration
	// BodyTimeout is how long a body may take beyond what its size at BodyRateMin takes; 0 means 10 s.
	BodyTimeout time.Duration
	// BodyRateMin is in bytes a second; 0 means 16 KiB, so that the largest body has 74 s.
	BodyRateMin int
	// IdleTimeout is how long a connection may wait for its next request; 0 means 75 s, longer than the 60 s of
	// common load balancers, so that they close first.
	IdleTimeout time.Duration
	// WriteTimeout is how long a client may take to accept an answer; 0 means 10 s.
	WriteTimeout time.Duration

	// ControlWaitMax is how long a request waits for the control log, to be read to its end or to decide about a change;
	// 0 means 5 s.
	ControlWaitMax time.Duration
	// SessionWaitMax is how long opening a session with an Idempotency-Key waits for the log, before the session is
	// answered all the same and known here alone; 0 means 1 s.
	SessionWaitMax time.Duration
	// UsageWaitMax is how long a request waits for totals, or for the verdict on its event; 0 means 10 s.
	UsageWaitMax time.Duration

	// EventsWaitMax is how long a request waits for the events topic, to be read to its end or to take an event; 0 means
	// 5 s.
	EventsWaitMax time.Duration

	// Now is the clock; nil means time.Now.
	Now func() time.Time
	// Random seeds the generators of ids and identifiers when a Server is made, and gives signing secrets, one at a time;
	// nil means crypto/rand.
	Random io.Reader
	// Metrics may be nil.
	Metrics *metrics.Registry
	// Notify is called with what a person should know; nil means nobody. It must not block.
	Notify func(Notice)
}

// Notice is something that happened to the server itself, not to one request.
type Notice struct {
	// What happened, in words.
	What string
	// Err is the cause, or nil.
	Err error
	// Stack is set when a handler panicked.
	Stack []byte
}

func (c Config) withDefaults() Config {
	setDefault(&c.SessionExpiredStatus, http.StatusUnauthorized)
	setDefault(&c.BodyBytesMax, 1<<20)
	setDefault(&c.BodiesBytesMax, 256<<20)
	setDefault(&c.HeadBytesMax, 16<<10)
	setDefault(&c.ConnsMax, 16<<10)
	setDefault(&c.SessionBuckets, 1<<16)
	setDefault(&c.HeadTimeout, 10*time.Second)
	setDefault(&c.BodyTimeout, 10*time.Second)
	setDefault(&c.BodyRateMin, 16<<10)
	setDefault(&c.IdleTimeout, 75*time.Second)
	setDefault(&c.WriteTimeout, 10*time.Second)
	setDefault(&c.ControlWaitMax, 5*time.Second)
	setDefault(&c.SessionWaitMax, time.Second)
	setDefault(&c.UsageWaitMax, 10*time.Second)
	setDefault(&c.EventsWaitMax, 5*time.Second)
	if c.Policy == nil {
		c.Policy = &Policy{}
	}
	if c.Random == nil {
		c.Random = rand.Reader
	}
	if c.Notify == nil {
		c.Notify = func(Notice) {}
	}
	if c.KafkaTopics == nil {
		c.KafkaTopics = func(string) bool { return false }
	}
	return c
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// now asks the clock. A request's own time is the library's where Config.Now is nil, see Server.handle.
func (c *Config) now() time.Time {
	if c.Now != nil {
		return c.Now()
	}
	return time.Now()
}

func (c Config) validate() error {
	switch {
	case c.Sessions == nil || c.Ingest == nil || c.Control == nil || c.Opened == nil || c.Usage == nil || c.Events == nil || c.Webhooks == nil:
		return errors.New("httpd: Sessions, Ingest, Control, Opened, Usage, Events and Webhooks must be set")
	case c.SessionExpiredStatus != http.StatusUnauthorized && c.SessionExpiredStatus != http.StatusBadRequest:
		return fmt.Errorf("httpd: the status of an expired session is %d; it must be 401 or 400", c.SessionExpiredStatus)
	case c.BodyBytesMax < 1 || c.BodyBytesMax > 1<<26:
		return fmt.Errorf("httpd: the largest body is %d bytes; it must be between 1 and 64 MiB", c.BodyBytesMax)
	case c.BodiesBytesMax < int64(c.BodyBytesMax):
		return fmt.Errorf("httpd: all bodies together may have %d bytes, which is less than one may have (%d)", c.BodiesBytesMax, c.BodyBytesMax)
	case c.HeadBytesMax < 1<<10 || c.HeadBytesMax > 1<<20:
		return fmt.Errorf("httpd: the largest head is %d bytes; it must be between 1 KiB and 1 MiB", c.HeadBytesMax)
	case c.ConnsMax < 1 || c.ConnsPerIPMax < 0 || c.BodyRateMin < 1:
		return fmt.Errorf("httpd: connections %d, connections of one address %d, slowest rate %d B/s: none may be negative, and only the second 0",
			c.ConnsMax, c.ConnsPerIPMax, c.BodyRateMin)
	case c.SessionBuckets < 1 || c.SessionBuckets > 1<<26:
		return fmt.Errorf("httpd: session buckets %d; it must be between 1 and %d", c.SessionBuckets, 1<<26)
	case min(c.HeadTimeout, c.BodyTimeout, c.IdleTimeout, c.WriteTimeout,
		c.ControlWaitMax, c.SessionWaitMax, c.UsageWaitMax, c.EventsWaitMax) < time.Millisecond:
		return errors.New("httpd: timeouts must be positive")
	}
	return nil
}

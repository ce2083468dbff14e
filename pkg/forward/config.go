package forward

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"tollgate/internal/metrics"
	"tollgate/pkg/commitlog"
	"tollgate/pkg/control"
	"tollgate/pkg/recordbatch"
	"tollgate/pkg/thinevent"
	"tollgate/pkg/usage"
)

// Mode is which of Stripe's endpoints takes the events.
type Mode string

// The modes. Stream is /v2/billing/meter_event_stream, V1 is /v1/billing/meter_events.
const (
	Stream Mode = "stream"
	V1     Mode = "v1"
)

// View is what a Forwarder asks of the worker about a partition; a *usage.View is one.
type View interface {
	Wait(ctx context.Context, offset int64) error
	Each(records []recordbatch.Record, do func(rec *recordbatch.Record, o *usage.Ruling)) error
}

// Control is what mirroring asks of the control plane; a *control.Control is one.
type Control interface {
	CaughtUp(ctx context.Context) error
	Snapshot() *control.Snapshot
	Propose(ctx context.Context, change control.Change) (control.Verdict, error)
}

// Events takes the alarm; a *thinevent.Store is one.
type Events interface {
	Append(ctx context.Context, events ...*thinevent.Event) error
}

// Business is an account whose events are forwarded. Its key says whether live or test mode is.
type Business struct {
	StripeKey string // secret or restricted; never printed
	// APIBase and MeterEventsBase are URLs. "": Stripe's own.
	APIBase, MeterEventsBase string
	// EventsPerSecond is the account's limit, below which this process stays. 0: 10,000.
	EventsPerSecond int
	// Since leaves out what was received before. Zero: everything that the log holds is sent.
	Since time.Time
}

// Config is a forwarder's configuration. Fields say their default.
type Config struct {
	Log          commitlog.Log
	UsageTopic   string
	CursorsTopic string // compacted
	DeadTopic    string // of dead letters
	Businesses   map[string]Business
	Mode         Mode          // "": Stream
	Rollup       time.Duration // of the windows that are sent as one event; 0: each event by itself
	Control      Control       // for MirrorMeters and Reconcile; nil: neither
	MirrorMeters bool
	Events       Events // takes the alarm as an event; nil: metrics alone
	// Unlogged says what this process has acknowledged before a time that is not in the log yet, as in a spill; "": nothing.
	// nil: there never is any.
	Unlogged                       func(before time.Time) string
	Gateway                        string // names this life of this process
	RangeEvents                    int    // events of a range at most, two of which bound what is sent again after a crash. 0: 5,000
	QueueEvents                    int    // events that wait in memory for a lane. 0: 10,000
	QueueBytes                     int    // their bytes. 0: 8 MiB
	QueuesBytes                    int    // those of all lanes together, beyond which lanes are left behind. 0: 256 MiB
	InFlight                       int    // requests of a business at once. 0: 32
	ReadersBehind                  int    // lanes that read by themselves at once. 0: 4
	RequestTimeout                 time.Duration
	ResendMax                      time.Duration // after the first try; Stripe keeps identifiers for 24 h. 0: 23 h
	AgeMax                         time.Duration // of an event by its own time. 0: 35 days less 2 minutes
	BackoffMin, BackoffMax         time.Duration // between tries. 0: 200 ms, 30 s
	AtRiskReceived, AtRiskHappened time.Duration // ages that raise the alarm. 0: 20 h, 34 days
	MirrorEvery                    time.Duration // 0: 1 minute

	// Transport carries all requests. nil: one of its own like http.DefaultTransport; see ownTransport.
	Transport http.RoundTripper
	Now       func() time.Time // nil: time.Now
	// Random fills bytes for jitter and idempotency keys. nil: crypto/rand.
	Random  func([]byte)
	Metrics *metrics.Registry // may be nil
	Notify  func(Notice)      // must not block. nil: nobody is told
}

// What says what a Notice is about.
type What string

// The notices.
const (
	Blocked    What = "blocked"    // Stripe refuses the business: its key, or everything
	GoesOn     What = "goes on"    // after that
	Gap        What = "gap"        // retention took records before they were sent
	SetAside   What = "set aside"  // a dead letter was written
	Superseded What = "superseded" // another gateway has taken the lane up
	AtRisk     What = "at risk"
	Mirrored   What = "mirrored" // a meter was created here as it is at Stripe
	Differs    What = "differs"  // a meter here is not what Stripe's of that name is
	Faulty     What = "fault"
)

// Notice is what a person should know.
type Notice struct {
	What     What
	Business string
	Detail   string
	Err      error
}

func (n Notice) String() string {
	if n.Err != nil {
		return fmt.Sprintf("%s: %s: %s: %v", n.Business, n.What, n.Detail, n.Err)
	}
	return fmt.Sprintf("%s: %s: %s", n.Business, n.What, n.Detail)
}

func defaultTo[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

func (c Config) withDefaults() Config {
	defaultTo(&c.Mode, Stream)
	defaultTo(&c.Gateway, "gateway")
	defaultTo(&c.RangeEvents, 5_000)
	defaultTo(&c.QueueEvents, 10_000)
	defaultTo(&c.QueueBytes, 8<<20)
	defaultTo(&c.QueuesBytes, 256<<20)
	defaultTo(&c.InFlight, 32)
	defaultTo(&c.ReadersBehind, 4)
	defaultTo(&c.RequestTimeout, 20*time.Second)
	defaultTo(&c.ResendMax, 23*time.Hour)
	defaultTo(&c.AgeMax, 35*24*time.Hour-2*time.Minute)
	defaultTo(&c.BackoffMin, 200*time.Millisecond)
	defaultTo(&c.BackoffMax, 30*time.Second)
	defaultTo(&c.AtRiskReceived, 20*time.Hour)
	defaultTo(&c.AtRiskHappened, 34*24*time.Hour)
	defaultTo(&c.MirrorEvery, time.Minute)
	if c.Transport == nil {
		c.Transport = ownTransport(http.DefaultTransport.(*http.Transport).Clone(), c.InFlight*len(c.Businesses))
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Random == nil {
		c.Random = func(b []byte) { rand.Read(b) }
	}
	if c.Notify == nil {
		c.Notify = func(Notice) {}
	}
	businesses := make(map[string]Business, len(c.Businesses))
	for name, b := range c.Businesses {
		defaultTo(&b.APIBase, "https://api.stripe.com")
		defaultTo(&b.MeterEventsBase, "https://meter-events.stripe.com")
		defaultTo(&b.EventsPerSecond, 10_000)
		b.APIBase, b.MeterEventsBase = strings.TrimRight(b.APIBase, "/"), strings.TrimRight(b.MeterEventsBase, "/")
		businesses[name] = b
	}
	c.Businesses = businesses
	return c
}

// pause is that before the next attempt, which doubles.
func (c *Config) pause(attempts int) time.Duration {
	if d := c.BackoffMin << min(attempts, 20); d > 0 {
		return min(d, c.BackoffMax)
	}
	return c.BackoffMax
}

func (c *Config) validate() error {
	switch {
	case c.Log == nil || c.UsageTopic == "" || c.CursorsTopic == "" || c.DeadTopic == "":
		return errors.New("forward: Log, UsageTopic, CursorsTopic and DeadTopic are required")
	case c.Mode != Stream && c.Mode != V1:
		return fmt.Errorf("forward: the mode is %q, and stream and v1 are known", c.Mode)
	case c.Rollup < 0 || c.Rollup > 24*time.Hour || c.Rollup%time.Second != 0:
		return fmt.Errorf("forward: Rollup is %v; whole seconds up to a day are possible", c.Rollup)
	case c.ResendMax >= 24*time.Hour:
		return fmt.Errorf("forward: ResendMax is %v, and Stripe keeps identifiers for 24 h", c.ResendMax)
	case c.MirrorMeters && c.Control == nil:
		return errors.New("forward: MirrorMeters needs Control")
	}
	for name, b := range c.Businesses {
		if b.StripeKey == "" || b.EventsPerSecond < 0 {
			return fmt.Errorf("forward: %s has no key, or a rate below 0", name)
		}
	}
	return nil
}

// Livemode says which mode a key of Stripe's is of.
func Livemode(key string) bool {
	return strings.HasPrefix(key, "sk_live_") || strings.HasPrefix(key, "rk_live_")
}

// scope is a business in one mode.
type scope struct {
	business string
	live     bool
}

func (s scope) String() string {
	if s.live {
		return s.business + "/livemode"
	}
	return s.business + "/testmode"
}

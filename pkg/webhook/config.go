package webhook

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"tollgate/internal/metrics"
	"tollgate/pkg/commitlog"
	"tollgate/pkg/control"
	"tollgate/pkg/thinevent"
)

// Bounds of one destination and of all together.
const (
	// triesMax is how many tries of one destination run at once. failingTriesMax is how many of one whose last failingRun
	// tries all failed: what hangs shall not hold many connections, and what comes back shall not be met by a crowd.
	triesMax, failingTriesMax, failingRun = 8, 1, 8
	// waitingMax is how many deliveries of a destination may wait. Beyond it no new events are taken up: the log keeps them.
	waitingMax = 10_000
	// waitingTotalMax is how many may wait in all. Beyond it a destination takes up new events only while fewer than
	// waitingShare of its own wait.
	waitingTotalMax, waitingShare = 100_000, 100
	// unwrittenMax is how many outcomes of a destination may be unknown to the cursors topic. Beyond it nothing is tried:
	// all of them would be tried again by who takes over.
	unwrittenMax = 1_000
	// outcomesMax and writeEvery say when outcomes are written: at so many, or when the oldest is that old.
	outcomesMax, writeEvery = 100, 200 * time.Millisecond
	// cursorEvery is how often a cursor is written that passed only events which the destination does not want.
	cursorEvery = 30 * time.Second
	// lifeMax is how long after its first try a delivery is given up, whatever the schedule says. As at Stripe.
	lifeMax = 72 * time.Hour
	// retryAfterMax is the most that an endpoint can ask for by Retry-After.
	retryAfterMax = 12 * time.Hour
	// errorBytesMax is the length of what is kept of a failure.
	errorBytesMax = 200
)

const (
	defaultAutoDisableAfter = 72 * time.Hour
	defaultAttemptMax       = 10 * time.Second
)

// The pauses of contract and reference: live for three days, test mode three tries in all.
var (
	defaultLiveSchedule = []time.Duration{
		time.Minute, 5 * time.Minute, 30 * time.Minute, 2 * time.Hour, 5 * time.Hour, 10 * time.Hour,
		12 * time.Hour, 12 * time.Hour, 12 * time.Hour, 12 * time.Hour,
	}
	defaultTestSchedule = []time.Duration{time.Minute, 2 * time.Hour}
)

// Control is what is asked of the control plane; a *control.Control is one.
type Control interface {
	Snapshot() *control.Snapshot
	CaughtUp(ctx context.Context) error
	Propose(ctx context.Context, change control.Change) (control.Verdict, error)
}

// Events is what is asked of the events; a *thinevent.Store is one.
type Events interface {
	CaughtUp(ctx context.Context) error
	From(offset int64, limit int) (events []*thinevent.Event, next int64, err error)
	At(offset int64) (*thinevent.Event, error)
	Get(business string, livemode bool, id string) (*thinevent.Event, error)
	Since(createdMs int64) (offset int64, err error)
	Changed() <-chan struct{}
}

// Config is what a Courier works with. Log, the topics, Group, Gateway, Control and Events have no default.
type Config struct {
	Log          commitlog.Log
	EventsTopic  string // whose group decides which gateway delivers
	CursorsTopic string // where it is kept what was delivered
	Group        string // of the gateways that share the delivering
	Gateway      string // this process's name among all, new for each start
	Control      Control
	Events       Events

	// AllowNetworks may be connected to although they are private, loopback, link-local or otherwise not public.
	AllowNetworks []netip.Prefix
	// AutoDisableAfter is how long nothing but failure disables a destination. 0: 72 h; negative: never.
	AutoDisableAfter time.Duration
	// AttemptMax is how long one try may take. 0: 10 s.
	AttemptMax time.Duration
	// LiveSchedule and TestSchedule are the pauses between the tries of one event, in live and in test mode: with n of them
	// an event is tried n+1 times, and never later than 72 h after its first try: a pause that would end later ends then.
	// nil: 1 m, 5 m, 30 m, 2 h, 5 h, 10 h and four times 12 h; 1 m and 2 h. Each pause is up to a tenth shorter or longer.
	LiveSchedule, TestSchedule []time.Duration

	// Dial connects to an endpoint; nil is a net.Dialer, which looks at each address that a name leads to before it
	// connects. With another one a literal address is looked at before it is called, what it has connected to afterwards.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// TLS is for endpoints; nil trusts what the system trusts.
	TLS *tls.Config

	// Now is the clock of schedules and signatures; nil is time.Now.
	Now func() time.Time
	// Random fills b: jitter and the names of resends. nil is crypto/rand. It is called by many goroutines at once.
	Random func(b []byte)
	// Metrics is where this package's metrics are exported; nil exports none.
	Metrics *metrics.Registry
	// Notify is told what a person should know, each thing of each destination once a minute at most; nil tells nobody. It
	// must not block.
	Notify func(Notice)
}

// Notice is something that a person should know of.
type Notice struct {
	// What is one of the Notice constants.
	What string
	// Destination is the id of the one that it is about; empty: all.
	Destination string
	// Count is how many deliveries a NoticeGivenUp is about.
	Count int
	Err   error
}

// The kinds of notices.
const (
	// NoticeGivenUp: deliveries were tried for the last time and failed. Err is the last failure.
	NoticeGivenUp = "given up"
	// NoticeDisabled: a destination was disabled because nothing but failure had come of it. Err is the last failure.
	NoticeDisabled = "disabled"
	// NoticeStartedOver: the events topic ends before where a destination was, so that it is another topic. The destination
	// gets what that one holds of the time since it was enabled.
	NoticeStartedOver = "started over with the oldest event"
	// NoticeFault: what is delivered can not be read or written now. It is tried again.
	NoticeFault = "fault"
)

func (c Config) withDefaults() Config {
	if c.AutoDisableAfter == 0 {
		c.AutoDisableAfter = defaultAutoDisableAfter
	}
	if c.AttemptMax == 0 {
		c.AttemptMax = defaultAttemptMax
	}
	if c.LiveSchedule == nil {
		c.LiveSchedule = defaultLiveSchedule
	}
	if c.TestSchedule == nil {
		c.TestSchedule = defaultTestSchedule
	}
	if c.Dial == nil {
		c.Dial = (&net.Dialer{ControlContext: checkBeforeConnect}).DialContext
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Random == nil {
		c.Random = func(b []byte) { _, _ = rand.Read(b) } // never fails: the runtime ends the process instead
	}
	if c.Notify == nil {
		c.Notify = func(Notice) {}
	}
	return c
}

func (c *Config) validate() error {
	var errs []error
	if c.Log == nil || c.EventsTopic == "" || c.CursorsTopic == "" || c.Group == "" || c.Gateway == "" || c.Control == nil || c.Events == nil {
		errs = append(errs, errors.New("webhook: Log, EventsTopic, CursorsTopic, Group, Gateway, Control and Events must be given"))
	}
	if c.AttemptMax < 0 {
		errs = append(errs, fmt.Errorf("webhook: AttemptMax is %v", c.AttemptMax))
	}
	for _, schedule := range [][]time.Duration{c.LiveSchedule, c.TestSchedule} {
		for _, pause := range schedule {
			if pause <= 0 {
				errs = append(errs, fmt.Errorf("webhook: a pause between tries is %v", pause))
			}
		}
	}
	return errors.Join(errs...)
}

// schedule is the pauses of a mode.
func (c *Config) schedule(livemode bool) []time.Duration {
	if livemode {
		return c.LiveSchedule
	}
	return c.TestSchedule
}

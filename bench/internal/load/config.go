package load

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"net/url"
	"time"

	"tollgate/bench/internal/ledger"
)

// A Business is who sends: sessions are opened with its key.
type Business struct {
	Name string // only for people
	Key  string
}

// Config says what to send. Every field has the default of its comment when it is zero, unless it says otherwise.
type Config struct {
	// Target is the base URL, such as http://127.0.0.1:8080. Required.
	Target string
	// Dialect is Stripe or OTLPLogs. Default: Stripe.
	Dialect string
	// SessionTarget is where sessions are opened, if that is another host. Default: Target.
	SessionTarget string
	// Businesses open the sessions in turn. Required, but for a dialect without sessions.
	Businesses []Business
	// Rate is events a second of the whole load; 0 is as fast as the target answers.
	Rate float64
	// Batch is events a request, 1 to 100. Default 100.
	Batch int
	// Connections send one request at a time each; at least one a session. Default 16.
	Connections int
	// Sessions are opened, and share connections and rate evenly. Default: one a business.
	Sessions int
	// SkewSessions gives the second session half of the first one's rate, the third a third, and so on.
	SkewSessions bool
	// Duration is how long is measured. Default 10 s. Warmup is how long is sent before that. Default 0.
	Duration, Warmup time.Duration
	// Meters and Customers are how many there are, at most 10,000 and 100 million. Default 8 and 1,000.
	Meters, Customers int
	// Zipf skews both: the first are much more frequent than the last. Otherwise all are alike.
	Zipf bool
	// HotMeterShare is the share of the events that are on the first meter, 0 to 1; the others share the rest as Zipf
	// says. 0: no meter is special.
	HotMeterShare float64
	// PayloadBytes pads the payload object of each event to this size. Default: not padded, about 53 bytes.
	PayloadBytes int
	// Anonymous sends events without identifiers. They can not be found again in the log.
	Anonymous bool
	// Seed decides which meters and customers follow one another.
	Seed uint64
	// Run is in each identifier. Default: random.
	Run uint32
	// AnswerMax is how long a connection waits at least for an answer before it gives up. Default 30 s.
	AnswerMax time.Duration
	// ServerPID and BrokerPID are processes whose cost is reported; 0: none.
	ServerPID, BrokerPID int
	// ServerMetrics is the URL of the server's metrics, asked once a second for how full its queues are; empty: not.
	ServerMetrics string
}

// Dialects: what a request looks like, and which answer is a promise.
const (
	// Stripe: POST /v2/billing/meter_event_stream with the token of a session; 200 with {} is a promise.
	Stripe = "stripe"
	// OTLPLogs: OTLP over HTTP as JSON, POST /v1/logs with a log record an event, whose body holds the same fields.
	// There are no sessions. 200 is a promise, unless it says that records were rejected.
	OTLPLogs = "otlp-logs"
)

const (
	batchMax       = 100
	metersMax      = 10_000
	customersMax   = 100_000_000
	payloadMax     = 8 << 10
	connectionsMax = ledger.LanesMax
)

func (c Config) withDefaults() Config {
	def := func(v *int, d int) {
		if *v == 0 {
			*v = d
		}
	}
	if c.Dialect == "" {
		c.Dialect = Stripe
	}
	if c.Dialect == OTLPLogs && len(c.Businesses) == 0 {
		c.Businesses = []Business{{Name: "nobody"}}
	}
	def(&c.Batch, batchMax)
	def(&c.Sessions, len(c.Businesses))
	def(&c.Connections, max(16, c.Sessions))
	def(&c.Meters, 8)
	def(&c.Customers, 1000)
	if c.SessionTarget == "" {
		c.SessionTarget = c.Target
	}
	if c.Duration == 0 {
		c.Duration = 10 * time.Second
	}
	if c.AnswerMax == 0 {
		c.AnswerMax = 30 * time.Second
	}
	for c.Run == 0 {
		c.Run = rand.Uint32()
	}
	return c
}

func (c Config) validate() error {
	within := func(name string, v, least, most int) error {
		if v < least || v > most {
			return fmt.Errorf("%s = %d is not between %d and %d", name, v, least, most)
		}
		return nil
	}
	if c.Dialect != Stripe && c.Dialect != OTLPLogs {
		return fmt.Errorf("there is no dialect %q", c.Dialect)
	}
	for _, b := range c.Businesses {
		if b.Key == "" && c.Dialect == Stripe {
			return fmt.Errorf("the business %q has no key", b.Name)
		}
	}
	if len(c.Businesses) == 0 {
		return errors.New("no business: give a key")
	}
	if c.Rate < 0 || c.Warmup < 0 || c.Duration <= 0 {
		return errors.New("rate and times can not be negative")
	}
	if c.HotMeterShare < 0 || c.HotMeterShare > 1 || c.HotMeterShare > 0 && c.Meters < 2 {
		return errors.New("the hot meter's share is between 0 and 1, and there is another meter beside it")
	}
	_, errTarget := parseTarget(c.Target)
	_, errSessions := parseTarget(c.SessionTarget)
	return errors.Join(errTarget, errSessions,
		within("batch", c.Batch, 1, batchMax),
		within("sessions", c.Sessions, 1, connectionsMax),
		within("connections", c.Connections, c.Sessions, connectionsMax),
		within("meters", c.Meters, 1, metersMax),
		within("customers", c.Customers, 1, customersMax),
		within("payload bytes", c.PayloadBytes, 0, payloadMax))
}

func parseTarget(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	if err != nil {
		return nil, err
	}
	if (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" || u.RawQuery != "" {
		return nil, fmt.Errorf("the target %q is not a base URL such as http://127.0.0.1:8080", text)
	}
	return u, nil
}

// hostPort is what to dial.
func hostPort(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	return net.JoinHostPort(u.Hostname(), port)
}

// CheckLoopback returns an error unless all addresses of a target are this machine's own: a load generator pointed at
// somebody else's host by mistake is an attack.
func CheckLoopback(target string) error {
	u, err := parseTarget(target)
	if err != nil {
		return err
	}
	addresses, err := net.LookupHost(u.Hostname())
	if err != nil {
		return err
	}
	for _, a := range addresses {
		if ip, err := netip.ParseAddr(a); err != nil || !ip.IsLoopback() {
			return fmt.Errorf("%s is %s, which is not loopback", u.Hostname(), a)
		}
	}
	return nil
}

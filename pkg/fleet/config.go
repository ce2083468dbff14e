package fleet

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"tollgate/internal/metrics"
	"tollgate/pkg/commitlog"
	"tollgate/pkg/usage"
)

// ErrOwnerAway is that a partition has no owner that answers. The same question may be asked again in a moment.
var ErrOwnerAway = errors.New("the gateway that runs a partition is away")

// Worker answers for the partitions that this process runs: a *usage.Worker. Its methods are called from many goroutines
// at once.
type Worker interface {
	// Owned lists the partitions that are run now, in ascending order. It does not block.
	Owned() []int32
	// Damage is why none is run, or nil.
	Damage() error
	// Totals, Fate, Verdict and Amounts answer for these partitions, or for the one of the query. The error is or wraps
	// usage.ErrNotOwned when one of them is not run here.
	Totals(ctx context.Context, partitions []int32, q usage.Query) (usage.Totals, error)
	Fate(ctx context.Context, partitions []int32, q usage.FateQuery) (usage.Fate, error)
	Verdict(ctx context.Context, q usage.VerdictQuery) (usage.Verdict, error)
	Amounts(ctx context.Context, partitions []int32, q usage.AmountsQuery) (usage.Amounts, error)
}

const (
	defaultAnnounceEvery = 5 * time.Second
	defaultFreshMax      = 20 * time.Second
	defaultLookEvery     = 250 * time.Millisecond
	defaultAskMax        = 5 * time.Second

	secretBytesMin = 16
)

// Config says whom a Fleet asks and how it is asked. Log, UsageTopic and Worker have no default.
type Config struct {
	// Log holds both topics; the caller closes it, after Close.
	Log commitlog.Log
	// UsageTopic is the topic whose partitions are asked about.
	UsageTopic string
	// Worker answers for the partitions of this process.
	Worker Worker

	// Listener takes the questions of other gateways. Nil: only this process's partitions can be asked, and the fields
	// of this group are not looked at.
	Listener net.Listener
	// CursorsTopic is where announcements are, a compacted topic of one partition.
	CursorsTopic string
	// Gateway names this process among all: random, and new for each start.
	Gateway string
	// Address is where other gateways reach Listener, as HOST:PORT.
	Address string
	// Secret is what the gateways of a cluster share, at least 16 bytes.
	Secret string
	// Dial connects to another gateway; nil is a net.Dialer's DialContext.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)

	// AnnounceEvery is how often partitions are announced anew; 0 is 5 s. FreshMax is how old an announcement may be for
	// its gateway to be asked, several times AnnounceEvery; 0 is 20 s. LookEvery is how soon a change is noticed; 0 is
	// 250 ms.
	AnnounceEvery, FreshMax, LookEvery time.Duration
	// AskMax is how long another gateway may take to answer; 0 is 5 s.
	AskMax time.Duration

	// Now is the clock; nil is time.Now.
	Now func() time.Time
	// Metrics is where this package's metrics are exported; nil exports none.
	Metrics *metrics.Registry
}

func (c Config) withDefaults() Config {
	for _, d := range []struct {
		field *time.Duration
		value time.Duration
	}{
		{&c.AnnounceEvery, defaultAnnounceEvery},
		{&c.FreshMax, defaultFreshMax},
		{&c.LookEvery, defaultLookEvery},
		{&c.AskMax, defaultAskMax},
	} {
		if *d.field == 0 {
			*d.field = d.value
		}
	}
	if c.Dial == nil {
		c.Dial = (&net.Dialer{Timeout: dialMax}).DialContext
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return c
}

func (c Config) validate() error {
	var errs []error
	if c.Log == nil || c.UsageTopic == "" || c.Worker == nil {
		errs = append(errs, errors.New("fleet: Log, UsageTopic and Worker must be given"))
	}
	if c.AnnounceEvery < 0 || c.LookEvery < 0 || c.AskMax < 0 || c.FreshMax <= c.AnnounceEvery {
		errs = append(errs, fmt.Errorf("fleet: FreshMax (%v) must be longer than AnnounceEvery (%v), and no time negative", c.FreshMax, c.AnnounceEvery))
	}
	if c.Listener == nil {
		return errors.Join(errs...)
	}
	if c.CursorsTopic == "" || c.Gateway == "" {
		errs = append(errs, errors.New("fleet: a Listener needs CursorsTopic and Gateway"))
	}
	if _, _, err := net.SplitHostPort(c.Address); err != nil || len(c.Address) > addressBytesMax {
		errs = append(errs, fmt.Errorf("fleet: Address %q is not HOST:PORT", c.Address))
	}
	if len(c.Secret) < secretBytesMin {
		errs = append(errs, fmt.Errorf("fleet: the secret has %d bytes, fewer than %d", len(c.Secret), secretBytesMin))
	}
	return errors.Join(errs...)
}

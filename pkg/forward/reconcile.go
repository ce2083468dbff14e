package forward

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/stripe/stripe-go/v85"

	"tollgate/pkg/control"
	"tollgate/pkg/meterevent"
)

// Amount is a customer's total of a meter in the range that is compared.
type Amount struct {
	EventName, Customer string
	Value               meterevent.Decimal
}

// Comparison is what Reconcile looks at. Ours and Theirs are of the same range [From, To) of event time.
type Comparison struct {
	Ours, Theirs []Amount
	Meters       map[string]*control.Meter // by event name
	Dead         []Dead                    // DeadList's
	From, To     time.Time
	// InFlight says that not everything of the range has been sent: see Drain. Then what Stripe lacks is explained.
	InFlight bool
}

// Difference is one customer of one meter.
type Difference struct {
	EventName string `json:"event_name"`
	Customer  string `json:"customer"`
	Ours      string `json:"ours"`
	Theirs    string `json:"theirs"`
	// Missing is Ours less Theirs, and Explained the parts of it that have a known reason.
	Missing   string       `json:"missing"`
	Explained []ReasonPart `json:"explained,omitempty"`
	// Drift is what is left, empty where nothing is. InFlight says that what is left may still be on its way.
	Drift    string `json:"drift,omitempty"`
	InFlight bool   `json:"in_flight,omitempty"`
}

// ReasonPart is how much a reason explains: a dead letter's reason, or Stripe's code for what it refused.
type ReasonPart struct {
	Reason string `json:"reason"`
	Value  string `json:"value"`
}

// Unexplained says whether it is drift that nobody can account for.
func (d *Difference) Unexplained() bool { return d.Drift != "" && !d.InFlight }

type amountKey struct{ meter, customer string }

// Reconcile lists what differs, by meter and customer. It is pure. What meters keep the last value of is compared, and
// never explained by dead letters.
func Reconcile(c *Comparison) []Difference {
	ours, theirs := sums(c.Ours), sums(c.Theirs)
	parts := explanations(c)
	keys := make(map[amountKey]bool)
	for k := range ours {
		keys[k] = true
	}
	for k := range theirs {
		keys[k] = true
	}
	list := []Difference{}
	for k := range keys {
		a, b := ours[k], theirs[k]
		missing := a
		missing.Sub(&b)
		if missing.IsZero() {
			continue
		}
		d := Difference{EventName: k.meter, Customer: k.customer, Ours: text(a), Theirs: text(b), Missing: text(missing)}
		left := missing
		for _, reason := range sortedReasons(parts[k]) {
			value := parts[k][reason]
			left.Sub(&value)
			d.Explained = append(d.Explained, ReasonPart{reason, text(value)})
		}
		if !left.IsZero() {
			d.Drift, d.InFlight = text(left), c.InFlight && left.Sign() > 0
		}
		list = append(list, d)
	}
	slices.SortFunc(list, func(a, b Difference) int {
		return cmp.Or(cmp.Compare(a.EventName, b.EventName), cmp.Compare(a.Customer, b.Customer))
	})
	return list
}

func text(d meterevent.Decimal) string { return string(d.AppendText(nil)) }

func sums(list []Amount) map[amountKey]meterevent.Decimal {
	m := make(map[amountKey]meterevent.Decimal, len(list))
	for i := range list {
		k := amountKey{list[i].EventName, list[i].Customer}
		sum := m[k]
		sum.Add(&list[i].Value)
		m[k] = sum
	}
	return m
}

func sortedReasons(m map[string]meterevent.Decimal) []string {
	list := make([]string, 0, len(m))
	for reason := range m {
		list = append(list, reason)
	}
	slices.Sort(list)
	return list
}

// explanations adds up what dead letters of the range would have brought.
func explanations(c *Comparison) map[amountKey]map[string]meterevent.Decimal {
	parts := make(map[amountKey]map[string]meterevent.Decimal)
	for i := range c.Dead {
		d := &c.Dead[i]
		at, err := time.Parse(timeForm, d.Timestamp)
		m := c.Meters[d.EventName]
		if err != nil || m == nil || m.Formula == control.Last || at.Before(c.From) || !at.Before(c.To) {
			continue
		}
		var payload map[string]string
		if json.Unmarshal(d.Payload, &payload) != nil {
			continue
		}
		value := meterevent.DecimalOf(1)
		if m.Formula != control.Count || d.Kind == kindRollup {
			key := m.ValueKey
			if key == "" {
				key = "value"
			}
			if value, err = meterevent.ParseDecimal([]byte(payload[key])); err != nil {
				continue
			}
		}
		reason := d.Reason
		if d.Answer != nil && d.Answer.Code != "" {
			reason += ": " + d.Answer.Code
		}
		k := amountKey{d.EventName, payload[m.CustomerKey]}
		if parts[k] == nil {
			parts[k] = make(map[string]meterevent.Decimal)
		}
		sum := parts[k][reason]
		sum.Add(&value)
		parts[k][reason] = sum
	}
	return parts
}

// Summaries asks Stripe for the totals of customers of meters in [from, to), which lie on whole minutes. Stripe answers
// with floating point: 15 digits of it are exact.
func (f *Forwarder) Summaries(ctx context.Context, business string, customers map[string][]string, from, to time.Time) ([]Amount, error) {
	var s *sender
	for of, known := range f.senders {
		if of.business == business {
			s = known
		}
	}
	if s == nil {
		return nil, fmt.Errorf("forward: %s is not forwarded", business)
	}
	meters, err := s.meters(ctx)
	if err != nil {
		return nil, err
	}
	var list []Amount
	for _, m := range meters {
		for _, customer := range customers[m.EventName] {
			value, err := s.summary(ctx, m.ID, customer, from, to)
			if err != nil {
				return nil, fmt.Errorf("asking Stripe for %s of %s: %w", m.EventName, customer, err)
			}
			list = append(list, Amount{m.EventName, customer, value})
		}
	}
	return list, nil
}

func (s *sender) summary(ctx context.Context, meter, customer string, from, to time.Time) (sum meterevent.Decimal, err error) {
	params := &stripe.BillingMeterEventSummaryListParams{
		ID: stripe.String(meter), Customer: stripe.String(customer), StartTime: stripe.Int64(from.Unix()), EndTime: stripe.Int64(to.Unix()),
	}
	for got, err := range s.api.V1BillingMeterEventSummaries.List(ctx, params).All(ctx) {
		if err != nil {
			return sum, err
		}
		value, err := meterevent.ParseDecimal(strconv.AppendFloat(nil, got.AggregatedValue, 'f', -1, 64))
		if err != nil {
			return sum, err
		}
		sum.Add(&value)
	}
	return sum, nil
}

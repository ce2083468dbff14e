package forward

import (
	"encoding/json"
	"math"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"time"

	"tollgate/pkg/control"
	"tollgate/pkg/meterevent"
)

// Difference is one customer of one meter, or with no Customer a whole meter that can not be compared, and why.
type Difference struct {
	EventName string `json:"event_name"`
	Customer  string `json:"customer"`
	Ours      string `json:"ours"`
	Theirs    string `json:"theirs"`
	// Missing is Ours less Theirs, and Explained the parts of it that have a known reason.
	Missing   string       `json:"missing"`
	Explained []ReasonPart `json:"explained,omitempty"`
	// Drift is what is left that nothing explains, empty where nothing is.
	Drift string `json:"drift,omitempty"`
}

// ReasonPart is how much a reason explains. A reason is one of a dead letter, with Stripe's code behind it where Stripe
// refused, or one of those below.
type ReasonPart struct {
	Reason string `json:"reason"`
	Value  string `json:"value"`
}

// The reasons for a difference that are not a dead letter's.
const (
	// reasonInFlight: a lane had not passed all that the log held when Stripe was asked, so that it may be on its way. It
	// explains what Stripe lacks, and nothing that Stripe has too much, but of meters whose events replace one another.
	reasonInFlight = "in_flight"
	// reasonLate: our total changed while both sides were asked, in each look: events of the range are being received.
	reasonLate = "late"
	// reasonNoCustomer: Stripe does not know the customer, and drops events about one.
	reasonNoCustomer = "customer_not_at_stripe"
	// reasonNoMeter: Stripe has no meter of that name.
	reasonNoMeter = "meter_not_at_stripe"
	// reasonMetersDiffer: Stripe's meter of that name adds up something else; the reason says what.
	reasonMetersDiffer = "meters_differ"
)

type amountKey struct{ meter, customer string }

// account is what is known of one customer of one meter.
type account struct {
	meter    *control.Meter // here
	customer string
	ours     meterevent.Decimal
	theirs   float64
	unknown  bool // Stripe does not know the customer
	// before is our total before Stripe was asked, and moved that ours is another, or may be.
	before meterevent.Decimal
	moved  bool
	parts  []deadPart
}

// deadPart is what a dead letter keeps from Stripe.
type deadPart struct {
	of     amountKey
	reason string
	value  meterevent.Decimal
	maybe  bool // it may be at Stripe all the same, or may not count here
}

// partOf reads a dead letter. ok is false when it is of another time, or can not be said whose it is. Pure.
func partOf(d *Dead, m *control.Meter, from, to time.Time) (p deadPart, ok bool) {
	at, err := time.Parse(timeForm, d.Timestamp)
	var payload map[string]string
	if err != nil || at.Before(from) || !at.Before(to) || json.Unmarshal(d.Payload, &payload) != nil {
		return p, false
	}
	p = deadPart{of: amountKey{d.EventName, payload[m.CustomerKey]}, reason: d.Reason, value: meterevent.DecimalOf(1)}
	if m.Formula != control.Count || d.Kind == kindRollup {
		key := m.ValueKey
		if key == "" {
			key = "value"
		}
		if p.value, err = meterevent.ParseDecimal([]byte(payload[key])); err != nil {
			return p, false
		}
	}
	if d.Kind == kindCancel { // Stripe still has what was to be cancelled
		p.value.Neg()
		p.reason = kindCancel + " " + p.reason
	}
	if d.Answer != nil && d.Answer.Code != "" {
		p.reason += ": " + d.Answer.Code
	}
	p.maybe = d.Reason == reasonUnknown || d.Reason == reasonForgotten
	return p, true
}

// difference is what there is to say about a customer; nil: nothing, both totals are the same. Pure.
func (a *account) difference(sending bool) *Difference {
	if near(a.ours, a.theirs) || near(a.before, a.theirs) {
		return nil
	}
	theirs := shortest(a.theirs)
	d := &Difference{EventName: a.meter.EventName, Customer: a.customer, Ours: text(a.ours), Theirs: text(theirs)}
	left := a.ours
	left.Sub(&theirs)
	d.Missing = text(left)
	replaced := a.meter.Formula == control.Last || a.meter.Window != control.NoWindow
	if replaced && len(a.parts) > 0 {
		// Which of the events that replace one another would be the last at Stripe, nobody can say.
		d.Explained = []ReasonPart{{a.parts[0].reason, text(left)}}
		return d
	}
	expected := a.ours // at Stripe
	for _, part := range sumsOf(a.parts, false) {
		expected.Sub(&part.value)
		d.Explained = append(d.Explained, ReasonPart{part.reason, text(part.value)})
	}
	if near(expected, a.theirs) {
		return d
	}
	left = expected
	left.Sub(&theirs)
	explain := func(reason string) *Difference {
		d.Explained = append(d.Explained, ReasonPart{reason, text(left)})
		return d
	}
	if reason := maybes(a.parts, &left); reason != "" {
		return explain(reason)
	}
	switch {
	case a.unknown:
		return explain(reasonNoCustomer)
	case a.moved:
		return explain(reasonLate)
	case sending && (left.Sign() > 0 || replaced):
		return explain(reasonInFlight)
	}
	d.Drift = text(left)
	return d
}

// sumsOf adds up parts by reason, in the reasons' order.
func sumsOf(parts []deadPart, maybe bool) (sums []deadPart) {
	for _, p := range parts {
		if p.maybe != maybe {
			continue
		}
		i, found := slices.BinarySearchFunc(sums, p.reason, func(s deadPart, reason string) int { return strings.Compare(s.reason, reason) })
		if found {
			sums[i].value.Add(&p.value)
		} else {
			sums = slices.Insert(sums, i, p)
		}
	}
	return sums
}

// maybes is the reason of letters of which none, some or all may be at Stripe, when what is left is within that.
func maybes(parts []deadPart, left *meterevent.Decimal) (reason string) {
	var least, most meterevent.Decimal
	for _, p := range parts {
		switch {
		case !p.maybe:
		case p.value.Sign() < 0:
			least.Add(&p.value)
		default:
			most.Add(&p.value)
		}
	}
	if least.Cmp(&most) == 0 || left.Cmp(&least) < 0 || left.Cmp(&most) > 0 {
		return ""
	}
	return sumsOf(parts, true)[0].reason
}

func text(d meterevent.Decimal) string { return string(d.AppendText(nil)) }

// shortest is a floating point number as the shortest decimal that stands for it.
func shortest(f float64) meterevent.Decimal {
	d, err := meterevent.ParseDecimal(strconv.AppendFloat(nil, f, 'f', -1, 64))
	if err != nil { // it has more than 500 digits behind the point, hence is nothing that usage adds up to
		return meterevent.Decimal{}
	}
	return d
}

// near says whether a floating point number stands for a decimal one. A float64 tells any two numbers of 15 digits
// apart; so they are the same when its first 15 digits are the number, whatever adding up in floating point did to those
// behind. A longer number can only be held against the last digit that a float64 holds.
func near(exact meterevent.Decimal, f float64) bool {
	if short := shortest(f); short.Cmp(&exact) == 0 {
		return true
	}
	want, ok := new(big.Rat).SetString(text(exact))
	rounded, ok2 := new(big.Rat).SetString(strconv.FormatFloat(f, 'e', 14, 64))
	got := new(big.Rat).SetFloat64(f)
	if !ok || !ok2 || got == nil {
		return false
	}
	if want.Cmp(rounded) == 0 {
		return true
	}
	digit := new(big.Rat).SetFloat64(math.Nextafter(math.Abs(f), math.Inf(1)) - math.Abs(f))
	return digit != nil && want.Sub(want, got).Abs(want).Cmp(digit) <= 0
}

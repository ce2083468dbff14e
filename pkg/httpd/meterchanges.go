package httpd

import (
	"unicode/utf8"

	"tollgate/pkg/control"
	"tollgate/pkg/meterevent"
	"tollgate/pkg/stripe"
)

// Bounds of a meter's texts (Stripe API reference, billing meters).
const displayNameCharsMax = 250

// The payload's names for customer and value where a meter says nothing else.
const (
	defaultCustomerKey = "stripe_customer_id"
	defaultValueKey    = "value"
)

// createMeter is POST /v1/billing/meters.
func (s *Server) createMeter(x *exchange) *stripe.Error {
	return s.changeMeter(x, func(*control.Snapshot) (*control.Change, error) {
		n, err := newMeter(&x.form)
		return &control.Change{Create: n}, err
	})
}

// updateMeter is POST /v1/billing/meters/:id. Only the display name can be changed.
func (s *Server) updateMeter(x *exchange) *stripe.Error {
	return s.changeMeter(x, func(snapshot *control.Snapshot) (*control.Change, error) {
		m, err := x.known(snapshot)
		if err != nil {
			return nil, err
		}
		name, err := x.form.Text("display_name", displayNameCharsMax) // without one the Idempotency-Key is used up all the same
		if err == nil {
			err = x.form.Unknown()
		}
		return &control.Change{Rename: &control.Rename{ID: m.ID, DisplayName: name}}, err
	})
}

// deactivateMeter is POST /v1/billing/meters/:id/deactivate.
func (s *Server) deactivateMeter(x *exchange) *stripe.Error { return s.setActive(x, false) }

// reactivateMeter is POST /v1/billing/meters/:id/reactivate.
func (s *Server) reactivateMeter(x *exchange) *stripe.Error { return s.setActive(x, true) }

func (s *Server) setActive(x *exchange, active bool) *stripe.Error {
	return s.changeMeter(x, func(snapshot *control.Snapshot) (*control.Change, error) {
		m, err := x.known(snapshot)
		if err == nil {
			err = x.form.Unknown()
		}
		if err != nil {
			return nil, err
		}
		return &control.Change{Status: &control.StatusChange{ID: m.ID, Active: active}}, nil
	})
}

// known is the meter that the path names.
func (x *exchange) known(snapshot *control.Snapshot) (*control.Meter, error) {
	m := snapshot.Meter(x.business, x.livemode, string(x.param))
	if m == nil {
		return nil, stripe.NoSuchMeter(x.param)
	}
	return m, nil
}

// changeMeter answers a POST about meters. An Idempotency-Key is looked up before the parameters are judged: the same
// request gets the answer that it got. want judges them, and returns the change; what it refuses is not kept under the key.
func (s *Server) changeMeter(x *exchange, want func(*control.Snapshot) (*control.Change, error)) *stripe.Error {
	if r := s.openForm(x); r != nil {
		return r
	}
	key, r := x.idempotency(x.form.AppendCanonical)
	if r != nil {
		return r
	}
	release, r := s.inFlight.hold(x)
	if r != nil {
		return r
	}
	defer release()
	snapshot, r := s.caughtUp()
	if r != nil {
		return r
	}
	if key != nil {
		if v, used := s.cfg.Control.Replay(x.business, x.livemode, key); used {
			return s.decided(x, v)
		}
	}
	change, err := want(snapshot)
	if err != nil {
		return syncRefusal(err)
	}
	change.Business, change.Livemode, change.Idempotency = x.business, x.livemode, key
	v, r := s.propose(change, stripe.MetersUnavailable)
	if r != nil {
		return r
	}
	return s.decided(x, v)
}

// decided answers with a verdict. What a refusal names is in the request, which a replay repeats, and in what never
// changes, so that a replay has the same body.
func (s *Server) decided(x *exchange, v control.Verdict) *stripe.Error {
	if v.Refusal == control.KeyReused {
		return stripe.IdempotencyKeyReused()
	}
	if v.Replayed {
		x.replayed()
	}
	switch v.Refusal {
	case control.NameTaken:
		name, _, _ := x.form.Optional("event_name")
		holder := ""
		if m := s.cfg.Control.Snapshot().Named(x.business, x.livemode, string(name)); m != nil {
			holder = m.ID
		}
		return stripe.EventNameTaken(string(name), holder)
	case control.NoSuchMeter:
		return stripe.NoSuchMeter(x.param)
	case control.TooManyMeters:
		return stripe.TooManyMeters(control.MetersMax)
	case control.NotRefused:
		return x.meter(v.Meter)
	}
	return stripe.ChangeUnknown()
}

// openForm begins a POST of v1: its key, and its parameters in x.form, which outlives the body.
func (s *Server) openForm(x *exchange) *stripe.Error {
	reading, body, r := s.open(x)
	if r != nil {
		return r
	}
	err := stripe.ParseForm(&x.form, body)
	s.done(x, reading)
	if err != nil {
		return syncRefusal(err)
	}
	x.form.Ignore("expand")
	return nil
}

// newMeter reads the parameters of a meter to be created.
func newMeter(f *stripe.Form) (*control.NewMeter, error) {
	n := &control.NewMeter{CustomerKey: defaultCustomerKey, ValueKey: defaultValueKey}
	for _, required := range [...]string{"display_name", "event_name", "default_aggregation[formula]"} {
		if _, err := f.Required(required); err != nil {
			return nil, err
		}
	}
	var err error
	if n.DisplayName, err = f.Text("display_name", displayNameCharsMax); err != nil {
		return nil, err
	}
	if n.EventName, err = eventName(f); err != nil {
		return nil, err
	}
	formula, err := f.Enum("default_aggregation[formula]", "count", "last", "sum")
	if err != nil {
		return nil, err
	}
	window, err := f.Enum("event_time_window", "day", "hour")
	if err != nil {
		return nil, err
	}
	n.Formula, n.Window = control.Formula(formula), control.Window(window)
	if f.Has("customer_mapping") {
		if _, err := f.Required("customer_mapping[type]"); err != nil {
			return nil, err
		}
		if _, err := f.Enum("customer_mapping[type]", "by_id"); err != nil {
			return nil, err
		}
		if n.CustomerKey, err = payloadKey(f, "customer_mapping[event_payload_key]"); err != nil {
			return nil, err
		}
	}
	if f.Has("value_settings") {
		if n.ValueKey, err = payloadKey(f, "value_settings[event_payload_key]"); err != nil {
			return nil, err
		}
	}
	return n, f.Unknown()
}

// eventName reads the name of a meter's events, by the rules that events themselves are read by: one that no event could
// carry would make a meter that counts nothing.
func eventName(f *stripe.Form) (string, error) {
	name, err := f.Text("event_name", meterevent.NameCharsMax)
	if err != nil {
		return "", err
	}
	for _, c := range name {
		if c < ' ' {
			return "", stripe.ParamInvalid("event_name", "must not contain control characters")
		}
	}
	return name, nil
}

// payloadKey reads the name of a member of payloads, which is bounded in bytes there.
func payloadKey(f *stripe.Form, param string) (string, error) {
	key, err := f.Required(param)
	if err != nil {
		return "", err
	}
	if utf8.RuneCount(key) > meterevent.PayloadKeyBytesMax {
		return "", stripe.ParamTooLong(param, meterevent.PayloadKeyBytesMax, "characters")
	}
	if len(key) > meterevent.PayloadKeyBytesMax {
		return "", stripe.ParamTooLong(param, meterevent.PayloadKeyBytesMax, "bytes")
	}
	return string(key), nil
}

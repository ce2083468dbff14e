package httpd

import (
	"encoding/hex"
	"strconv"

	"tollgate/pkg/control"
	"tollgate/pkg/stripe"
)

// A destinationChange is what a request asks for, and how its answer looks.
type destinationChange struct {
	change control.Change
	in     included
}

// createDestination is POST /v2/core/event_destinations.
func (s *Server) createDestination(x *exchange) *stripe.Error {
	return s.changeDestination(x, func(body *jsonValue, c *destinationChange) (err error) {
		if c.in, err = bodyIncludes(body, true); err != nil {
			return err
		}
		n, err := s.newDestination(x, body)
		if err != nil {
			return err
		}
		if n.Type == control.WebhookEndpoint {
			n.Secret, err = s.newSecret()
		}
		c.change.CreateDestination = n
		return err
	})
}

// updateDestination is POST /v2/core/event_destinations/:id.
func (s *Server) updateDestination(x *exchange) *stripe.Error {
	return s.changeDestination(x, func(body *jsonValue, c *destinationChange) (err error) {
		if c.in, err = bodyIncludes(body, false); err != nil {
			return err
		}
		u, err := destinationSettings(body, false)
		if err != nil {
			return err
		}
		u.ID = string(x.param)
		if body.find("webhook_endpoint") != nil {
			url, err := s.endpointURL(x, body)
			if err != nil {
				return err
			}
			u.URL = &url
		}
		c.change.UpdateDestination = &u
		return nil
	})
}

// deleteDestination is DELETE /v2/core/event_destinations/:id.
func (s *Server) deleteDestination(x *exchange) *stripe.Error {
	return s.changeDestination(x, func(_ *jsonValue, c *destinationChange) error {
		c.change.RemoveDestination = &control.DestinationRemoval{ID: string(x.param)}
		return nil
	})
}

// enableDestination is POST /v2/core/event_destinations/:id/enable.
func (s *Server) enableDestination(x *exchange) *stripe.Error { return s.setEnabled(x, true, "") }

// disableDestination is POST /v2/core/event_destinations/:id/disable.
func (s *Server) disableDestination(x *exchange) *stripe.Error { return s.setEnabled(x, false, "user") }

func (s *Server) setEnabled(x *exchange, enabled bool, reason string) *stripe.Error {
	return s.changeDestination(x, func(_ *jsonValue, c *destinationChange) error {
		c.change.DestinationStatus = &control.DestinationStatus{ID: string(x.param), Enabled: enabled, Reason: reason}
		return nil
	})
}

// oldSecretSecondsMax is how long at most, and if nothing else is said, a rolled secret goes on signing.
const oldSecretSecondsMax = 24 * hourSeconds

// rollSecret is POST /v2/core/event_destinations/:id/roll_secret. Stripe has it in its dashboard only.
func (s *Server) rollSecret(x *exchange) *stripe.Error {
	return s.changeDestination(x, func(body *jsonValue, c *destinationChange) (err error) {
		if c.in, err = bodyIncludes(body, true); err != nil {
			return err
		}
		seconds, err := oldSecretSeconds(body)
		if err != nil {
			return err
		}
		roll := &control.SecretRoll{ID: string(x.param), OldUntilMs: x.receivedMs + seconds*1000}
		roll.Secret, err = s.newSecret()
		c.in.secret, c.change.RollSecret = true, roll
		return err
	})
}

func oldSecretSeconds(body *jsonValue) (int64, error) {
	const field = "expires_after_seconds"
	v := body.get(field)
	if v == nil {
		return oldSecretSecondsMax, nil
	}
	if err := v.is(field, jsonNumber); err != nil {
		return 0, err
	}
	n, err := strconv.ParseInt(v.text, 10, 64)
	if err != nil || n < 0 || n > oldSecretSecondsMax {
		return 0, stripe.InvalidFields(field, "must be a whole number between 0 and "+strconv.Itoa(oldSecretSecondsMax))
	}
	return n, nil
}

// newSecret draws a signing secret.
func (s *Server) newSecret() (string, error) {
	bits, err := s.dice.secret()
	if err != nil {
		s.cfg.Notify(Notice{What: "a signing secret could not be drawn", Err: err})
		return "", stripe.Internal()
	}
	return "whsec_" + hex.EncodeToString(bits[:]), nil
}

// changeDestination answers what changes event destinations, in the way of changeMeter: an Idempotency-Key is looked up
// before the parameters are judged. want judges them and says what to change, and what it refuses is not kept under the
// key. It must ask for every field that the request may have.
func (s *Server) changeDestination(x *exchange, want func(*jsonValue, *destinationChange) error) *stripe.Error {
	body, r := s.openJSON(x)
	if r != nil {
		return r
	}
	if r := s.usedForSession(x); r != nil {
		return r
	}
	c := &destinationChange{change: control.Change{Business: x.business, Livemode: x.livemode}}
	if c.change.Idempotency, r = x.idempotency(body.appendCanonical); r != nil {
		return r
	}
	if c.change.Idempotency != nil {
		if _, r := s.destinationsCaughtUp(); r != nil {
			return r
		}
		if v, used := s.cfg.Control.Replay(x.business, x.livemode, c.change.Idempotency); used {
			// The body is the same, so that what it includes is in order.
			c.in, _ = bodyIncludes(body, true)
			c.in.secret = c.in.secret || x.route.name == routeRollSecret
			return s.decidedDestination(x, c, v)
		}
	}
	err := want(body, c)
	if err == nil {
		err = body.unknown("")
	}
	if err != nil {
		return syncRefusal(err)
	}
	v, r := s.propose(&c.change, stripe.DestinationsUnavailable)
	if r != nil {
		return r
	}
	return s.decidedDestination(x, c, v)
}

// decidedDestination answers with a verdict.
func (s *Server) decidedDestination(x *exchange, c *destinationChange, v control.Verdict) *stripe.Error {
	if v.Refusal == control.KeyReused {
		return stripe.IdempotencyKeyReused()
	}
	if v.Replayed {
		x.replayed()
	}
	switch {
	case v.Refusal == control.NoSuchDestination:
		return stripe.NoSuchDestination(x.param)
	case v.Refusal == control.TooManyDestinations:
		return stripe.TooManyDestinations(control.DestinationsMax)
	case v.Refusal == control.TooMuchMetadata:
		return tooMuchMetadata()
	case v.Refusal == control.WrongDestinationType:
		if c.change.UpdateDestination != nil {
			return stripe.InvalidFields("webhook_endpoint", "can not be given: the event destination is of another type")
		}
		return stripe.InvalidFields("", "The event destination is not of type webhook_endpoint: it has no signing secret")
	case v.Refusal != control.NotRefused || v.Destination == nil:
		return stripe.ChangeUnknown()
	case x.route.method == del:
		return x.ok(stripe.AppendDeleted(x.answer[:0], "v2.core.event_destination", v.Destination.ID))
	}
	return s.destination(x, v.Destination, c.in)
}

// openJSON begins a POST or DELETE of v2 that is not about events: its key, and its body, which is copied.
func (s *Server) openJSON(x *exchange) (*jsonValue, *stripe.Error) {
	reading, body, r := s.open(x)
	if r != nil {
		return nil, r
	}
	v, err := parseJSON(body)
	s.done(x, reading)
	if err != nil {
		return nil, syncRefusal(err)
	}
	return v, nil
}

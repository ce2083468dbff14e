package httpd

import (
	"slices"

	"tollgate/pkg/control"
	"tollgate/pkg/stripe"
)

// destinationIncludesMax is how often a query may name what to include: there is one such thing.
const destinationIncludesMax = 8

// retrieveDestination is GET /v2/core/event_destinations/:id.
func (s *Server) retrieveDestination(x *exchange) *stripe.Error {
	if r := s.openQuery(x); r != nil {
		return r
	}
	in, err := x.queryIncludes()
	if err == nil {
		err = x.form.Unknown()
	}
	if err != nil {
		return syncRefusal(err)
	}
	snapshot, r := s.destinationsCaughtUp()
	if r != nil {
		return r
	}
	d, r := x.knownDestination(snapshot)
	if r != nil {
		return r
	}
	return s.destination(x, d, in)
}

// listDestinations is GET /v2/core/event_destinations.
func (s *Server) listDestinations(x *exchange) *stripe.Error {
	if r := s.openQuery(x); r != nil {
		return r
	}
	in, err := x.queryIncludes()
	if err != nil {
		return syncRefusal(err)
	}
	limit, err := limitParam(&x.form, v2ListDefault)
	if err != nil {
		return syncRefusal(err)
	}
	purpose := x.pagePurpose()
	mark, err := s.pageMark(x, purpose)
	if err == nil {
		err = x.form.Unknown()
	}
	if err != nil {
		return syncRefusal(err)
	}
	snapshot, r := s.destinationsCaughtUp()
	if r != nil {
		return r
	}
	all := snapshot.Destinations(x.business, x.livemode)
	from, to := destinationPage(all, mark, limit)
	next, previous := "", ""
	if to < len(all) && from < to {
		next = s.link(x, purpose, markOf(all[to-1], false))
	}
	if from > 0 && from < to {
		previous = s.link(x, purpose, markOf(all[from], true))
	}
	return x.ok(stripe.AppendPage(x.answer[:0], all[from:to], next, previous, func(dst []byte, d *control.Destination) []byte {
		return s.appendDestination(dst, d, in)
	}))
}

func markOf(d *control.Destination, before bool) pageMark {
	m := pageMark{before: before, id: d.ID}
	m.at.CreatedMs = d.CreatedMs
	return m
}

// destinationPage cuts a page out of a business's destinations, which come newest first: all[from:to]. Where the one that
// a page is next to was removed, its time of creation stands for it.
func destinationPage(all []*control.Destination, mark *pageMark, limit int) (from, to int) {
	if mark == nil {
		return 0, min(limit, len(all))
	}
	i := slices.IndexFunc(all, func(d *control.Destination) bool { return d.ID == mark.id })
	removed := i < 0
	if removed {
		i = slices.IndexFunc(all, func(d *control.Destination) bool { return d.CreatedMs <= mark.at.CreatedMs })
		if i < 0 {
			i = len(all)
		}
	}
	switch {
	case mark.before:
		return max(0, i-limit), i
	case !removed:
		i++
	}
	return i, min(i+limit, len(all))
}

// queryIncludes reads the include of a query.
func (x *exchange) queryIncludes() (included, error) {
	names, err := x.form.Array("include", destinationIncludesMax)
	if err != nil {
		return included{}, err
	}
	return includedIn(names, false)
}

// destinationsCaughtUp is caughtUp in the words of who asks for destinations.
func (s *Server) destinationsCaughtUp() (*control.Snapshot, *stripe.Error) {
	snapshot, r := s.caughtUp()
	if r != nil {
		return nil, stripe.DestinationsUnavailable()
	}
	return snapshot, nil
}

// knownDestination is the destination that the path names.
func (x *exchange) knownDestination(snapshot *control.Snapshot) (*control.Destination, *stripe.Error) {
	d := snapshot.Destination(x.business, x.livemode, string(x.param))
	if d == nil {
		return nil, stripe.NoSuchDestination(x.param)
	}
	return d, nil
}

// destination answers with a destination.
func (s *Server) destination(x *exchange, d *control.Destination, in included) *stripe.Error {
	return x.ok(s.appendDestination(x.answer[:0], d, in))
}

func (s *Server) appendDestination(dst []byte, d *control.Destination, in included) []byte {
	shown := &stripe.EventDestination{
		ID: d.ID, Name: d.Name, Description: d.Description, CreatedMs: d.CreatedMs, UpdatedMs: d.UpdatedMs,
		EnabledEvents: d.EnabledEvents, Livemode: d.Livemode, Metadata: d.Metadata, Type: string(d.Type),
		Enabled: d.Enabled, DisabledReason: d.DisabledReason, Topic: d.Topic,
	}
	if in.url {
		shown.URL = d.URL
	}
	if in.secret {
		shown.SigningSecret = d.Secret
	}
	if state := s.cfg.Webhooks.State(d.ID); state.FailingSinceMs > 0 {
		shown.Failing = &stripe.DestinationFailing{SinceMs: state.FailingSinceMs, LastError: state.LastError, Pending: state.Pending}
	}
	return stripe.AppendEventDestination(dst, shown)
}

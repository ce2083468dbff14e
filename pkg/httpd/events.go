package httpd

import (
	"slices"
	"strconv"

	"tollgate/pkg/auth"
	"tollgate/pkg/stripe"
	"tollgate/pkg/thinevent"
)

// A page of a v2 list has at most listMax objects, and v2ListDefault when nothing else is asked for.
const v2ListDefault = 20

// typesMax is how many types one list may be narrowed to (Stripe API reference, list events).
const typesMax = 20

// typePermissions is what a key needs to read an event of a type, beside EventRead: to read what the event is about.
var typePermissions = map[string]auth.Permission{
	thinevent.TypeErrorReport: auth.MeterRead,
	thinevent.TypeNoMeter:     auth.MeterRead,
	thinevent.TypePing:        auth.WebhookRead,
	thinevent.TypeAtRisk:      auth.MeterRead,
}

// everyType is what a key needs to read events of any type, those that another version of the gateway makes included.
var everyType = func() (all auth.Permission) {
	for _, p := range typePermissions {
		all |= p
	}
	return all
}()

// permissionFor is what a key needs to read an event.
func permissionFor(eventType string) auth.Permission {
	if p, known := typePermissions[eventType]; known {
		return p
	}
	return everyType
}

// readableTypes narrows the types that were asked for to those that the key may read. nil is any.
func readableTypes(key *auth.Key, asked []string) []string {
	if key.Has(everyType) {
		return asked
	}
	types := []string{}
	for name, needed := range typePermissions {
		if key.Has(needed) && (asked == nil || slices.Contains(asked, name)) {
			types = append(types, name)
		}
	}
	slices.Sort(types)
	return types
}

// listEvents is GET /v2/core/events.
func (s *Server) listEvents(x *exchange) *stripe.Error {
	if r := s.openQuery(x); r != nil {
		return r
	}
	q, err := x.eventQuery()
	if err != nil {
		return syncRefusal(err)
	}
	purpose := x.pagePurpose(append([]string{q.ObjectID, strconv.FormatInt(q.FromMs, 10), strconv.FormatInt(q.BeforeMs, 10)}, q.Types...)...)
	mark, err := s.pageMark(x, purpose)
	if err == nil {
		err = x.form.Unknown()
	}
	if err != nil {
		return syncRefusal(err)
	}
	if mark != nil && mark.before {
		q.Before = &mark.at
	} else if mark != nil {
		q.After = &mark.at
	}
	q.Types = readableTypes(x.by, q.Types)
	if r := s.eventsCaughtUp(); r != nil {
		return r
	}
	page, err := s.cfg.Events.List(q)
	if err != nil {
		return stripe.EventsUnavailable()
	}
	next, previous := "", ""
	if page.Next != nil {
		next = s.link(x, purpose, pageMark{at: *page.Next})
	}
	if page.Previous != nil {
		previous = s.link(x, purpose, pageMark{before: true, at: *page.Previous})
	}
	return x.ok(stripe.AppendPage(x.answer[:0], page.Events, next, previous, appendEvent))
}

// eventQuery reads the parameters that say which events are asked for.
func (x *exchange) eventQuery() (*thinevent.Query, error) {
	f := &x.form
	q := &thinevent.Query{Business: x.business, Livemode: x.livemode}
	object, _, err := f.Optional("object_id")
	if err != nil {
		return nil, err
	}
	q.ObjectID = string(object)
	if q.Types, err = f.Array("types", typesMax); err != nil {
		return nil, err
	}
	slices.Sort(q.Types) // which types, and not in which order, is what a page must have in common with the next
	q.Types = slices.Compact(q.Types)
	if q.FromMs, q.BeforeMs, err = f.TimeRange("created"); err != nil {
		return nil, err
	}
	q.Limit, err = limitParam(f, v2ListDefault)
	return q, err
}

func appendEvent(dst []byte, e *thinevent.Event) []byte { return stripe.AppendEvent(dst, &e.Event) }

// retrieveEvent is GET /v2/core/events/:id.
func (s *Server) retrieveEvent(x *exchange) *stripe.Error {
	if r := s.openQuery(x); r != nil {
		return r
	}
	if err := x.form.Unknown(); err != nil {
		return syncRefusal(err)
	}
	e, r := s.readableEvent(x)
	if r != nil {
		return r
	}
	return x.ok(appendEvent(x.answer[:0], e))
}

// readableEvent is the event that the path names, if the key may read it.
func (s *Server) readableEvent(x *exchange) (*thinevent.Event, *stripe.Error) {
	e, r := s.eventOf(x, string(x.param))
	switch {
	case r != nil:
		return nil, r
	case e == nil:
		return nil, stripe.NoSuchEvent(x.param)
	}
	if lacks := x.by.Lacks(permissionFor(e.Type)); lacks != 0 {
		return nil, stripe.MissingPermission(lacks.String())
	}
	return e, nil
}

// eventOf finds an event of the business; nil when there is none. One that is here never changes, so that only of one that
// is not it must be asked whether it has come elsewhere.
func (s *Server) eventOf(x *exchange, id string) (*thinevent.Event, *stripe.Error) {
	e, err := s.cfg.Events.Get(x.business, x.livemode, id)
	if err == nil && e == nil {
		if r := s.eventsCaughtUp(); r != nil {
			return nil, r
		}
		e, err = s.cfg.Events.Get(x.business, x.livemode, id)
	}
	if err != nil {
		return nil, stripe.EventsUnavailable()
	}
	return e, nil
}

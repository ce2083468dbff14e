package httpd

import (
	"slices"

	"tollgate/pkg/control"
	"tollgate/pkg/stripe"
)

// A list's page has at most listMax objects, and listDefault when nothing else is asked for (Stripe API reference,
// pagination).
const (
	listDefault = 10
	listMax     = 100
)

// retrieveMeter is GET /v1/billing/meters/:id.
func (s *Server) retrieveMeter(x *exchange) *stripe.Error {
	if r := s.openQuery(x); r != nil {
		return r
	}
	if err := x.form.Unknown(); err != nil {
		return syncRefusal(err)
	}
	snapshot, r := s.caughtUp()
	if r != nil {
		return r
	}
	m, err := x.known(snapshot)
	if err != nil {
		return syncRefusal(err)
	}
	return x.meter(m)
}

// listMeters is GET /v1/billing/meters.
func (s *Server) listMeters(x *exchange) *stripe.Error {
	if r := s.openQuery(x); r != nil {
		return r
	}
	status, err := x.form.Enum("status", "active", "inactive")
	if err != nil {
		return syncRefusal(err)
	}
	p, err := x.paging()
	if err != nil {
		return syncRefusal(err)
	}
	if err := x.form.Unknown(); err != nil {
		return syncRefusal(err)
	}
	snapshot, r := s.caughtUp()
	if r != nil {
		return r
	}
	meters, more, r := pageOf(snapshot.Meters(x.business, x.livemode), status, p)
	if r != nil {
		return r
	}
	return x.ok(stripe.AppendList(x.answer[:0], x.path(), meters, more, func(dst []byte, m **control.Meter) []byte {
		return appendMeter(dst, *m)
	}))
}

// paging is what the parameters of a list say about the page.
type paging struct {
	limit         int
	after, before string // ids; at most one is there
}

// paging reads the parameters that all lists have.
func (x *exchange) paging() (p paging, err error) {
	f := &x.form
	if p.limit, err = limitParam(f, listDefault); err != nil {
		return p, err
	}
	after, _, err := f.Optional("starting_after")
	if err != nil {
		return p, err
	}
	before, _, err := f.Optional("ending_before")
	if err != nil {
		return p, err
	}
	if len(after) > 0 && len(before) > 0 {
		return p, stripe.ParamInvalid("ending_before", "can not be given together with starting_after")
	}
	p.after, p.before = string(after), string(before)
	return p, nil
}

// limitParam is how many objects a list's page may have.
func limitParam(f *stripe.Form, absent int) (int, error) {
	limit, given, err := f.OptionalInteger("limit")
	switch {
	case err != nil:
		return 0, err
	case !given:
		return absent, nil
	case limit < 1 || limit > listMax:
		return 0, stripe.ParamInvalid("limit", "must be between 1 and 100")
	}
	return int(limit), nil
}

// pageOf cuts a page out of a business's meters, which come and stay newest first. The cursor may be a meter of another
// status: it was in the page before, and has changed since.
func pageOf(all []*control.Meter, status string, p paging) (page []*control.Meter, more bool, r *stripe.Error) {
	at := func(id, param string) (int, *stripe.Error) {
		i := slices.IndexFunc(all, func(m *control.Meter) bool { return m.ID == id })
		if i < 0 {
			return 0, stripe.NoSuchCursor("billing meter", id, param)
		}
		return i, nil
	}
	from, to := 0, len(all)
	switch {
	case p.after != "":
		i, r := at(p.after, "starting_after")
		if r != nil {
			return nil, false, r
		}
		from = i + 1
	case p.before != "":
		i, r := at(p.before, "ending_before")
		if r != nil {
			return nil, false, r
		}
		to = i
	}
	for _, m := range all[from:to] {
		if status == "" || m.Active == (status == "active") {
			page = append(page, m)
		}
	}
	switch more = len(page) > p.limit; {
	case more && p.before != "":
		page = page[len(page)-p.limit:] // the ones next to the cursor
	case more:
		page = page[:p.limit]
	}
	return page, more, nil
}

// meter answers with a meter.
func (x *exchange) meter(m *control.Meter) *stripe.Error {
	return x.ok(appendMeter(x.answer[:0], m))
}

func appendMeter(dst []byte, m *control.Meter) []byte {
	return stripe.AppendMeter(dst, &stripe.Meter{
		ID: m.ID, DisplayName: m.DisplayName, EventName: m.EventName, Formula: string(m.Formula),
		CustomerKey: m.CustomerKey, ValueKey: m.ValueKey, EventTimeWindow: string(m.Window),
		CreatedMs: m.CreatedMs, UpdatedMs: m.UpdatedMs, Active: m.Active, DeactivatedMs: m.DeactivatedMs, Livemode: m.Livemode,
	})
}

// openQuery begins a GET: its key, and its parameters, which are a form in x.form.
func (s *Server) openQuery(x *exchange) *stripe.Error {
	if _, r := s.authenticate(x); r != nil {
		return r
	}
	if err := stripe.ParseForm(&x.form, queryOf(x.text(x.index.target))); err != nil {
		return syncRefusal(err)
	}
	if x.version == v1 { // v2 has no expansion
		x.form.Ignore("expand")
	}
	return nil
}

// path is the request's path as it was sent. It is valid until letGo.
func (x *exchange) path() []byte { return pathOf(x.text(x.index.target)) }

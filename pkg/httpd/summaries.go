package httpd

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"time"

	"tollgate/pkg/control"
	"tollgate/pkg/meterevent"
	"tollgate/pkg/stripe"
	"tollgate/pkg/usage"
)

// headerAsOf says up to when what was acknowledged is in an answer about usage.
const headerAsOf = "Tollgate-As-Of"

// asOf sets the header. It refuses an answer that has nothing in it at all: SDKs do not show the header, and no usage
// would be believed.
func (x *exchange) asOf(ms int64) *stripe.Error {
	if ms <= 0 {
		return stripe.UsageNotCounted()
	}
	x.ctx.Response.Header.Set(headerAsOf, time.UnixMilli(ms).UTC().Format(stripe.TimeLayout))
	return nil
}

const (
	minuteSeconds = 60
	hourSeconds   = 60 * minuteSeconds
	daySeconds    = 24 * hourSeconds
	// timeMax is the last second of the year 9999.
	timeMax = 253_402_300_799
)

// eventSummaries is GET /v1/billing/meters/:id/event_summaries.
func (s *Server) eventSummaries(x *exchange) *stripe.Error {
	if r := s.openQuery(x); r != nil {
		return r
	}
	m, r := s.knownMeter(x)
	if r != nil {
		return r
	}
	q, err := x.summaryQuery(m)
	if err != nil {
		return syncRefusal(err)
	}
	if q == nil {
		return x.summaries(m, nil, usage.Totals{}) // a page behind the last window there can be
	}
	ctx, cancel := context.WithTimeout(context.Background(), s.cfg.UsageWaitMax)
	defer cancel()
	totals, err := s.cfg.Usage.Totals(ctx, *q)
	if err != nil {
		return noUsage(err)
	}
	if r := x.asOf(totals.AsOfMs); r != nil {
		return r
	}
	return x.summaries(m, q, totals)
}

// knownMeter is the meter that the path names. What is read of it here never changes, so that it does not matter how old
// the snapshot is that knows it.
func (s *Server) knownMeter(x *exchange) (*control.Meter, *stripe.Error) {
	if m, err := x.known(s.cfg.Control.Snapshot()); err == nil {
		return m, nil
	}
	snapshot, r := s.caughtUp()
	if r != nil {
		return nil, r
	}
	m, err := x.known(snapshot)
	if err != nil {
		return nil, syncRefusal(err)
	}
	return m, nil
}

// summaryQuery reads the parameters. It is nil when a cursor leaves no window to ask for.
func (x *exchange) summaryQuery(m *control.Meter) (*usage.Query, error) {
	f := &x.form
	customer, err := f.Required("customer")
	if err != nil {
		return nil, err
	}
	if len(customer) > meterevent.PayloadValueBytesMax {
		return nil, stripe.ParamTooLong("customer", meterevent.PayloadValueBytesMax, "bytes")
	}
	start, err := timeParam(f, "start_time")
	if err != nil {
		return nil, err
	}
	end, err := timeParam(f, "end_time")
	if err != nil {
		return nil, err
	}
	window, err := f.Enum("value_grouping_window", "day", "hour")
	if err != nil {
		return nil, err
	}
	p, err := x.paging()
	if err != nil {
		return nil, err
	}
	if err := f.Unknown(); err != nil {
		return nil, err
	}
	if start >= end {
		return nil, stripe.ParamInvalid("end_time", "must be after start_time")
	}
	if start, end, err = aligned(start, end, usage.Grouping(window)); err != nil {
		return nil, err
	}
	q := &usage.Query{
		Scope: x.scope([]byte(m.EventName)), MeterID: m.ID, Formula: m.Formula, Customer: string(customer),
		StartMs: start * 1000, EndMs: end * 1000, Grouping: usage.Grouping(window), Limit: p.limit,
	}
	return pageOfWindows(q, p)
}

func timeParam(f *stripe.Form, name string) (int64, error) {
	if _, err := f.Required(name); err != nil {
		return 0, err
	}
	n, _, err := f.OptionalInteger(name)
	if err == nil && (n < 0 || n > timeMax) {
		err = stripe.ParamInvalid(name, "must be Unix seconds in the years 1970 to 9999")
	}
	return n, err
}

// aligned checks that a grouped range consists of whole windows. One that is not grouped is widened to whole minutes:
// people ask for everything from second 1 until now.
func aligned(start, end int64, grouping usage.Grouping) (from, to int64, err error) {
	step, where := int64(minuteSeconds), ""
	switch grouping {
	case usage.ByHour:
		step, where = hourSeconds, "must fall on an hour"
	case usage.ByDay:
		step, where = daySeconds, "must fall on midnight UTC"
	}
	from, to = start/step*step, (end+step-1)/step*step
	switch {
	case where != "" && from != start:
		return 0, 0, stripe.ParamInvalid("start_time", where)
	case where != "" && to != end:
		return 0, 0, stripe.ParamInvalid("end_time", where)
	}
	return from, to, nil
}

// pageOfWindows narrows a query to the windows on the cursor's other side; nil when there is none.
func pageOfWindows(q *usage.Query, p paging) (*usage.Query, error) {
	id, param := p.after, "starting_after"
	if id == "" {
		id, param = p.before, "ending_before"
	}
	if id == "" {
		return q, nil
	}
	startMs, ok := windowOf(q, id)
	if !ok {
		return nil, stripe.NoSuchCursor("billing meter event summary", id, param)
	}
	switch {
	case q.Grouping == usage.NoGrouping: // its one window is the cursor itself
		return nil, nil
	case p.after != "":
		if startMs <= q.StartMs {
			return nil, nil
		}
		q.BeforeMs = startMs
	default:
		q.AfterMs = max(startMs, 1) // 0 would be no bound, and no window begins in between
	}
	return q, nil
}

// A summary's id is its window and a mark of what it is a window of:
//
//	bytes 0–3    start, in minutes since 1970
//	bytes 4–7    end, the same
//	bytes 8–15   of the hash of meter, customer, grouping, start and end
//
// So it is the same in every answer, on every gateway, and as a cursor needs nothing to be remembered. The mark keeps
// cursors of other lists out; it is no secret.
func summaryBits(q *usage.Query, startMs, endMs int64) (bits [16]byte) {
	binary.BigEndian.PutUint32(bits[0:], uint32(startMs/(minuteSeconds*1000)))
	binary.BigEndian.PutUint32(bits[4:], uint32(endMs/(minuteSeconds*1000)))
	var buf [256]byte
	text := append(buf[:0], bits[:8]...)
	for _, part := range [...]string{q.MeterID, q.Customer, string(q.Grouping)} {
		text = appendText(text, []byte(part))
	}
	sum := sha256.Sum256(text)
	copy(bits[8:], sum[:8])
	return bits
}

// windowOf is where the window of an id begins, if it is one of the query's list.
func windowOf(q *usage.Query, id string) (startMs int64, ok bool) {
	bits, ok := stripe.ParseSummaryID(id, q.Livemode)
	if !ok {
		return 0, false
	}
	startMs = int64(binary.BigEndian.Uint32(bits[0:])) * minuteSeconds * 1000
	endMs := int64(binary.BigEndian.Uint32(bits[4:])) * minuteSeconds * 1000
	return startMs, summaryBits(q, startMs, endMs) == bits
}

// summaries answers with the windows.
func (x *exchange) summaries(m *control.Meter, q *usage.Query, totals usage.Totals) *stripe.Error {
	return x.ok(stripe.AppendList(x.answer[:0], x.path(), totals.Windows, totals.More, func(dst []byte, w *usage.WindowTotal) []byte {
		return stripe.AppendSummary(dst, &stripe.Summary{
			Bits: summaryBits(q, w.StartMs, w.EndMs), Meter: m.ID, Value: w.Value, StartMs: w.StartMs, EndMs: w.EndMs, Livemode: m.Livemode,
		})
	}))
}

// noUsage renders why there is no answer about usage: never a part of it.
func noUsage(err error) *stripe.Error {
	if incomplete, ok := errors.AsType[*usage.IncompleteError](err); ok {
		return stripe.TotalsIncomplete(incomplete.FromMs, incomplete.ToMs)
	}
	return stripe.UsageUnavailable()
}

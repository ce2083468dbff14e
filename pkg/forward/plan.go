package forward

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"slices"

	"tollgate/pkg/control"
	"tollgate/pkg/meterevent"
)

// item is what a lane has to know of one record.
type item struct {
	offset                  int64
	receivedMs, timestampMs int64
	cancel                  bool // it is an adjustment
	forgotten               bool // whether it counted can not be said any more
	other                   int64
	name, identifier        string
	payload                 []byte
	meter                   *control.Meter
	customer                string
	value                   meterevent.Decimal
	// undone is, of an adjustment while rolling up, the event that it took out; nil: it can not be read.
	undone *item
}

func (i *item) bytes() int {
	return 200 + len(i.name) + len(i.identifier) + len(i.payload) + len(i.customer)
}

// parcel is one thing to be sent: an event, several as one, or a cancel.
type parcel struct {
	cancel      bool
	other       int64 // of a cancel, the offset of the event that it takes out
	rolled      int   // events and cancels in it; 0: it is one event as it came
	offset      int64
	receivedMs  int64 // the oldest
	timestampMs int64
	name        string
	identifier  string
	payload     []byte // a JSON object of strings
	// reason, if there is one, is why it is set aside and not sent.
	reason string
}

// bytes is what it takes in a request, or a little more.
func (p *parcel) bytes() int { return len(p.payload) + len(p.name) + len(p.identifier) + 100 }

// The reasons for which something is set aside without an answer of Stripe.
const (
	reasonForgotten  = "verdict_forgotten"     // behind for longer than the index of identifiers reaches
	reasonUnknown    = "outcome_unknown"       // tried, not answered, and Stripe may have forgotten the identifier
	reasonTooOld     = "timestamp_too_old"     // by its own time
	reasonLast       = "last_not_cancellable"  // a cancel of what was rolled up of a meter that keeps the last value
	reasonUndoneGone = "cancelled_event_gone"  // a cancel whose event the log does not hold any more
	reasonTooLong    = "rolled_value_too_long" // a value that no 15 digits can say
	reasonRefused    = "refused"               // by Stripe
)

// batch collects a range. It is pure: cursor, items and bounds decide what is sent, and the same ones decide the same.
type batch struct {
	cursor  cursor
	decided bool // the cursor is durable already, and says what to skip
	skip    map[int64]bool
	cancels map[int64]bool
	plain   []parcel
	undo    []parcel
	groups  map[groupKey]*group
	order   []*group
	records int
	bytes   int
	// Of the items that are sent: the oldest.
	receivedMs, timestampMs int64
}

// newBatch begins a range behind a cursor.
func newBatch(before *cursor, next, rollupMs int64) *batch {
	b := &batch{cursor: cursor{
		Object: cursorObject, Business: before.Business, Livemode: before.Livemode, Partition: before.Partition,
		Origin: before.Origin, Next: next, End: next, RollupMs: rollupMs, Gateway: before.Gateway,
	}}
	for _, offset := range before.SkipCancels {
		if offset >= next {
			b.cursor.SkipCancels = append(b.cursor.SkipCancels, offset)
		}
	}
	b.index()
	return b
}

// batchAgain begins a range that was decided before.
func batchAgain(c *cursor) *batch {
	b := &batch{cursor: *c, decided: true}
	b.index()
	return b
}

func (b *batch) index() {
	b.groups, b.skip, b.cancels = map[groupKey]*group{}, map[int64]bool{}, map[int64]bool{}
	for _, offset := range b.cursor.Skip {
		b.skip[offset] = true
	}
	for _, offset := range b.cursor.SkipCancels {
		b.cancels[offset] = true
	}
}

// add takes the next item of the range.
func (b *batch) add(i *item) {
	b.records++
	if !i.cancel && !b.decided && i.other >= 0 && !i.forgotten && len(b.cursor.Skip) < skipMax && len(b.cursor.SkipCancels) < skipMax {
		b.cursor.Skip, b.cursor.SkipCancels = append(b.cursor.Skip, i.offset), append(b.cursor.SkipCancels, i.other)
		b.skip[i.offset], b.cancels[i.other] = true, true
	}
	if b.skip[i.offset] || b.cancels[i.offset] || i.cancel && i.other < b.cursor.Origin {
		return
	}
	if b.receivedMs == 0 || i.receivedMs < b.receivedMs {
		b.receivedMs = i.receivedMs
	}
	if !i.cancel && (b.timestampMs == 0 || i.timestampMs < b.timestampMs) {
		b.timestampMs = i.timestampMs
	}
	switch {
	case i.forgotten:
		b.one(i, reasonForgotten)
	case b.cursor.RollupMs == 0, !i.cancel && replaces(i.meter), i.cancel && i.undone != nil && replaces(i.undone.meter):
		b.one(i, "")
	case !i.cancel:
		b.roll(i, i, false)
	case i.undone == nil:
		b.one(i, reasonUndoneGone)
	case i.undone.meter.Formula == control.Last:
		b.one(i, reasonLast)
	default:
		b.roll(i.undone, i, true)
	}
}

// replaces says that a newer event of the meter takes the place of those before it in the same hour or day. Their sum
// would be none of Stripe's, so that each is sent by itself.
func replaces(m *control.Meter) bool { return m.Window != "" }

func (b *batch) one(i *item, reason string) {
	p := parcel{cancel: i.cancel, offset: i.offset, receivedMs: i.receivedMs, timestampMs: i.timestampMs, name: i.name, identifier: i.identifier, payload: i.payload, reason: reason}
	b.bytes += i.bytes()
	if i.cancel {
		p.other = i.other
		b.undo = append(b.undo, p)
		return
	}
	b.plain = append(b.plain, p)
}

// parcels are what is to be sent of the range: first events, then cancels.
func (b *batch) parcels() (events, cancels []parcel) {
	events = b.plain
	for _, g := range b.order {
		events = append(events, g.parcels(b)...)
	}
	return events, b.undo
}

func (b *batch) size() int { return len(b.plain) + len(b.undo) + len(b.order) }

// groupKey is what is rolled up to one event.
type groupKey struct {
	meter, customer string
	window          int64 // its start, ms
}

// group is the part of a range that is of one meter, customer and window.
type group struct {
	key    groupKey
	meter  *control.Meter
	parts  []part // each fits 15 digits
	latest item   // of a meter that keeps the last
}

// part is what one event says. Sums are cut before they have more digits than Stripe takes.
type part struct {
	sum                             meterevent.Decimal
	records                         int
	offset, receivedMs, timestampMs int64
	broken                          bool
}

// roll adds an event to its group, or takes it out.
func (b *batch) roll(e, by *item, takeOut bool) {
	ms := b.cursor.RollupMs
	key := groupKey{e.meter.ID, e.customer, floorTo(e.timestampMs, ms)}
	g := b.groups[key]
	if g == nil {
		g = &group{key: key, meter: e.meter}
		b.groups[key] = g
		b.order = append(b.order, g)
		b.bytes += 400 + len(e.customer)
	}
	value := e.value
	if e.meter.Formula == control.Count {
		value = meterevent.DecimalOf(1)
	}
	if takeOut {
		value.Neg()
	}
	if e.meter.Formula == control.Last {
		if len(g.parts) == 0 || e.timestampMs >= g.latest.timestampMs {
			g.latest = *e
		}
	}
	g.add(&value, e, by)
}

func (g *group) add(value *meterevent.Decimal, e, by *item) {
	var last *part
	if n := len(g.parts); n > 0 {
		last = &g.parts[n-1]
		if g.meter.Formula != control.Last {
			sum := last.sum
			sum.Add(value)
			if meterevent.CheckValue(sum.AppendText(nil)) != "" {
				last = nil
			} else {
				last.sum = sum
			}
		}
	}
	if last == nil {
		g.parts = append(g.parts, part{sum: *value, offset: by.offset, receivedMs: by.receivedMs, timestampMs: e.timestampMs, broken: meterevent.CheckValue(value.AppendText(nil)) != ""})
		last = &g.parts[len(g.parts)-1]
	}
	last.records++
	last.receivedMs, last.timestampMs = min(last.receivedMs, by.receivedMs), max(last.timestampMs, e.timestampMs)
}

func (g *group) parcels(b *batch) []parcel {
	list := make([]parcel, 0, len(g.parts))
	for n := range g.parts {
		p := &g.parts[n]
		value, at := p.sum, p.timestampMs
		if g.meter.Formula == control.Last {
			value, at = g.latest.value, g.latest.timestampMs
		}
		out := parcel{
			rolled: p.records, offset: p.offset, receivedMs: p.receivedMs, timestampMs: at, name: g.meter.EventName,
			identifier: g.identifier(&b.cursor, n),
		}
		if p.broken && g.meter.Formula != control.Last {
			out.reason = reasonTooLong
		}
		key := g.meter.ValueKey
		if key == "" {
			key = "value"
		}
		out.payload = append(out.payload, '{')
		out.payload = appendString(out.payload, g.meter.CustomerKey)
		out.payload = appendString(append(out.payload, ':'), g.key.customer)
		out.payload = appendString(append(out.payload, ','), key)
		out.payload = append(append(out.payload, ':', '"'), value.AppendText(nil)...)
		out.payload = append(out.payload, '"', '}')
		list = append(list, out)
	}
	return list
}

// identifier is derived from what makes the group, so that whoever sends the range says the same. A late event comes in
// another range, hence under another identifier.
func (g *group) identifier(c *cursor, part int) string {
	var b []byte
	for _, text := range []string{c.Business, scope{c.Business, c.Livemode}.String(), g.key.meter, g.key.customer} {
		b = append(binary.AppendUvarint(b, uint64(len(text))), text...)
	}
	for _, n := range []int64{g.key.window, c.RollupMs, int64(c.Partition), c.Next, int64(part)} {
		b = binary.BigEndian.AppendUint64(b, uint64(n))
	}
	sum := sha256.Sum256(b)
	return "rollup_" + base64.RawURLEncoding.EncodeToString(sum[:18])
}

func floorTo(ms, unit int64) int64 {
	q := ms / unit
	if ms%unit < 0 {
		q--
	}
	return q * unit
}

// cut divides parcels into requests.
func cut(parcels []parcel, countMax, bytesMax int) (requests [][]parcel) {
	for len(parcels) > 0 {
		n, bytes := 0, 0
		for n < len(parcels) && n < countMax && (n == 0 || bytes < bytesMax) {
			bytes += parcels[n].bytes()
			n++
		}
		requests = append(requests, slices.Clip(parcels[:n]))
		parcels = parcels[n:]
	}
	return requests
}

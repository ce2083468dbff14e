package webhook

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
	"unique"

	"tollgate/pkg/recordbatch"
	"tollgate/pkg/stripe"
)

const (
	cursorPrefix   = "destination/"
	deliveryPrefix = "delivery/"
	markKey        = "mark" // of a record that says nothing: see Courier.mark

	cursorObject   = "destination_cursor"
	deliveryObject = "destination_delivery"
)

// place is a destination as keys name it.
type place struct {
	business, id string
	livemode     bool
}

func (p place) String() string {
	mode := "testmode"
	if p.livemode {
		mode = "livemode"
	}
	return p.business + "/" + mode + "/" + p.id
}

// failing is since when nothing has been delivered, and what went wrong last. The zero value: nothing.
type failing struct {
	sinceMs int64
	reason  unique.Handle[string] // shared: thousands of deliveries fail for one reason
}

// cursor is how far a destination is.
type cursor struct {
	next    int64
	failing failing
}

// delivery is an event that is to be delivered to a destination. On the board it is immutable; a runner's belong to it.
type delivery struct {
	key     string // the event's id; of a resend, with a slash and a name behind it
	offset  int64  // of the event in the events topic
	tries   int
	firstMs int64 // of the first try; of a resend, when it was asked for
	dueMs   int64
	resend  bool
	reason  unique.Handle[string] // of the last failure; zero before the first try

	// What is below is a runner's.
	flying   bool
	recorded bool // the cursors topic may have it
	index    int  // in the heap of those that wait
}

// event is the id of the event.
func (d *delivery) event() string {
	id, _, _ := strings.Cut(d.key, "/")
	return id
}

func reasonText(h unique.Handle[string]) string {
	if h == (unique.Handle[string]{}) {
		return ""
	}
	return h.Value()
}

// cursorRecord and deliveryRecord are the values in the cursors topic: docs/schema/cursors.schema.json.
type cursorRecord struct {
	Object      string         `json:"object"`
	Destination string         `json:"destination"`
	Business    string         `json:"business"`
	Livemode    bool           `json:"livemode"`
	Next        int64          `json:"next"`
	Gateway     string         `json:"gateway"`
	At          string         `json:"at"`
	Failing     *failingRecord `json:"failing,omitempty"`
}

type failingRecord struct {
	Since string `json:"since"`
	Error string `json:"error"`
}

type deliveryRecord struct {
	Object      string `json:"object"`
	Destination string `json:"destination"`
	Event       string `json:"event"`
	Business    string `json:"business"`
	Livemode    bool   `json:"livemode"`
	Offset      int64  `json:"offset"`
	Tries       int    `json:"tries"`
	First       string `json:"first"`
	Due         string `json:"due"`
	Resend      bool   `json:"resend"`
	LastError   string `json:"last_error,omitempty"`
}

func timeText(ms int64) string { return time.UnixMilli(ms).UTC().Format(stripe.TimeLayout) }

func cursorKey(p place) string { return cursorPrefix + p.String() }
func deliveryKey(p place, delivery string) string {
	return deliveryPrefix + p.String() + "/" + delivery
}

func appendCursor(dst []byte, p place, c cursor, gateway string, nowMs int64) []byte {
	r := cursorRecord{
		Object: cursorObject, Destination: p.id, Business: p.business, Livemode: p.livemode,
		Next: c.next, Gateway: gateway, At: timeText(nowMs),
	}
	if c.failing.sinceMs != 0 {
		r.Failing = &failingRecord{Since: timeText(c.failing.sinceMs), Error: reasonText(c.failing.reason)}
	}
	return appendJSON(dst, r)
}

func appendDelivery(dst []byte, p place, d *delivery) []byte {
	return appendJSON(dst, deliveryRecord{
		Object: deliveryObject, Destination: p.id, Event: d.event(), Business: p.business, Livemode: p.livemode,
		Offset: d.offset, Tries: d.tries, First: timeText(d.firstMs), Due: timeText(d.dueMs),
		Resend: d.resend, LastError: reasonText(d.reason),
	})
}

func appendJSON(dst []byte, v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("BUG: webhook: a record that is no JSON: %v", err))
	}
	return append(dst, b...)
}

// said is what a record says: a cursor or a delivery, or, when both are nil, that there is none any more.
type said struct {
	place    place
	delivery string // the delivery's key; empty: it is about the cursor
	cursor   *cursor
	waiting  *delivery
}

// parseRecord reads a record of the cursors topic. ours is false for keys of other rooms.
func parseRecord(rec recordbatch.Record) (s said, ours bool, err error) {
	key := string(rec.Key)
	if rest, ok := strings.CutPrefix(key, cursorPrefix); ok {
		s.place, rest, ok = parsePlace(rest)
		if !ok || rest != "" {
			return s, true, fmt.Errorf("the key %q names no destination", key)
		}
		if rec.Value != nil {
			s.cursor, err = parseCursor(rec.Value, s.place)
		}
		return s, true, err
	}
	if rest, ok := strings.CutPrefix(key, deliveryPrefix); ok {
		s.place, s.delivery, ok = parsePlace(rest)
		if !ok || s.delivery == "" {
			return s, true, fmt.Errorf("the key %q names no delivery", key)
		}
		if rec.Value != nil {
			s.waiting, err = parseDelivery(rec.Value, s.place, s.delivery)
		}
		return s, true, err
	}
	return s, false, nil
}

func parsePlace(text string) (p place, rest string, ok bool) {
	parts := strings.SplitN(text, "/", 4)
	if len(parts) < 3 || parts[0] == "" || parts[2] == "" || (parts[1] != "livemode" && parts[1] != "testmode") {
		return p, "", false
	}
	p = place{business: parts[0], livemode: parts[1] == "livemode", id: parts[2]}
	if len(parts) == 4 {
		rest = parts[3]
	}
	return p, rest, true
}

func parseCursor(value []byte, p place) (*cursor, error) {
	var r cursorRecord
	if err := json.Unmarshal(value, &r); err != nil {
		return nil, err
	}
	if r.Object != cursorObject || (place{r.Business, r.Destination, r.Livemode}) != p || r.Next < 0 {
		return nil, errors.New("the value is not a cursor of its key's destination")
	}
	c := &cursor{next: r.Next}
	if r.Failing != nil {
		since, err := time.Parse(stripe.TimeLayout, r.Failing.Since)
		if err != nil {
			return nil, err
		}
		c.failing = failing{sinceMs: since.UnixMilli(), reason: unique.Make(r.Failing.Error)}
	}
	return c, nil
}

func parseDelivery(value []byte, p place, key string) (*delivery, error) {
	var r deliveryRecord
	if err := json.Unmarshal(value, &r); err != nil {
		return nil, err
	}
	d := &delivery{key: key, offset: r.Offset, tries: r.Tries, resend: r.Resend}
	if r.Object != deliveryObject || (place{r.Business, r.Destination, r.Livemode}) != p || r.Event != d.event() || r.Offset < 0 || r.Tries < 0 {
		return nil, errors.New("the value is not a delivery of its key's event")
	}
	first, err := time.Parse(stripe.TimeLayout, r.First)
	if err != nil {
		return nil, err
	}
	due, err := time.Parse(stripe.TimeLayout, r.Due)
	if err != nil {
		return nil, err
	}
	d.firstMs, d.dueMs = first.UnixMilli(), due.UnixMilli()
	if r.LastError != "" {
		d.reason = unique.Make(r.LastError)
	}
	return d, nil
}

package thinevent

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"tollgate/pkg/recordbatch"
	"tollgate/pkg/stripe"
)

const (
	// textBytesMax bounds each text of an event that keys are made of; ours are shorter by far.
	textBytesMax = 500
	// eventObject is the object of every record.
	eventObject = "v2.core.event"
)

// appendRecord appends the body of an event's record, key and value. docs/schema/events.schema.json has the value: the
// event as it is retrieved, with the business and the source behind it.
func appendRecord(dst []byte, e *Event) []byte {
	value := stripe.AppendEvent(nil, &e.Event)
	value = append(value[:len(value)-1], `,"business":`...)
	value = append(value, encodeJSON(e.Business)...)
	if e.Source != (Source{}) {
		value = append(value, `,"source":`...)
		value = append(value, encodeJSON(recordSource(e.Source))...)
	}
	value = append(value, '}')
	return recordbatch.AppendBody(dst, []byte(e.key()), value)
}

// key is the key of an event's record.
func (e *Event) key() string { return e.Business + "/" + modeName(e.Livemode) + "/" + e.ID }

// record is the value of a record.
type record struct {
	Object   string        `json:"object"`
	ID       string        `json:"id"`
	Type     string        `json:"type"`
	Created  string        `json:"created"`
	Livemode *bool         `json:"livemode"`
	Context  string        `json:"context"`
	Reason   *recordReason `json:"reason"`
	Related  *struct {
		ID   string `json:"id"`
		Type string `json:"type"`
		URL  string `json:"url"`
	} `json:"related_object"`
	Data     json.RawMessage `json:"data"`
	Business string          `json:"business"`
	Source   *recordSource   `json:"source"`
}

type recordReason struct {
	Request struct {
		ID             string `json:"id"`
		IdempotencyKey string `json:"idempotency_key"`
	} `json:"request"`
}

type recordSource struct {
	Partition int32 `json:"partition"`
	First     int64 `json:"first"`
	Through   int64 `json:"through"`
}

// parseRecord reads a record. The event shares no memory with it.
func parseRecord(rec *recordbatch.Record) (*Event, error) {
	var r record
	if err := json.Unmarshal(rec.Value, &r); err != nil {
		return nil, err
	}
	created, err := time.Parse(stripe.TimeLayout, r.Created)
	switch {
	case err != nil:
		return nil, err
	case r.Object != eventObject:
		return nil, fmt.Errorf("its object is %.100q", r.Object)
	case r.Livemode == nil:
		return nil, errors.New("it has no livemode")
	}
	e := &Event{
		Event:    stripe.Event{ID: r.ID, Type: r.Type, CreatedMs: created.UnixMilli(), Livemode: *r.Livemode, Context: r.Context, Data: r.Data},
		Business: r.Business, Offset: rec.Offset,
	}
	if r.Reason != nil {
		e.Reason = &stripe.EventReason{RequestID: r.Reason.Request.ID, IdempotencyKey: r.Reason.Request.IdempotencyKey}
	}
	if r.Related != nil {
		e.Related = &stripe.RelatedObject{ID: r.Related.ID, Type: r.Related.Type, URL: r.Related.URL}
	}
	if r.Source != nil {
		e.Source = Source(*r.Source)
	}
	return e, e.check()
}

// check refuses what can not be a record of an event, before it is written and after it was read.
func (e *Event) check() error {
	for _, text := range []struct{ name, value string }{{"id", e.ID}, {"type", e.Type}, {"business", e.Business}} {
		if text.value == "" || len(text.value) > textBytesMax {
			return fmt.Errorf("its %s has %d bytes", text.name, len(text.value))
		}
	}
	if e.Related != nil && len(e.Related.ID) > textBytesMax {
		return fmt.Errorf("its related object has an id of %d bytes", len(e.Related.ID))
	}
	if year := time.UnixMilli(e.CreatedMs).UTC().Year(); year < 1970 || year > 9999 {
		return fmt.Errorf("it was created in the year %d", year)
	}
	// Without an object there a Go client crashes that retrieves the event.
	if len(e.Data) == 0 || e.Data[0] != '{' || !json.Valid(e.Data) {
		return errors.New("its data is no JSON object")
	}
	return nil
}

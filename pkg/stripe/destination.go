package stripe

import (
	"maps"
	"slices"
)

// The types of an event destination. Stripe knows two more, which the gateway refuses; kafka_topic is ours.
const (
	WebhookEndpoint = "webhook_endpoint"
	KafkaTopic      = "kafka_topic"
)

// EventDestination is a v2.core.event_destination. Its event_payload is always thin, and its events are the account's own.
type EventDestination struct {
	ID, Name, Description string
	CreatedMs, UpdatedMs  int64
	EnabledEvents         []string
	Livemode              bool
	Metadata              map[string]string
	Type                  string // WebhookEndpoint or KafkaTopic
	Enabled               bool
	DisabledReason        string // while it is not enabled
	// Failing, while nothing could be delivered lately; nil otherwise. It is ours: Stripe has no such thing. It is not
	// shown of a destination that is disabled, to which nothing is delivered on purpose.
	Failing *DestinationFailing
	// URL and SigningSecret are shown when they were asked for by include; empty: null. Both empty: webhook_endpoint is null.
	URL, SigningSecret string
	Topic              string // of kafka_topic; always shown
}

// DestinationFailing says since when nothing was delivered, and why.
type DestinationFailing struct {
	SinceMs   int64
	LastError string
	Pending   int // deliveries that wait for their next try
}

// AppendEventDestination appends v2.core.event_destination.
func AppendEventDestination(dst []byte, d *EventDestination) []byte {
	dst = append(dst, `{"id":`...)
	dst = appendQuoted(dst, d.ID)
	dst = append(dst, `,"object":"v2.core.event_destination"`...)
	dst = appendTimeField(dst, "created", d.CreatedMs)
	dst = append(dst, `,"description":`...)
	dst = appendQuoted(dst, d.Description)
	dst = append(dst, `,"enabled_events":[`...)
	for i, name := range d.EnabledEvents {
		dst = appendComma(dst, i)
		dst = appendQuoted(dst, name)
	}
	dst = append(dst, `],"event_payload":"thin","events_from":["self"]`...)
	dst = appendBoolField(dst, "livemode", d.Livemode)
	dst = appendMetadata(dst, d.Metadata)
	dst = append(dst, `,"name":`...)
	dst = appendQuoted(dst, d.Name)
	dst = append(dst, `,"snapshot_api_version":null`...)
	dst = appendDestinationStatus(dst, d)
	dst = append(dst, `,"type":`...)
	dst = appendQuoted(dst, d.Type)
	dst = appendTimeField(dst, "updated", d.UpdatedMs)
	dst = appendWebhookEndpoint(dst, d)
	if d.Type == KafkaTopic {
		dst = append(dst, `,"kafka_topic":{"topic":`...)
		dst = appendQuoted(dst, d.Topic)
		dst = append(dst, '}')
	}
	return append(dst, '}')
}

func appendComma(dst []byte, i int) []byte {
	if i > 0 {
		return append(dst, ',')
	}
	return dst
}

// appendMetadata appends the entries in the order of their keys, so that the same destination is always the same text.
func appendMetadata(dst []byte, metadata map[string]string) []byte {
	dst = append(dst, `,"metadata":{`...)
	for i, key := range slices.Sorted(maps.Keys(metadata)) {
		dst = appendComma(dst, i)
		dst = appendQuoted(dst, key)
		dst = append(dst, ':')
		dst = appendQuoted(dst, metadata[key])
	}
	return append(dst, '}')
}

func appendDestinationStatus(dst []byte, d *EventDestination) []byte {
	switch {
	case !d.Enabled:
		dst = append(dst, `,"status":"disabled","status_details":{"disabled":{"reason":`...)
		dst = appendQuoted(dst, d.DisabledReason)
		return append(dst, '}', '}')
	case d.Failing != nil:
		dst = append(dst, `,"status":"enabled","status_details":{"failing":{"since":"`...)
		dst = appendTime(dst, d.Failing.SinceMs)
		dst = append(dst, `","last_error":`...)
		dst = appendQuoted(dst, d.Failing.LastError)
		dst = appendIntField(dst, "pending", int64(d.Failing.Pending))
		return append(dst, '}', '}')
	}
	return append(dst, `,"status":"enabled","status_details":null`...)
}

func appendWebhookEndpoint(dst []byte, d *EventDestination) []byte {
	if d.URL == "" && d.SigningSecret == "" {
		return append(dst, `,"webhook_endpoint":null`...)
	}
	dst = append(dst, `,"webhook_endpoint":{"signing_secret":`...)
	if d.SigningSecret == "" {
		dst = append(dst, "null"...)
	} else {
		dst = appendQuoted(dst, d.SigningSecret)
	}
	dst = appendTextOrNull(dst, "url", d.URL)
	return append(dst, '}')
}

// AppendDeleted appends {"id":…,"object":…}, what a DELETE answers.
func AppendDeleted(dst []byte, object, id string) []byte {
	dst = append(dst, `{"id":`...)
	dst = appendQuoted(dst, id)
	dst = append(dst, `,"object":`...)
	dst = appendQuoted(dst, object)
	return append(dst, '}')
}

// AppendPage appends a page of a v2 list: {"data":[…],"next_page_url":…,"previous_page_url":…}. Empty URLs are null. A URL
// is a path, which SDKs glue to their base, and never leads to an empty page: Java's SDK breaks on one.
func AppendPage[T any](dst []byte, items []T, next, previous string, appendItem func([]byte, T) []byte) []byte {
	dst = append(dst, `{"data":[`...)
	for i, item := range items {
		dst = appendComma(dst, i)
		dst = appendItem(dst, item)
	}
	dst = append(dst, ']')
	dst = appendTextOrNull(dst, "next_page_url", next)
	dst = appendTextOrNull(dst, "previous_page_url", previous)
	return append(dst, '}')
}

package stripe

import "strconv"

// Meter is a meter as /v1/billing/meters answers it.
type Meter struct {
	ID, DisplayName, EventName string
	// Formula is "count", "last" or "sum".
	Formula string
	// CustomerKey and ValueKey are the payload's names for the customer and the value.
	CustomerKey, ValueKey string
	// EventTimeWindow is "hour" or "day"; empty makes it null.
	EventTimeWindow      string
	CreatedMs, UpdatedMs int64
	Active               bool
	// DeactivatedMs is for a meter that is not active.
	DeactivatedMs int64
	Livemode      bool
}

// AppendMeter appends billing.meter.
func AppendMeter(dst []byte, m *Meter) []byte {
	dst = append(dst, `{"id":`...)
	dst = appendQuoted(dst, m.ID)
	dst = append(dst, `,"object":"billing.meter"`...)
	dst = appendSecondsField(dst, "created", m.CreatedMs)
	dst = append(dst, `,"customer_mapping":{"event_payload_key":`...)
	dst = appendQuoted(dst, m.CustomerKey)
	dst = append(dst, `,"type":"by_id"},"default_aggregation":{"formula":`...)
	dst = appendQuoted(dst, m.Formula)
	dst = append(dst, `},"display_name":`...)
	dst = appendQuoted(dst, m.DisplayName)
	dst = append(dst, `,"event_name":`...)
	dst = appendQuoted(dst, m.EventName)
	dst = append(dst, `,"event_time_window":`...)
	if m.EventTimeWindow == "" {
		dst = append(dst, "null"...)
	} else {
		dst = appendQuoted(dst, m.EventTimeWindow)
	}
	dst = appendBoolField(dst, "livemode", m.Livemode)
	if m.Active {
		dst = append(dst, `,"status":"active","status_transitions":{"deactivated_at":null}`...)
	} else {
		dst = append(dst, `,"status":"inactive","status_transitions":{"deactivated_at":`...)
		dst = strconv.AppendInt(dst, unixSeconds(m.DeactivatedMs), 10)
		dst = append(dst, '}')
	}
	dst = appendSecondsField(dst, "updated", m.UpdatedMs)
	dst = append(dst, `,"value_settings":{"event_payload_key":`...)
	dst = appendQuoted(dst, m.ValueKey)
	return append(dst, '}', '}')
}

func appendSecondsField(dst []byte, name string, ms int64) []byte {
	return appendIntField(dst, name, unixSeconds(ms))
}

func appendIntField(dst []byte, name string, n int64) []byte {
	dst = append(dst, `,"`...)
	dst = append(dst, name...)
	dst = append(dst, `":`...)
	return strconv.AppendInt(dst, n, 10)
}

// AppendList appends a v1 list: a page of items, each written by appendItem, and whether there are more behind it. url is
// the path that was asked. SDKs page on with the last item's id, so that every item must have one.
func AppendList[T any](dst []byte, url []byte, items []T, hasMore bool, appendItem func(dst []byte, item *T) []byte) []byte {
	dst = append(dst, `{"object":"list","data":[`...)
	for i := range items {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendItem(dst, &items[i])
	}
	dst = append(dst, ']')
	dst = appendBoolField(dst, "has_more", hasMore)
	dst = appendTextField(dst, "url", url)
	return append(dst, '}')
}

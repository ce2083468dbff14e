package meterevent

import "strconv"

// AppendKey appends the key of a usage record: "<business>/<livemode|testmode>/<event_name>". All events of a meter have
// one key, hence one partition.
func AppendKey(dst []byte, business string, livemode bool, name []byte) []byte {
	dst = append(dst, business...)
	if livemode {
		dst = append(dst, "/livemode/"...)
	} else {
		dst = append(dst, "/testmode/"...)
	}
	return append(dst, name...)
}

// AppendBucket appends what a spread meter's key has behind the name: "/<bucket>".
func AppendBucket(dst []byte, bucket int) []byte {
	return strconv.AppendInt(append(dst, '/'), int64(bucket), 10)
}

// AppendAdjustmentRecord appends the value of an adjustment's usage record, whose key is its meter's, one JSON object:
//
//	{"object":"meter_event_adjustment","business":…,"livemode":…,"event_name":…,"received":…,"type":"cancel","cancel":{"identifier":…}}
func AppendAdjustmentRecord(dst []byte, business string, livemode bool, a *Adjustment, receivedMs int64) []byte {
	dst = appendHead(dst, `{"object":"meter_event_adjustment","business":`, business, livemode)
	dst = append(dst, `,"event_name":`...)
	dst = appendQuoted(dst, a.Name)
	dst = append(dst, `,"received":"`...)
	dst = appendTime(dst, receivedMs)
	dst = append(dst, `","type":"`...)
	dst = append(dst, a.Type...)
	dst = append(dst, `","cancel":{"identifier":`...)
	dst = appendQuoted(dst, a.Identifier)
	return append(dst, '}', '}')
}

// AppendRequestedAdjustmentRecord is AppendAdjustmentRecord with one more member, the last, as AppendRequested has it.
func AppendRequestedAdjustmentRecord(dst []byte, business string, livemode bool, a *Adjustment, receivedMs int64, request Request) []byte {
	dst = AppendAdjustmentRecord(dst, business, livemode, a, receivedMs)
	return appendRequest(dst[:len(dst)-1], request)
}

func appendHead(dst []byte, object, business string, livemode bool) []byte {
	dst = append(dst, object...)
	dst = appendQuoted(dst, business)
	if livemode {
		return append(dst, `,"livemode":true`...)
	}
	return append(dst, `,"livemode":false`...)
}

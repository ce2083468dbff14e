package forward

import (
	"encoding/json"
	"net/url"
	"strconv"
	"time"
)

// appendString appends a JSON string.
func appendString(dst []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < 0x20 || c >= 0x7f || c == '"' || c == '\\' {
			text, err := json.Marshal(s)
			if err != nil {
				panic("BUG: forward: a string that is no JSON")
			}
			return append(dst, text...)
		}
	}
	return append(append(append(dst, '"'), s...), '"')
}

// appendStream appends the body of a request to the stream.
func appendStream(dst []byte, parcels []parcel) []byte {
	dst = append(dst, `{"events":[`...)
	for i := range parcels {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendEvent(dst, &parcels[i])
	}
	return append(dst, "]}"...)
}

func appendEvent(dst []byte, p *parcel) []byte {
	dst = appendString(append(dst, `{"event_name":`...), p.name)
	dst = appendString(append(dst, `,"identifier":`...), p.identifier)
	dst = append(dst, `,"timestamp":"`...)
	dst = time.UnixMilli(p.timestampMs).UTC().AppendFormat(dst, timeForm)
	dst = append(dst, `","payload":`...)
	return append(append(dst, p.payload...), '}')
}

// formOf is the body of a request to the one-event endpoint of v1.
func formOf(p *parcel) (string, error) {
	form := url.Values{"event_name": {p.name}, "identifier": {p.identifier}, "timestamp": {strconv.FormatInt(floorTo(p.timestampMs, 1000)/1000, 10)}}
	var payload map[string]string
	if err := json.Unmarshal(p.payload, &payload); err != nil {
		return "", err
	}
	for name, value := range payload {
		form.Set("payload["+name+"]", value)
	}
	return form.Encode(), nil
}

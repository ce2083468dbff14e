package httpd

import (
	"bytes"

	"tollgate/pkg/auth"
	"tollgate/pkg/stripe"
)

// A route is an endpoint: one path, which takes POST and nothing else.
type route struct {
	name       string // label of its metrics
	path       string
	version    apiVersion
	permission auth.Permission // what an API key needs; the stream takes session tokens, checked for the same
	limit      limitKind
	serve      func(*Server, *exchange) *stripe.Error
}

// apiVersion chooses the form of envelopes and bodies.
type apiVersion uint8

const (
	v1 apiVersion = 1
	v2 apiVersion = 2
)

// limitKind names the bucket that an endpoint draws from, beside its business's.
type limitKind uint8

const (
	limitNone limitKind = iota
	limitSession
	limitSyncV2
	limitSyncV1
)

// routes is every endpoint, with what a key needs for it (Stripe API reference, billing meter events).
var routes = [...]route{
	{"meter_event_stream", "/v2/billing/meter_event_stream", v2, auth.MeterEventWrite, limitSession, (*Server).stream},
	{"meter_event_session", "/v2/billing/meter_event_session", v2, auth.MeterEventWrite, limitNone, (*Server).session},
	{"meter_events", "/v2/billing/meter_events", v2, auth.MeterEventWrite, limitSyncV2, (*Server).meterEvent},
	{"meter_event_adjustments", "/v2/billing/meter_event_adjustments", v2, auth.MeterEventAdjustmentWrite, limitNone, (*Server).adjustment},
	{"v1_meter_events", "/v1/billing/meter_events", v1, auth.MeterEventWrite, limitSyncV1, (*Server).meterEvent},
	{"v1_meter_event_adjustments", "/v1/billing/meter_event_adjustments", v1, auth.MeterEventAdjustmentWrite, limitNone, (*Server).adjustment},
}

// noRoute stands for every other path.
var noRoute = route{name: "other"}

// routeOf finds the endpoint of a request target. The path is compared byte by byte as it was sent: an escape or a dot
// segment that another server might resolve leads nowhere here. A query string is tolerated and ignored: the endpoints
// take no parameters in it.
func routeOf(target []byte) *route {
	path := pathOf(target)
	for i := range routes {
		if string(path) == routes[i].path {
			return &routes[i]
		}
	}
	return &noRoute
}

// versionOf is the form of the envelope for a target that is no endpoint.
func versionOf(target []byte) apiVersion {
	path := pathOf(target)
	if bytes.HasPrefix(path, []byte("/v1/")) || string(path) == "/v1" {
		return v1
	}
	return v2
}

// pathOf is a request target without its query.
func pathOf(target []byte) []byte {
	if i := bytes.IndexByte(target, '?'); i >= 0 {
		return target[:i]
	}
	return target
}

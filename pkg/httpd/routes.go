package httpd

import (
	"bytes"
	"net/http"
	"strings"

	"tollgate/pkg/auth"
	"tollgate/pkg/stripe"
)

// A route is an endpoint: a method of a path.
type route struct {
	name       string // label of its metrics
	method     string
	path       string // one part may be a parameter, as ":id"
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

// routes is every endpoint, with what a key needs for it (Stripe API reference: billing meters, meter events, core events
// and event destinations). The routes of one path stand together. What an event is about asks for more, see
// typePermissions.
var routes = [...]route{
	{"meter_event_stream", post, "/v2/billing/meter_event_stream", v2, auth.MeterEventWrite, limitSession, (*Server).stream},
	{"meter_event_session", post, "/v2/billing/meter_event_session", v2, auth.MeterEventWrite, limitNone, (*Server).session},
	{"meter_events", post, "/v2/billing/meter_events", v2, auth.MeterEventWrite, limitSyncV2, (*Server).meterEvent},
	{"meter_event_adjustments", post, "/v2/billing/meter_event_adjustments", v2, auth.MeterEventAdjustmentWrite, limitNone, (*Server).adjustment},
	{"v1_meter_events", post, "/v1/billing/meter_events", v1, auth.MeterEventWrite, limitSyncV1, (*Server).meterEvent},
	{"v1_meter_event_adjustments", post, "/v1/billing/meter_event_adjustments", v1, auth.MeterEventAdjustmentWrite, limitNone, (*Server).adjustment},
	{"v1_meters_list", get, "/v1/billing/meters", v1, auth.MeterRead, limitNone, (*Server).listMeters},
	{"v1_meters_create", post, "/v1/billing/meters", v1, auth.MeterWrite, limitNone, (*Server).createMeter},
	{"v1_meter_retrieve", get, "/v1/billing/meters/:id", v1, auth.MeterRead, limitNone, (*Server).retrieveMeter},
	{"v1_meter_update", post, "/v1/billing/meters/:id", v1, auth.MeterWrite, limitNone, (*Server).updateMeter},
	{"v1_meter_deactivate", post, "/v1/billing/meters/:id/deactivate", v1, auth.MeterWrite, limitNone, (*Server).deactivateMeter},
	{"v1_meter_reactivate", post, "/v1/billing/meters/:id/reactivate", v1, auth.MeterWrite, limitNone, (*Server).reactivateMeter},
	{"v1_event_summaries", get, "/v1/billing/meters/:id/event_summaries", v1, auth.MeterEventRead, limitNone, (*Server).eventSummaries},
	{"v1_usage_event", get, "/v1/tollgate/usage_events/:identifier", v1, auth.MeterEventRead, limitNone, (*Server).usageEvent},
	{"core_events_list", get, "/v2/core/events", v2, auth.EventRead, limitNone, (*Server).listEvents},
	{"core_event_retrieve", get, "/v2/core/events/:id", v2, auth.EventRead, limitNone, (*Server).retrieveEvent},
	{"core_event_resend", post, "/v2/core/events/:id/resend", v2, auth.EventRead | auth.WebhookWrite, limitNone, (*Server).resendEvent},
	{"event_destinations_list", get, "/v2/core/event_destinations", v2, auth.WebhookRead, limitNone, (*Server).listDestinations},
	{"event_destinations_create", post, "/v2/core/event_destinations", v2, auth.WebhookWrite, limitNone, (*Server).createDestination},
	{"event_destination_retrieve", get, "/v2/core/event_destinations/:id", v2, auth.WebhookRead, limitNone, (*Server).retrieveDestination},
	{"event_destination_update", post, "/v2/core/event_destinations/:id", v2, auth.WebhookWrite, limitNone, (*Server).updateDestination},
	{"event_destination_delete", del, "/v2/core/event_destinations/:id", v2, auth.WebhookWrite, limitNone, (*Server).deleteDestination},
	{"event_destination_enable", post, "/v2/core/event_destinations/:id/enable", v2, auth.WebhookWrite, limitNone, (*Server).enableDestination},
	{"event_destination_disable", post, "/v2/core/event_destinations/:id/disable", v2, auth.WebhookWrite, limitNone, (*Server).disableDestination},
	{"event_destination_ping", post, "/v2/core/event_destinations/:id/ping", v2, auth.WebhookWrite, limitNone, (*Server).pingDestination},
	{routeRollSecret, post, "/v2/core/event_destinations/:id/roll_secret", v2, auth.WebhookWrite, limitNone, (*Server).rollSecret},
}

const (
	get  = http.MethodGet
	post = http.MethodPost
	del  = http.MethodDelete
)

// routeRollSecret is the one change whose answer always shows the secret.
const routeRollSecret = "event_destination_roll_secret"

// noRoute stands for every other path.
var noRoute = route{name: "other"}

// A place is a path with its routes.
type place struct {
	before, behind string // the parameter; before alone is the whole path when there is none
	parameter      bool
	routes         []*route // one a method
	allow          string   // their methods, as the header lists them
}

// places is in the order of routes: the stream, which must be found soonest, is the first.
var places = placesOf(routes[:])

func placesOf(routes []route) []place {
	var list []place
	for i := range routes {
		r := &routes[i]
		if i > 0 && r.path == routes[i-1].path {
			p := &list[len(list)-1]
			p.routes, p.allow = append(p.routes, r), p.allow+", "+r.method
			continue
		}
		p := place{before: r.path, routes: []*route{r}, allow: r.method}
		if before, rest, found := strings.Cut(r.path, ":"); found {
			p.before, p.parameter = before, true
			if i := strings.IndexByte(rest, '/'); i >= 0 {
				p.behind = rest[i:]
			}
		}
		list = append(list, p)
	}
	return list
}

// placeOf finds the place of a request target and the parameter in it, as it was sent; nil when there is none. Names are
// compared byte by byte: an escape or a dot segment that another server might resolve leads nowhere here.
func placeOf(target []byte) (p *place, parameter []byte) {
	path := pathOf(target)
	for i := range places {
		p := &places[i]
		if !p.parameter {
			if string(path) == p.before {
				return p, nil
			}
		} else if parameter := p.parameterOf(path); parameter != nil {
			return p, parameter
		}
	}
	return nil, nil
}

// parameterOf is what stands in the parameter's place; nil when the path is another.
func (p *place) parameterOf(path []byte) []byte {
	n := len(path) - len(p.before) - len(p.behind)
	if n <= 0 || string(path[:len(p.before)]) != p.before || string(path[len(p.before)+n:]) != p.behind {
		return nil
	}
	parameter := path[len(p.before) : len(p.before)+n]
	if bytes.IndexByte(parameter, '/') >= 0 {
		return nil
	}
	return parameter
}

// route is the place's route for a method; otherwise the first, which stands for all of them in metrics.
func (p *place) route(method []byte) *route {
	for _, r := range p.routes {
		if string(method) == r.method {
			return r
		}
	}
	return p.routes[0]
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

// queryOf is what stands behind a request target's question mark.
func queryOf(target []byte) []byte {
	if i := bytes.IndexByte(target, '?'); i >= 0 {
		return target[i+1:]
	}
	return nil
}

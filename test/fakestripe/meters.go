package fakestripe

import (
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strconv"
)

// CreateMeter makes a meter without a request, and returns its id.
func (s *Stripe) CreateMeter(a Account, m Meter) (id string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	got, refused := s.createMeter(s.of(a), m)
	if refused != nil {
		return "", errors.New("fakestripe: " + string(refused.body))
	}
	return got.id, nil
}

func (s *Stripe) createMeter(a *account, m Meter) (*meter, *answer) {
	or := func(field *string, otherwise string) {
		if *field == "" {
			*field = otherwise
		}
	}
	or(&m.Formula, "sum")
	or(&m.DisplayName, m.EventName)
	or(&m.CustomerKey, "stripe_customer_id")
	or(&m.ValueKey, "value")
	switch {
	case m.EventName == "":
		return nil, missing("event_name")
	case len(m.EventName) > nameBytesMax || len(m.CustomerKey) > payloadKeyMax || len(m.ValueKey) > payloadKeyMax || len(m.DisplayName) > displayNameMax:
		return nil, badParam("parameter_invalid_string", "event_name", "A name is too long.")
	case !slices.Contains([]string{"sum", "count", "last"}, m.Formula):
		return nil, badParam("", "default_aggregation[formula]", "Invalid formula: must be one of count, last, or sum")
	case !slices.Contains([]string{"", "hour", "day"}, m.TimeWindow):
		return nil, badParam("", "event_time_window", "Invalid event_time_window: must be one of day or hour")
	case a.byName[m.EventName] != nil:
		return nil, badParam("", "event_name", "There is a meter of this event name: %s.", a.byName[m.EventName].id)
	case len(a.meters) >= metersMax:
		return nil, full("meters")
	}
	now := s.now().Unix()
	got := &meter{
		Meter: m, id: s.id("mtr", a.Live), created: now, updated: now,
		cells: make(map[cellKey]*cell), byCustomer: make(map[string][]int64), customers: make(map[string]string),
	}
	a.meters = append(a.meters, got)
	a.byName[m.EventName], a.byID[got.id] = got, got
	return got, nil
}

// meters is everything under /v1/billing/meters but the summaries.
func (s *Stripe) meters(c *call) *answer {
	a := c.account
	if refused := s.admitCall(a, v1); refused != nil {
		return refused
	}
	if c.meter == "" {
		if c.method == http.MethodPost {
			return s.newMeter(c)
		}
		return listMeters(c)
	}
	m := a.byID[c.meter]
	if m == nil {
		return noSuchMeter(c.meter)
	}
	if c.method == http.MethodGet && c.verb == "" {
		return ok(m.object(a.Live))
	}
	if c.method != http.MethodPost {
		return notFound(c)
	}
	form, refused := formOf(c.body, "display_name")
	if refused != nil {
		return refused
	}
	now := s.now().Unix()
	switch {
	case c.verb == "" && form.Get("display_name") != "":
		m.DisplayName, m.updated = form.Get("display_name"), now
	case c.verb == "deactivate" && m.deactivated == 0:
		m.deactivated, m.updated = now, now
	case c.verb == "reactivate" && m.deactivated != 0:
		m.deactivated, m.updated = 0, now
	}
	return ok(m.object(a.Live))
}

func noSuchMeter(id string) *answer {
	return failed(http.StatusNotFound, failure{Code: "resource_missing", Param: "id", Message: "No such billing meter: '" + id + "'"})
}

func (s *Stripe) newMeter(c *call) *answer {
	form, refused := formOf(c.body, "display_name", "event_name", "default_aggregation[formula]", "event_time_window",
		"customer_mapping[event_payload_key]", "customer_mapping[type]", "value_settings[event_payload_key]")
	if refused != nil {
		return refused
	}
	for _, param := range []string{"display_name", "event_name", "default_aggregation[formula]"} {
		if form.Get(param) == "" {
			return missing(param)
		}
	}
	m, refused := s.createMeter(c.account, Meter{
		EventName: form.Get("event_name"), DisplayName: form.Get("display_name"), Formula: form.Get("default_aggregation[formula]"),
		TimeWindow: form.Get("event_time_window"), CustomerKey: form.Get("customer_mapping[event_payload_key]"),
		ValueKey: form.Get("value_settings[event_payload_key]"),
	})
	if refused != nil {
		return refused
	}
	return ok(m.object(c.account.Live))
}

func listMeters(c *call) *answer {
	var list []map[string]any
	status := c.query.Get("status")
	for _, m := range slices.Backward(c.account.meters) {
		o := m.object(c.account.Live)
		if status == "" || status == o["status"] {
			list = append(list, o)
		}
	}
	return paged(list, c.query, "/v1/billing/meters")
}

// object is the meter as v1 shows it.
func (m *meter) object(live bool) map[string]any {
	var window, deactivated any
	status := "active"
	if m.TimeWindow != "" {
		window = m.TimeWindow
	}
	if m.deactivated != 0 {
		deactivated, status = m.deactivated, "inactive"
	}
	return map[string]any{
		"id": m.id, "object": "billing.meter", "created": m.created, "updated": m.updated, "livemode": live,
		"customer_mapping":    map[string]string{"event_payload_key": m.CustomerKey, "type": "by_id"},
		"default_aggregation": map[string]string{"formula": m.Formula},
		"display_name":        m.DisplayName, "event_name": m.EventName, "event_time_window": window, "status": status,
		"status_transitions": map[string]any{"deactivated_at": deactivated},
		"value_settings":     map[string]string{"event_payload_key": m.ValueKey},
	}
}

// paged cuts a page out of a list that is in the order in which it is shown.
func paged(list []map[string]any, query url.Values, path string) *answer {
	limit := 10
	if text := query.Get("limit"); text != "" {
		var err error
		if limit, err = strconv.Atoi(text); err != nil || limit < 1 || limit > 100 {
			return badParam("parameter_invalid_integer", "limit", "limit must be from 1 to 100.")
		}
	}
	after, before := query.Get("starting_after"), query.Get("ending_before")
	cut := func(param, id string) (int, *answer) {
		i := slices.IndexFunc(list, func(o map[string]any) bool { return o["id"] == id })
		if i < 0 {
			return 0, badParam("resource_missing", param, "No such object: '%s'", id)
		}
		return i, nil
	}
	more := false
	switch {
	case after != "" && before != "":
		return badParam("", "ending_before", "starting_after and ending_before contradict each other.")
	case before != "":
		i, refused := cut("ending_before", before)
		if refused != nil {
			return refused
		}
		list = list[:i]
		more = len(list) > limit
		list = list[max(0, len(list)-limit):]
	default:
		if after != "" {
			i, refused := cut("starting_after", after)
			if refused != nil {
				return refused
			}
			list = list[i+1:]
		}
		more = len(list) > limit
		list = list[:min(len(list), limit)]
	}
	if list == nil {
		list = []map[string]any{}
	}
	return ok(map[string]any{"object": "list", "data": list, "has_more": more, "url": path})
}

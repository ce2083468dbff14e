package fakestripe

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"math/big"
	"slices"
	"strconv"
	"time"
)

// summaries is GET /v1/billing/meters/:id/event_summaries.
func (s *Stripe) summaries(c *call) *answer {
	a := c.account
	if refused := s.admitCall(a, v1); refused != nil {
		return refused
	}
	m := a.byID[c.meter]
	if m == nil {
		return noSuchMeter(c.meter)
	}
	customer := c.query.Get("customer")
	if customer == "" {
		return missing("customer")
	}
	var ends [2]int64
	for i, param := range []string{"start_time", "end_time"} {
		text := c.query.Get(param)
		if text == "" {
			return missing(param)
		}
		t, fine := parseUnix(text)
		if !fine {
			return badParam("parameter_invalid_integer", param, "Invalid integer: %s", text)
		}
		ends[i] = t.Unix()
	}
	start, end, refused := s.align(ends[0], ends[1], c.query.Get("value_grouping_window"))
	if refused != nil {
		return refused
	}
	s.settle(a)
	var list []map[string]any
	for _, w := range m.windows(customer, start, end, c.query.Get("value_grouping_window"), s.cfg.SettleAfter > 0) {
		list = append(list, map[string]any{
			"id": m.summaryID(customer, w.start, w.end), "object": "billing.meter_event_summary",
			"aggregated_value": json.Number(decimal(w.value)), "start_time": w.start, "end_time": w.end,
			"livemode": a.Live, "meter": m.id,
		})
	}
	return paged(list, c.query, c.path)
}

// align holds a range against the grouping: grouped ones are refused, others widened to whole minutes.
func (s *Stripe) align(start, end int64, grouping string) (from, to int64, refused *answer) {
	if start >= end {
		return 0, 0, badParam("", "end_time", "end_time must be after start_time.")
	}
	unit, word := int64(60), "a minute"
	switch grouping {
	case "":
		if !s.cfg.StrictSummaries {
			return floor(start, unit), floor(end+unit-1, unit), nil
		}
	case "hour":
		unit, word = 3600, "an hour"
	case "day":
		unit, word = 86400, "a day"
	default:
		return 0, 0, badParam("", "value_grouping_window", "Invalid value_grouping_window: must be one of day or hour")
	}
	for i, at := range []int64{start, end} {
		if at%unit != 0 {
			param := []string{"start_time", "end_time"}[i]
			return 0, 0, badParam("", param, "%s must fall on %s.", param, word)
		}
	}
	return start, end, nil
}

type summary struct {
	start, end int64
	value      *big.Rat
}

// windows returns what a customer used, the newest window first; those without events are left out.
func (m *meter) windows(customer string, start, end int64, grouping string, settled bool) []summary {
	sums := make(map[int64]*aggregate)
	unit := windowSeconds(grouping)
	for _, minute := range m.byCustomer[customer] {
		at := minute * 60
		if at < start || at >= end {
			continue
		}
		w := start
		if grouping != "" {
			w = floor(at, unit)
		}
		if sums[w] == nil {
			sums[w] = &aggregate{m: m, settled: settled}
		}
		sums[w].add(m.cells[cellKey{customer, minute}])
	}
	var list []summary
	for _, w := range slices.SortedFunc(maps.Keys(sums), func(a, b int64) int { return cmp.Compare(b, a) }) {
		value, events := sums[w].value()
		if events == 0 {
			continue
		}
		to := end
		if grouping != "" {
			to = w + unit
		}
		list = append(list, summary{start: w, end: to, value: value})
	}
	return list
}

// summaryID is the same whenever the same window is asked for, as paging needs.
func (m *meter) summaryID(customer string, start, end int64) string {
	return fmt.Sprintf("mtrusg_%s_%016x_%s_%s", m.id, fnv1a(fnvOffset, customer), strconv.FormatInt(start, 36), strconv.FormatInt(end, 36))
}

// Sum is what a customer used of a meter from start to before end, exactly, as a summary without grouping would say.
// Both ends are taken to whole minutes outwards.
func (s *Stripe) Sum(a Account, eventName, customer string, start, end time.Time) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := s.of(a).byName[eventName]
	if m == nil {
		return "0"
	}
	list := m.windows(customer, floor(start.Unix(), 60), floor(end.Unix()+59, 60), "", false)
	if len(list) == 0 {
		return "0"
	}
	return decimal(list[0].value)
}

package fakestripe

import (
	"math/big"
	"strings"
	"time"
)

// Meter is what a meter is created from. Zero fields get the documented defaults: sum, stripe_customer_id, value.
type Meter struct {
	EventName   string `json:"event_name"`
	DisplayName string `json:"display_name"`
	Formula     string `json:"formula"`     // sum, count or last
	TimeWindow  string `json:"time_window"` // hour, day, or none: one event of a customer counts in each
	CustomerKey string `json:"customer_key"`
	ValueKey    string `json:"value_key"`
}

// meter is one of an account, with its totals.
type meter struct {
	Meter
	id               string
	created, updated int64
	deactivated      int64 // 0: active
	cells            map[cellKey]*cell
	byCustomer       map[string][]int64 // minutes that have a cell
	customers        map[string]string  // each by itself
}

type cellKey struct {
	customer string
	minute   int64
}

// cell is a customer's minute. The sum and the number are kept as events come and go. The events are kept because the
// last one, the one that counts in an hour, and what is settled, are not to be had from sums.
type cell struct {
	sum    big.Rat
	count  int64
	events []*event
}

func minuteOf(t time.Time) int64 {
	s := t.Unix()
	m := s / 60
	if s%60 < 0 {
		m--
	}
	return m
}

// cell returns where an event counts.
func (m *meter) cell(e *event) *cell {
	key := cellKey{e.customer, minuteOf(e.at)}
	c := m.cells[key]
	if c == nil {
		c = &cell{}
		m.cells[key] = c
		m.byCustomer[e.customer] = append(m.byCustomer[e.customer], key.minute)
	}
	return c
}

// intern returns a customer's name as one string for all of its events, cut loose from the request.
func (m *meter) intern(customer string) string {
	known, ok := m.customers[customer]
	if !ok {
		known = strings.Clone(customer)
		m.customers[known] = known
	}
	return known
}

func (c *cell) put(m *meter, e *event) {
	c.events = append(c.events, e)
	c.count++
	if m.Formula == "sum" {
		c.sum.Add(&c.sum, parseDecimal(e.value))
	}
}

func (c *cell) take(m *meter, e *event) {
	c.count--
	if m.Formula == "sum" {
		c.sum.Sub(&c.sum, parseDecimal(e.value))
	}
}

// a sum over cells, by the meter's formula.
type aggregate struct {
	m        *meter
	settled  bool // only what is settled
	total    big.Rat
	count    int64
	newest   *event
	byWindow map[int64]*event
}

func (g *aggregate) add(c *cell) {
	plain := g.m.TimeWindow == "" && g.m.Formula != "last"
	if plain && !g.settled {
		g.total.Add(&g.total, &c.sum)
		g.count += c.count
		return
	}
	for _, e := range c.events {
		if e.cancelled || g.settled && !e.settled {
			continue
		}
		switch {
		case g.m.TimeWindow != "":
			if g.byWindow == nil {
				g.byWindow = make(map[int64]*event)
			}
			at := floor(e.at.Unix(), windowSeconds(g.m.TimeWindow))
			g.byWindow[at] = newer(g.byWindow[at], e)
		case g.m.Formula == "last":
			g.newest = newer(g.newest, e)
		case g.m.Formula == "sum":
			g.total.Add(&g.total, parseDecimal(e.value))
		}
		g.count++
	}
}

// newer is the event with the later time; of equal ones the later to arrive.
func newer(a, b *event) *event {
	if a == nil || b.at.After(a.at) || b.at.Equal(a.at) && !b.countedAt.Before(a.countedAt) {
		return b
	}
	return a
}

// value of what was added, and how many events are in it.
func (g *aggregate) value() (value *big.Rat, events int64) {
	if g.m.TimeWindow != "" {
		g.count = int64(len(g.byWindow))
		for _, e := range g.byWindow {
			g.newest = newer(g.newest, e)
			if g.m.Formula == "sum" {
				g.total.Add(&g.total, parseDecimal(e.value))
			}
		}
	}
	switch {
	case g.m.Formula == "count":
		g.total.SetInt64(g.count)
	case g.m.Formula == "last" && g.newest != nil:
		g.total.Set(parseDecimal(g.newest.value))
	}
	return &g.total, g.count
}

func windowSeconds(window string) int64 {
	switch window {
	case "hour":
		return 3600
	case "day":
		return 86400
	}
	return 60
}

func floor(n, unit int64) int64 {
	f := n / unit * unit
	if f > n {
		f -= unit
	}
	return f
}

package forward

import (
	"strconv"
	"sync"
	"time"

	"tollgate/internal/metrics"
)

// driftMetersMax bounds the meters that are told of by name; those beyond share one.
const driftMetersMax = 100

// drifts is what the last comparisons found, for metrics, and which are under way.
type drifts struct {
	mu      sync.Mutex
	running map[scope]bool // guarded by mu, as is meters
	meters  map[driftMeter]*metrics.Gauge
}

type driftMeter struct {
	of        scope
	eventName string
}

func (d *drifts) begin(s scope) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.running[s] {
		return false
	}
	if d.running == nil {
		d.running = make(map[scope]bool)
	}
	d.running[s] = true
	return true
}

func (d *drifts) end(s scope) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.running, s)
}

// note takes in how a comparison ended. A meter has a metric from when it has drifted first.
func (d *drifts) note(registry *metrics.Registry, r *comparing, now time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	s := r.s.scope
	found := make(map[driftMeter]int64)
	for of := range d.meters { // what was compared, or is no more, has what was found now
		if of.of == s && (len(r.Meters) == 0 || r.named[of.eventName] != nil) {
			found[of] = 0
		}
	}
	told := len(d.meters)
	for _, m := range r.meters {
		n := int64(r.drift[m.EventName])
		if n == 0 {
			continue
		}
		of := driftMeter{s, m.EventName}
		if _, known := d.meters[of]; !known {
			if told >= driftMetersMax {
				of.eventName = "other"
			}
			told++
		}
		found[of] += n
	}
	for of, n := range found {
		if d.meters[of] == nil {
			if d.meters == nil {
				d.meters = make(map[driftMeter]*metrics.Gauge)
			}
			d.meters[of] = registry.Gauge("tollgate_forward_drift", "Customers of a meter whose total was another at Stripe for no known reason, in the last comparison.",
				"business", s.business, "livemode", strconv.FormatBool(s.live), "event_name", of.eventName)
		}
		d.meters[of].Set(n)
	}
	registry.Gauge("tollgate_forward_compared_timestamp_seconds", "When the last comparison of a business with Stripe ended, in seconds since 1970.",
		"business", s.business, "livemode", strconv.FormatBool(s.live)).Set(now.Unix())
}

package forward

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	ours "tollgate/pkg/stripe"
	"tollgate/pkg/thinevent"
)

// TypeAtRisk is the type of the thin event that tells a business that its usage may not reach Stripe in time.
const TypeAtRisk = "tollgate.forward.at_risk"

const watchEvery = 15 * time.Second

// risk is the data of the event.
type risk struct {
	OldestReceived string `json:"oldest_received"`
	OldestHappened string `json:"oldest_timestamp"`
	Unsent         int    `json:"unsent"`
	Behind         int64  `json:"behind"`
	Trouble        string `json:"trouble,omitempty"`
}

// isAtRisk is pure.
func isAtRisk(st *BusinessState, now time.Time, received, happened time.Duration) bool {
	return !st.OldestReceived.IsZero() && now.Sub(st.OldestReceived) >= received ||
		!st.OldestHappened.IsZero() && now.Sub(st.OldestHappened) >= happened
}

// watch raises the alarm, once an hour for each business while it lasts.
func (f *Forwarder) watch(ctx context.Context) {
	told := make(map[scope]int64)
	for sleep(ctx, watchEvery) == nil {
		now := f.cfg.Now()
		hour := now.Unix() / 3600
		for _, st := range f.State() {
			of := scope{st.Business, st.Livemode}
			if !isAtRisk(&st, now, f.cfg.AtRiskReceived, f.cfg.AtRiskHappened) || told[of] == hour {
				continue
			}
			f.cfg.Notify(Notice{What: AtRisk, Business: of.String(), Detail: fmt.Sprintf("the oldest unsent was received at %s and happened at %s", st.OldestReceived.Format(timeForm), st.OldestHappened.Format(timeForm))})
			if f.cfg.Events == nil {
				told[of] = hour
				continue
			}
			if err := f.cfg.Events.Append(ctx, alarm(&st, hour, now)); err != nil {
				f.cfg.Notify(Notice{What: Faulty, Business: of.String(), Detail: "writing the alarm", Err: err})
				continue
			}
			told[of] = hour
		}
	}
}

// alarm makes the event. Its id follows from business and hour, so that several gateways raise one.
func alarm(st *BusinessState, hour int64, now time.Time) *thinevent.Event {
	data, err := json.Marshal(risk{
		OldestReceived: st.OldestReceived.Format(timeForm), OldestHappened: st.OldestHappened.Format(timeForm),
		Unsent: st.Unsent, Behind: st.Behind, Trouble: st.Trouble,
	})
	if err != nil {
		panic(fmt.Sprintf("BUG: forward: an alarm that is no JSON: %v", err))
	}
	id := hashOf(TypeAtRisk, scope{st.Business, st.Livemode}.String(), fmt.Sprint(hour))
	return &thinevent.Event{
		Business: st.Business,
		Event: ours.Event{
			ID: string(ours.AppendEventID(nil, st.Livemode, [16]byte(id))), Type: TypeAtRisk, CreatedMs: now.UnixMilli(), Livemode: st.Livemode, Data: data,
		},
	}
}

// export shows how far behind it is; which business is in State.
func (f *Forwarder) export() {
	oldest := func(of func(*BusinessState) time.Time) func() float64 {
		return func() float64 {
			age, now := 0.0, f.cfg.Now()
			for _, st := range f.State() {
				if at := of(&st); !at.IsZero() {
					age = max(age, now.Sub(at).Seconds())
				}
			}
			return age
		}
	}
	f.cfg.Metrics.GaugeFunc("tollgate_forward_oldest_received_age_seconds", "How long ago the oldest event was received that is not at Stripe.", oldest(func(st *BusinessState) time.Time { return st.OldestReceived }))
	f.cfg.Metrics.GaugeFunc("tollgate_forward_oldest_timestamp_age_seconds", "How long ago the oldest event happened that is not at Stripe.", oldest(func(st *BusinessState) time.Time { return st.OldestHappened }))
	f.cfg.Metrics.GaugeFunc("tollgate_forward_at_risk", "Businesses whose oldest unsent event nears what Stripe takes.", func() float64 {
		n := 0
		for _, st := range f.State() {
			if isAtRisk(&st, f.cfg.Now(), f.cfg.AtRiskReceived, f.cfg.AtRiskHappened) {
				n++
			}
		}
		return float64(n)
	})
	f.cfg.Metrics.GaugeFunc("tollgate_forward_in_flight", "Events in requests that were not answered.", func() float64 {
		n := int64(0)
		for _, s := range f.senders {
			n += s.inFlight.Load()
		}
		return float64(n)
	})
}

package forward

import (
	"context"
	"fmt"
	"time"

	"tollgate/pkg/thinevent"
)

const watchEvery = 15 * time.Second

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
			f.cfg.Notify(Notice{What: AtRisk, Business: of.String(), Detail: fmt.Sprintf("the oldest unsent was received at %s, and of the unsent one happened at %s", timeText(st.OldestReceived), timeText(st.OldestHappened))})
			if f.cfg.Events == nil {
				told[of] = hour
				continue
			}
			if err := f.cfg.Events.Append(ctx, alarm(&st, now)); err != nil {
				f.cfg.Notify(Notice{What: Faulty, Business: of.String(), Detail: "writing the alarm", Err: err})
				continue
			}
			told[of] = hour
		}
	}
}

// alarm makes the event.
func alarm(st *BusinessState, now time.Time) *thinevent.Event {
	return thinevent.NewAtRisk(&thinevent.Risk{
		Business: st.Business, Livemode: st.Livemode, OldestReceivedMs: timeMs(st.OldestReceived), OldestHappenedMs: timeMs(st.OldestHappened),
		Unsent: st.Unsent, Behind: st.Behind, Trouble: st.Trouble,
	}, now.UnixMilli())
}

func timeMs(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

// timeText is empty where there is no time.
func timeText(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.Format(timeForm)
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

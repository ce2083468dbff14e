package main

import (
	"fmt"
	"time"

	"tollgate/pkg/forward"
)

// openForward makes ready what runs beside the worker and brings to Stripe what that has counted. Stripe may be away: then
// it is behind, and says so.
func (g *gateway) openForward() (err error) {
	if !g.cfg.forwards() {
		return nil
	}
	f := &g.cfg.Forward
	businesses := make(map[string]forward.Business, len(f.Businesses))
	for id, b := range f.Businesses {
		key, _, err := b.key()
		if err != nil {
			return fmt.Errorf("forward.businesses.%s: %w", id, err)
		}
		since, err := b.since()
		if err != nil {
			return fmt.Errorf("forward.businesses.%s: %w", id, err)
		}
		businesses[id] = forward.Business{
			StripeKey: key, APIBase: b.APIBase, MeterEventsBase: b.MeterEventsBase, EventsPerSecond: b.EventsPerSecond, Since: since,
		}
	}
	g.forwarder, err = forward.Open(forward.Config{
		Log: g.commitLog, UsageTopic: g.cfg.usageTopic(), CursorsTopic: g.cfg.cursorsTopic(), DeadTopic: g.cfg.deadTopic(),
		Businesses: businesses, Mode: forward.Mode(f.Mode), Rollup: f.Rollup.Duration, MirrorMeters: f.MirrorMeters,
		Control: g.control, Events: g.events, Unlogged: g.unlogged, Gateway: g.name, Metrics: g.registry, Notify: g.notifyForward,
	})
	return err
}

// notifyForward logs what a person should know of what is, or is not, at Stripe. Of dead letters a line a minute is an
// example: a metric counts them, and a command lists them.
func (g *gateway) notifyForward(n forward.Notice) {
	line := g.log.Warn()
	switch n.What {
	case forward.GoesOn, forward.Mirrored, forward.Superseded:
		line = g.log.Info()
	case forward.AtRisk, forward.Blocked, forward.Gap:
		line = g.log.Error()
	case forward.Faulty, forward.SetAside: // it tries on, and a metric counts
		if !g.faults.due("forward " + string(n.What)) {
			return
		}
	}
	line.Str(logRoom, "forward").Str(logScope, n.Business).Str(logDetail, n.Detail).AnErr(logReason, n.Err).Msg(string(n.What))
}

// sayForward are the lines of /statusz about what is at Stripe.
func (g *gateway) sayForward(say func(what, format string, args ...any)) {
	if g.forwarder == nil {
		return
	}
	if err := g.forwarder.Ready(); err != nil {
		say("forward", "%v", err)
	}
	states := g.forwarder.State()
	for n, st := range states {
		if n == statusReasons {
			say("forward", "and %d businesses more", len(states)-n)
			return
		}
		say("forward", "%s", forwardState(&st))
	}
}

func forwardState(st *forward.BusinessState) string {
	mode := "testmode"
	if st.Livemode {
		mode = "livemode"
	}
	text := fmt.Sprintf("%s in %s: ", st.Business, mode)
	switch {
	case st.Trouble != "":
		text += "Stripe takes nothing: " + st.Trouble
	case st.Unsent == 0 && st.Behind == 0:
		text += "all that this gateway has counted is at Stripe"
	default:
		text += fmt.Sprintf("%d events are not at Stripe, %d records are unread", st.Unsent, st.Behind)
	}
	if !st.OldestReceived.IsZero() {
		text += ", the oldest received " + st.OldestReceived.Format(time.RFC3339)
	}
	if st.Dead > 0 {
		text += fmt.Sprintf("; %d dead letters since the start", st.Dead)
	}
	return text
}

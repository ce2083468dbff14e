package main

import (
	"context"
	"path/filepath"
	"time"

	"tollgate/pkg/thinevent"
	"tollgate/pkg/webhook"
)

// eventsDir is where the index of thin events is.
func (c *Config) eventsDir() string { return filepath.Join(c.stateDir(), "events") }

// openEvents opens the index of thin events. One that is damaged is not an error: usage is taken and counted all the same,
// and it says so to everybody who asks for events.
func (g *gateway) openEvents() (err error) {
	g.events, err = thinevent.Open(thinevent.Config{
		Log: g.commitLog, Topic: g.cfg.eventsTopic(), Dir: g.cfg.eventsDir(), Metrics: g.registry, Notify: g.notifyEvents,
	})
	return err
}

// openCourier follows what was delivered, so that every gateway can tell how a destination does, and joins those that
// deliver. A gateway without a worker leaves that to the others as well.
func (g *gateway) openCourier() (err error) {
	g.courier, err = webhook.Open(webhook.Config{
		Log: g.commitLog, EventsTopic: g.cfg.eventsTopic(), CursorsTopic: g.cfg.cursorsTopic(),
		Group: g.cfg.courierGroup(), Gateway: g.name, Control: g.control, Events: g.events,
		AllowNetworks: g.cfg.Webhooks.networks(), AutoDisableAfter: g.cfg.Webhooks.autoDisable(),
		Metrics: g.registry, Notify: g.notifyWebhook,
	})
	if err != nil || g.cfg.Usage.Disabled || g.events.Damage() != nil {
		return err
	}
	g.deliverer = startWorker(g.courier.Run, func(err error) {
		g.log.Error().Str(logRoom, "webhook").Err(err).Msg("events are not delivered")
	}, "deliveries that were under way are made again")
	return nil
}

// notifyEvents logs what happened to the index. That it waits is said once a minute: it tries on by itself.
func (g *gateway) notifyEvents(n thinevent.Notice) {
	line := g.log.Warn()
	switch n.What {
	case thinevent.Damaged, thinevent.Failed:
		line = g.log.Error().Str(logHint, "gateway state rebuild")
	case thinevent.Rebuilding, thinevent.GoesOn:
		line = g.log.Info()
	case thinevent.Waiting:
		if !g.faults.due("thinevent") {
			return
		}
	}
	line.Str(logRoom, "thinevent").Str(logDetail, n.Detail).AnErr(logReason, n.Err).Msg(n.What)
}

// notifyWebhook logs what a person should know of deliveries; package webhook bounds how often it says the same.
func (g *gateway) notifyWebhook(n webhook.Notice) {
	line := g.log.Warn().Str(logRoom, "webhook").AnErr(logReason, n.Err)
	if n.Destination != "" {
		line = line.Str(logDestination, n.Destination)
	}
	if n.Count > 0 {
		line = line.Int(logCount, n.Count)
	}
	line.Msg(n.What)
}

// statusWait is how long /statusz waits for the log.
const statusWait = 500 * time.Millisecond

// sayEvents are the lines of /statusz about thin events.
func (g *gateway) sayEvents(say func(what, format string, args ...any)) {
	ctx, cancel := context.WithTimeout(context.Background(), statusWait)
	defer cancel()
	_, next, err := g.commitLog.Bounds(ctx, g.started.eventsTopic(), 0)
	switch behind := g.events.CaughtUp(ctx); {
	case g.events.Damage() != nil:
		say("events", "%v", g.events.Damage())
	case err != nil:
		say("events", "%v", err)
	case behind != nil:
		say("events", "the index is behind the topic, which ends at offset %d: %v", next, behind)
	default:
		say("events", "the index has the topic up to offset %d", next)
	}
	if g.usage != nil {
		if o := g.usage.Outbox(); o.Reports > 0 {
			say("events", "%d reports wait for the topic, the oldest for %v", o.Reports, o.Age.Round(time.Second))
		}
	}
	switch {
	case g.started.Usage.Disabled:
		say("delivery", "%v", errDisabled)
	case g.deliverer == nil:
		say("delivery", "this gateway delivers nothing while its index is damaged")
	case g.courier.Delivering():
		say("delivery", "this gateway delivers")
	default:
		say("delivery", "another gateway delivers, or none yet")
	}
	g.sayFailing(say)
}

func (g *gateway) sayFailing(say func(what, format string, args ...any)) {
	if err := g.courier.Ready(); err != nil {
		say("delivery", "%v", err)
	}
	failing := 0
	for _, d := range g.control.Snapshot().AllDestinations() {
		s := g.courier.State(d.ID)
		if s.FailingSinceMs == 0 {
			continue
		}
		if failing++; failing <= statusReasons {
			say("failing", "%s of %s, since %s, %d deliveries wait: %s", d.ID, d.Business,
				time.UnixMilli(s.FailingSinceMs).UTC().Format(time.RFC3339), s.Pending, s.LastError)
		}
	}
	if failing > statusReasons {
		say("failing", "and %d more", failing-statusReasons)
	}
}

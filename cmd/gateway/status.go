package main

import (
	"fmt"
	"strings"
	"time"
)

// status is the text of /statusz: for a person who wants to know where things stand.
func (g *gateway) status() string {
	var b strings.Builder
	say := func(what, format string, args ...any) {
		fmt.Fprintf(&b, "%-10s %s\n", what, fmt.Sprintf(format, args...))
	}
	said := func(err error) string {
		if err != nil {
			return err.Error()
		}
		return "ok"
	}
	say("version", "%s", version)
	say("log", "%s: %s", g.started.logName(), said(g.commitLog.Ready()))
	if g.spill != nil {
		say("spill", "%s", spillState(g.spill.State(), time.Now()))
	}
	say("control", "%s", said(g.control.Ready()))
	say("sessions", "%s", said(g.opened.Ready()))
	if err := g.counting().Damage(); err != nil {
		say("usage", "%v", err)
	} else {
		say("usage", "this gateway runs partitions %v of %d", g.counting().Owned(), g.commitLog.Partitions(g.started.usageTopic()))
	}
	g.sayEvents(say)
	g.sayForward(say)
	away := g.fleet.Away()
	for _, err := range away[:min(len(away), statusReasons)] {
		say("away", "%v", err)
	}
	if len(away) > statusReasons {
		say("away", "and %d more", len(away)-statusReasons)
	}
	return b.String()
}

// statusReasons bounds the lines about partitions that nobody answers for.
const statusReasons = 12

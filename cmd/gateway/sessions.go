package main

import "tollgate/pkg/opened"

// openOpened follows which sessions were opened with which Idempotency-Keys. Nobody waits for that: a session that it does
// not know yet is answered by this gateway alone.
func (g *gateway) openOpened() (err error) {
	g.opened, err = opened.Open(opened.Config{Log: g.commitLog, Topic: g.cfg.sessionsTopic(), Notify: g.notifyOpened})
	if err != nil {
		return err
	}
	g.registry.GaugeFunc("tollgate_sessions_known", "Idempotency-Keys of sessions that are remembered, of all businesses.", func() float64 {
		known, _ := g.opened.Stats()
		return float64(known)
	})
	g.registry.GaugeFunc("tollgate_sessions_records_skipped", "Records of the sessions topic that this version does not know.", func() float64 {
		_, skipped := g.opened.Stats()
		return float64(skipped)
	})
	return nil
}

// notifyOpened logs what goes on and on once a minute: all of it mends itself, or is counted.
func (g *gateway) notifyOpened(n opened.Notice) {
	if !g.faults.due("opened: " + n.What.String()) {
		return
	}
	g.log.Warn().Str(logRoom, "opened").Int64(logOffset, n.Offset).AnErr(logReason, n.Err).Msg(n.What.String())
}

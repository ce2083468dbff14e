package main

import (
	"fmt"
	"net"
	"path/filepath"

	"tollgate/pkg/control"
	"tollgate/pkg/fleet"
	"tollgate/pkg/usage"
)

func (c *Config) stateDir() string { return filepath.Join(c.DataDir, "state") }

// usageConfig is what the worker and the commands that look at its state have in common.
func (c *Config) usageConfig() usage.Config {
	m := usageMemory(c.Usage.MemoryBytes, containerMemory())
	return usage.Config{
		Topic: c.usageTopic(), Group: c.workerGroup(), Dir: c.stateDir(),
		// Half for identifiers, an eighth for blocks that were read, and of the store's tables, of which it may hold three,
		// a sixteenth each. The rest is for what a partition has not yet written.
		DedupBytes: m / 2, CacheBytes: m / 8, MemtableBytes: int(m / 16),
	}
}

// usageMemory is the configured bound, or what suits the container: 0 is none.
func usageMemory(configured, container int64) int64 {
	switch {
	case configured > 0:
		return configured
	case container > 0:
		return max(usageMemoryMin, min(usageMemoryDefault, container/4))
	default:
		return usageMemoryDefault
	}
}

func (g *gateway) openControl() (err error) {
	g.control, err = control.Open(control.Config{Log: g.commitLog, Topic: g.cfg.controlTopic(), Notify: g.notifyControl})
	if err != nil {
		return err
	}
	count := func(name, help string, f func(control.Stats) int64) {
		g.registry.GaugeFunc(name, help, func() float64 { return float64(f(g.control.Stats())) })
	}
	count("tollgate_control_records_skipped", "Records of the control topic that this version does not know.", func(s control.Stats) int64 { return s.Skipped })
	count("tollgate_control_restarts", "Times that the control topic was folded again from its oldest record.", func(s control.Stats) int64 { return s.Restarts })
	return nil
}

// openUsage opens the worker's state and starts it. A state that is damaged is not an error: events are taken all the
// same, and it says so to everybody who asks for totals.
func (g *gateway) openUsage() (err error) {
	if g.cfg.Usage.Disabled {
		return nil
	}
	cfg := g.cfg.usageConfig()
	cfg.Log, cfg.Control, cfg.Events, cfg.Metrics, cfg.Notify = g.commitLog, g.control, g.events, g.registry, g.notifyUsage
	if g.forwarder != nil {
		cfg.Beside = g.forwarder.Beside
	}
	if g.usage, err = usage.Open(cfg); err != nil {
		return err
	}
	g.counter = startWorker(g.usage.Run, func(err error) {
		g.log.Error().Str(logRoom, "usage").Err(err).Msg("usage is not counted")
	}, "what was counted last was not written down in time, and is counted again")
	return nil
}

// openFleet makes this gateway one that can be asked about all partitions. Where there is an internal listener, it is
// also one of those that are asked.
func (g *gateway) openFleet() error {
	cfg := fleet.Config{Log: g.commitLog, UsageTopic: g.cfg.usageTopic(), Worker: g.counting(), Metrics: g.registry}
	if g.cfg.InternalListen != "" {
		secret, err := g.cfg.internalSecret()
		if err != nil {
			return err
		}
		ln, err := net.Listen("tcp", g.cfg.InternalListen)
		if err != nil {
			return fmt.Errorf("%w; choose another address with internal_listen", err)
		}
		cfg.Listener, cfg.Secret, cfg.Gateway = ln, secret, g.name
		cfg.CursorsTopic, cfg.Address = g.cfg.cursorsTopic(), g.cfg.advertised(ln.Addr().String())
	}
	f, err := fleet.Open(cfg)
	if err != nil {
		if cfg.Listener != nil {
			cfg.Listener.Close()
		}
		return err
	}
	g.fleet = f
	return nil
}

func (g *gateway) notifyControl(n control.Notice) {
	line := g.log.Warn()
	switch n.What {
	case control.Marked:
		line = g.log.Info()
	case control.ReadFailed: // it tries on
		if !g.faults.due("control") {
			return
		}
	}
	line.Str(logRoom, "control").Int64(logOffset, n.Offset).AnErr(logReason, n.Err).Msg(n.What.String())
}

// notifyUsage logs what happened to the worker. Partitions come and go in a cluster: that is information.
func (g *gateway) notifyUsage(n usage.Notice) {
	line := g.log.Info()
	switch n.What {
	case usage.Damaged, usage.Failed:
		line = g.log.Error().Str(logHint, "gateway state rebuild")
	case usage.Gap, usage.Unreadable, usage.Waiting:
		line = g.log.Warn()
	}
	if n.Partition >= 0 {
		line = line.Int32(logPartition, n.Partition)
	}
	line.Str(logRoom, "usage").Str(logDetail, n.Detail).AnErr(logReason, n.Err).Msg(string(n.What))
}

package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"tollgate/internal/vfs"
	"tollgate/pkg/commitlog/journal"
	"tollgate/pkg/commitlog/spill"
	"tollgate/pkg/fleet"
	"tollgate/pkg/httpd"
	"tollgate/pkg/usage"
)

const (
	// spillBytesDefault is some five minutes of 100,000 events a second, or a day of 350.
	spillBytesDefault = 10 << 30
	// spillBytesMin has room for what is under way when Kafka goes.
	spillBytesMin = 16 << 20
	// With the spill, a partition that does not answer for spillStallMax is spilled: so long does a request wait once. The
	// longer it is, the more requests are in memory then.
	spillStallMax    = 2 * time.Second
	spillDialTimeout = time.Second
)

// spillFolder is the name of the folder in the data dir.
const spillFolder = "spill"

func (c *Config) spillDir() string { return filepath.Join(c.DataDir, spillFolder) }

// ofSpill adds to an error of the spill's journal what a person needs to know about that.
func ofSpill(err error) error {
	if rot := (*journal.RotError)(nil); errors.As(err, &rot) {
		return fmt.Errorf("%w; give both commands --spill", err)
	}
	return notOurs(err)
}

// kafkaPatience is how long a partition may be silent, and how long a connection may take; 0: Kafka's own defaults.
func (c *Config) kafkaPatience() (stallMax, dialTimeout time.Duration) {
	if c.Spill.Enabled {
		return spillStallMax, spillDialTimeout
	}
	return 0, 0
}

// openSpill opens Kafka with the local disk behind it. With Kafka away the gateway starts; when it has started on this data
// dir before, it takes events at once.
func (g *gateway) openSpill() error {
	kafka, err := g.openKafka()
	if err != nil {
		return err
	}
	log, err := spill.Open(spill.Config{
		Kafka: kafka, Topic: g.cfg.usageTopic(), Dir: g.cfg.spillDir(), FS: vfs.OS,
		MaxBytes: g.cfg.Spill.MaxBytes, ReserveBytes: g.cfg.Journal.ReserveBytes,
		Metrics: g.registry, Notify: g.notifySpill, NotifyJournal: g.notifySpillJournal,
	})
	if err != nil {
		ctx, cancel := context.WithTimeout(context.Background(), drainLogMax)
		defer cancel()
		return errors.Join(ofSpill(err), kafka.Close(ctx))
	}
	g.commitLog, g.spill = log, log
	return nil
}

// nothingSpilled refuses to go on without the spill while its folder holds what was acknowledged and is not in Kafka.
func (c *Config) nothingSpilled() error {
	waiting, err := spill.Waiting(vfs.OS, c.spillDir())
	if err != nil {
		return ofSpill(err)
	}
	if waiting.Bytes == 0 {
		return nil
	}
	return fmt.Errorf("%s holds %d bytes of topic %s that were acknowledged while Kafka was away and are not in Kafka yet, and spill.enabled is not set; "+
		"start with spill.enabled, kafka.brokers and the same kafka.topic_prefix until tollgate_spill_waiting_bytes is 0",
		c.spillDir(), waiting.Bytes, waiting.Topic)
}

// unlogged says what the spill holds of what was acknowledged before a time.
func (g *gateway) unlogged(before time.Time) string {
	if g.spill == nil {
		return ""
	}
	now := time.Now()
	if !g.spill.AsOf(now).Before(before) {
		return ""
	}
	return "the spill is " + spillState(g.spill.State(), now)
}

// answerers are who is asked for totals, fates and verdicts.
func (g *gateway) answerers() httpd.Usage {
	if g.spill == nil {
		return g.fleet
	}
	return spilledUsage{g.fleet, g.spill}
}

// spilledUsage says of totals and fates that what is not in Kafka yet is not in them, and gives no verdict on it: that depends
// on where in the log the record will be.
type spilledUsage struct {
	*fleet.Fleet
	spill *spill.Log
}

var errNoVerdict = errors.New("the partition's records wait on the local disk for Kafka: there is no verdict before they are in it")

// asOf lowers the time up to when an answer has everything that was acknowledged. What another gateway has on its disk,
// this one does not know.
func (u spilledUsage) asOf(ms int64) int64 { return u.spill.AsOf(time.UnixMilli(ms)).UnixMilli() }

// Totals implements httpd.Usage.
func (u spilledUsage) Totals(ctx context.Context, q usage.Query) (usage.Totals, error) {
	t, err := u.Fleet.Totals(ctx, q)
	t.AsOfMs = u.asOf(t.AsOfMs)
	return t, err
}

// Fate implements httpd.Usage.
func (u spilledUsage) Fate(ctx context.Context, q usage.FateQuery) (usage.Fate, error) {
	f, err := u.Fleet.Fate(ctx, q)
	f.AsOfMs = u.asOf(f.AsOfMs)
	return f, err
}

// Available implements httpd.Usage.
func (u spilledUsage) Available(partition int32) error {
	if !u.spill.Direct(partition) {
		return errNoVerdict
	}
	return u.Fleet.Available(partition)
}

// Verdict implements httpd.Usage. One who does not say where the record is may have had it spilled a moment ago; when the
// partition is direct, what was spilled is in Kafka.
func (u spilledUsage) Verdict(ctx context.Context, q usage.VerdictQuery) (usage.Verdict, error) {
	if q.Offset < 0 && !u.spill.Direct(q.Partition) {
		return usage.Verdict{}, errNoVerdict
	}
	return u.Fleet.Verdict(ctx, q)
}

// spillState says in a line how things stand.
func spillState(s spill.State, now time.Time) string {
	if s.Mode == spill.Direct {
		return "direct: usage goes to Kafka"
	}
	text := fmt.Sprintf("%s: %d of %d partitions, %d of %d bytes", s.Mode, s.Partitions, s.Of, s.Bytes, s.MaxBytes)
	if !s.Oldest.IsZero() {
		text += fmt.Sprintf(", the oldest of %s ago", max(0, now.Sub(s.Oldest)).Round(time.Second))
	}
	if s.Full {
		text += "; it is full, and requests are refused"
	}
	if s.Reason != nil {
		text += ": " + s.Reason.Error()
	}
	return text
}

// spillSaid is what was last said in the log about the spill.
type spillSaid struct {
	mode string // empty: direct
	full bool
	at   time.Time
}

// logSpill writes a line when usage begins to go to the disk, when the disk is full, and when all is in Kafka again. In
// between, whether it gets to Kafka is a line every reasonEvery at most.
func (g *gateway) logSpill(last *spillSaid, now time.Time) {
	if g.spill == nil {
		return
	}
	s := g.spill.State()
	spilled, before := s.Mode != spill.Direct, last.mode != "" && last.mode != spill.Direct
	switch {
	case s.Mode == last.mode && s.Full == last.full, !spilled && !before,
		spilled && before && s.Full == last.full && now.Sub(last.at) < reasonEvery:
		return
	case !spilled:
		g.log.Info().Str(logRoom, "spill").Msg("everything that was spilled is in Kafka")
	default:
		g.log.Warn().Str(logRoom, "spill").Int64(logBytes, s.Bytes).Str(logDetail, spillState(s, now)).AnErr(logReason, s.Reason).Msg("usage is spilled to the local disk")
	}
	*last = spillSaid{s.Mode, s.Full, now}
}

// notifySpill logs what happens to the spill. That a partition begins to be spilled, or ends, logSpill says for all of them.
func (g *gateway) notifySpill(n spill.Notice) {
	line := g.log.Warn()
	switch n.Kind {
	case spill.NoticeSpilling, spill.NoticeDirect:
		return
	case spill.NoticeStuck, spill.NoticeUnusable, spill.NoticeGap:
		line = g.log.Error()
	}
	if n.Partition >= 0 {
		line = line.Int32(logPartition, n.Partition)
	}
	line.Str(logRoom, "spill").Str(logReason, n.Text).Msg(n.Kind)
}

// notifySpillJournal is notifyJournal, and tells also when the disk takes nothing: while Kafka is there nobody else would.
func (g *gateway) notifySpillJournal(n journal.Notice) {
	switch n.What {
	case journal.Unavailable:
		g.log.Warn().Str(logRoom, "spill").Str(logFile, n.File).AnErr(logReason, n.Err).Msg("nothing could be spilled now")
	case journal.Recovered:
		g.log.Info().Str(logRoom, "spill").Str(logFile, n.File).Msg("usage could be spilled again")
	default:
		g.notifyJournal(n)
	}
}

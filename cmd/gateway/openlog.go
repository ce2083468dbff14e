package main

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"tollgate/internal/vfs"
	"tollgate/pkg/commitlog/journal"
	"tollgate/pkg/commitlog/kafkalog"
	"tollgate/pkg/recordbatch"
)

func (c *Config) journalDir() string { return filepath.Join(c.DataDir, "journal") }

// openLog opens the log that usage is written to: Kafka, with the spill when that is enabled, or the journal.
func (g *gateway) openLog() error {
	if g.cfg.Spill.Enabled {
		return g.openSpill()
	}
	if err := g.cfg.nothingSpilled(); err != nil {
		return err
	}
	return g.openPlainLog()
}

// openPlainLog opens Kafka when brokers are configured, the journal otherwise. Kafka may be away: then the gateway starts,
// /readyz says so, and requests are answered 503 until it is there.
func (g *gateway) openPlainLog() error {
	// Assigned only without an error: an interface that holds a nil *Log is not nil, and abandon would close it.
	if g.cfg.onKafka() {
		log, err := g.openKafka()
		if err == nil {
			g.commitLog = log
		}
		return err
	}
	log, err := g.openJournal()
	if err == nil {
		g.commitLog = log
	}
	return notOurs(err)
}

// notOurs adds to an error of a folder in the data dir what to do when it is about permissions.
func notOurs(err error) error {
	if errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("%w; the data dir and all in it must belong to the gateway's user", err)
	}
	return err
}

func (g *gateway) openJournal() (*journal.Journal, error) {
	j := &g.cfg.Journal
	return journal.Open(journal.Config{
		Dir: g.cfg.journalDir(),
		FS:  vfs.OS,
		Topics: []journal.TopicConfig{
			{
				Name: g.cfg.usageTopic(), Partitions: j.Partitions,
				RetentionAge: j.Retention.Duration, RetentionBytes: j.RetentionBytes,
			},
			{
				Name: g.cfg.controlTopic(), Partitions: 1, Compact: true, CompactAge: g.cfg.controlKept(),
				SegmentBytes: min(j.SegmentBytes, controlSegmentBytes),
			},
			{
				Name: g.cfg.eventsTopic(), Partitions: 1, RetentionAge: eventsKept,
				SegmentBytes: min(j.SegmentBytes, smallSegmentBytes),
			},
			{
				Name: g.cfg.cursorsTopic(), Partitions: 1, Compact: true,
				SegmentBytes: min(j.SegmentBytes, smallSegmentBytes),
			},
			{
				Name: g.cfg.deadTopic(), Partitions: 1, RetentionAge: deadKept,
				SegmentBytes: min(j.SegmentBytes, smallSegmentBytes),
			},
			{
				Name: g.cfg.sessionsTopic(), Partitions: 1, RetentionAge: sessionsKept, RetentionBytes: sessionsBytes,
				SegmentBytes: min(j.SegmentBytes, sessionsSegmentBytes),
			},
		},
		SegmentBytes: j.SegmentBytes,
		ReserveBytes: j.ReserveBytes,
		Metrics:      g.registry,
		Notify:       g.notifyJournal,
	})
}

const (
	// controlSegmentBytes is the size of a segment of the control topic: many thousands of meters.
	controlSegmentBytes = 16 << 20
	// smallSegmentBytes is that of events and cursors, of which the latter is read whole at each start: what is superseded
	// goes with the segments that are closed.
	smallSegmentBytes = 4 << 20
	// sessionsSegmentBytes is that of the sessions' topic, which is not read beyond the newest of them.
	sessionsSegmentBytes = 16 << 20
)

// notifyJournal logs what happened to a file. Whether appends are taken is not repeated here, see logReadiness.
func (g *gateway) notifyJournal(n journal.Notice) {
	line := g.log.Info()
	switch n.What {
	case journal.Unavailable, journal.Recovered:
		return
	case journal.Poisoned, journal.RetentionFailed, journal.CompactionFailed, journal.CheckpointFailed:
		line = g.log.Error()
	case journal.TornTail, journal.UnknownTopic:
		line = g.log.Warn()
	}
	line.Str(logRoom, "journal").Str(logFile, n.File).Int64(logBytes, n.Bytes).AnErr(logReason, n.Err).Msg(string(n.What))
}

// topics are those of a cluster, one for each lifetime (D14), that of dead letters where something is forwarded, and those
// of others that events are delivered to.
func (c *Config) topics() []kafkalog.TopicConfig {
	topic := func(name string, partitions int, configs map[string]string) kafkalog.TopicConfig {
		if c.Kafka.ReplicationFactor >= 3 {
			// acks=all promises little when "all" may be one.
			configs["min.insync.replicas"] = "2"
		}
		return kafkalog.TopicConfig{
			Name: c.Kafka.TopicPrefix + name, Partitions: partitions,
			ReplicationFactor: c.Kafka.ReplicationFactor, Configs: configs,
		}
	}
	kept := func(d time.Duration) map[string]string {
		return map[string]string{"cleanup.policy": "delete", "retention.ms": strconv.FormatInt(d.Milliseconds(), 10)}
	}
	compacted := func(after time.Duration) map[string]string {
		configs := map[string]string{"cleanup.policy": "compact"}
		if after > 0 {
			configs["min.compaction.lag.ms"] = strconv.FormatInt(after.Milliseconds(), 10)
		}
		return configs
	}
	usage := topic("usage", c.Kafka.Partitions, kept(c.Kafka.Retention.Duration))
	usage.HandBack = c.Spill.Enabled
	topics := []kafkalog.TopicConfig{
		usage,
		topic("control", 1, compacted(c.controlKept())),
		topic("events", 1, kept(eventsKept)),
		topic("cursors", 1, compacted(0)),
	}
	if c.forwards() {
		topics = append(topics, topic("forward_dead", 1, kept(deadKept)))
	}
	sessions := topic("sessions", 1, kept(sessionsKept))
	sessions.Configs["retention.bytes"] = strconv.Itoa(sessionsBytes)
	sessions.Configs["segment.bytes"] = strconv.Itoa(sessionsSegmentBytes)
	sessions.Foreign = true // usage is taken and sessions are opened without it
	topics = append(topics, sessions)
	for _, name := range c.Webhooks.KafkaTopics {
		topics = append(topics, kafkalog.TopicConfig{Name: name, Foreign: true})
	}
	return topics
}

// eventsKept is how long the log keeps thin events. They can be retrieved for 30 days; the day beyond is for clocks.
const eventsKept = 31 * 24 * time.Hour

// sessionsKept is how long the log keeps what sessions were opened with an Idempotency-Key. They are answered again for 30
// days; the day beyond is for clocks. sessionsBytes has room for more of them than are remembered, some 370 bytes each.
const (
	sessionsKept  = keysKept + 24*time.Hour
	sessionsBytes = 512 << 20
)

// deadKept is how long the log keeps what could not be brought to Stripe: for longer than Stripe would take it.
const deadKept = 40 * 24 * time.Hour

func (g *gateway) openKafka() (*kafkalog.Log, error) {
	k := &g.cfg.Kafka
	codec, err := recordbatch.ParseCodec(k.Compression)
	if err != nil {
		return nil, err
	}
	encryption, err := k.TLS.config()
	if err != nil {
		return nil, fmt.Errorf("kafka.tls: %w", err)
	}
	password, err := k.SASL.secret()
	if err != nil {
		return nil, err
	}
	stallMax, dialTimeout := g.cfg.kafkaPatience()
	return kafkalog.Open(kafkalog.Config{
		Brokers:  k.Brokers,
		ClientID: k.ClientID,
		TLS:      encryption,
		SASL:     kafkalog.SASL{Mechanism: k.SASL.Mechanism, User: k.SASL.Username, Password: password},
		Topics:   g.cfg.topics(),
		Codec:    codec,
		StallMax: stallMax, DialTimeout: dialTimeout,
		Metrics: g.registry,
		Notify:  g.notifyKafka,
	})
}

// notifyKafka logs a change of state of the cluster. Whether appends are answered is not repeated here: logReadiness
// says it for every kind of log.
func (g *gateway) notifyKafka(n kafkalog.Notice) {
	line := g.log.Info()
	switch n.Kind {
	case kafkalog.NoticeReady, kafkalog.NoticeUnready:
		if !g.started.Spill.Enabled { // with it readiness does not tell
			return
		}
		if n.Kind == kafkalog.NoticeUnready {
			line = g.log.Warn()
		}
	case kafkalog.NoticeTopicDiffers, kafkalog.NoticeTopicAtRisk, kafkalog.NoticeProducerReplaced,
		kafkalog.NoticeGroupLost:
		line = g.log.Warn()
	}
	line.Str(logRoom, "kafkalog").Str(logTopic, n.Topic).Str(logReason, n.Text).Msg(strings.ReplaceAll(n.Kind, "_", " "))
}

// config is nil for plain TCP.
func (t KafkaTLSConfig) config() (*tls.Config, error) {
	if t.CA == "" && t.Cert == "" {
		return nil, nil
	}
	c := &tls.Config{MinVersion: tls.VersionTLS12}
	if t.CA != "" && t.CA != systemCA {
		pem, err := os.ReadFile(t.CA)
		if err != nil {
			return nil, err
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%s holds no PEM certificate", t.CA)
		}
	}
	if t.Cert != "" {
		cert, err := tls.LoadX509KeyPair(t.Cert, t.Key)
		if err != nil {
			return nil, fmt.Errorf("%s does not go with %s: %w", t.Cert, t.Key, err)
		}
		c.Certificates = []tls.Certificate{cert}
	}
	return c, nil
}

func (s SASLConfig) secret() (string, error) {
	return secretOf(s.Password, "kafka.sasl.password_file", s.PasswordFile)
}

// secretOf is a secret that stands in the configuration, or in the file that its key names, if it names one. A final line
// break is the editor's, not the secret's.
func secretOf(text, key, file string) (string, error) {
	if file == "" {
		return text, nil
	}
	b, err := os.ReadFile(file)
	if err != nil {
		return "", fmt.Errorf("%s: %w", key, err)
	}
	return strings.TrimRight(string(b), "\r\n"), nil
}

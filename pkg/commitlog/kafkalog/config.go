package kafkalog

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/segmentio/kafka-go/sasl"
	"github.com/segmentio/kafka-go/sasl/plain"
	"github.com/segmentio/kafka-go/sasl/scram"

	"tollgate/internal/metrics"
	"tollgate/pkg/recordbatch"
)

// Config says which Kafka, which topics, and how long to wait. Brokers and Topics are required; every other zero value
// is a default.
type Config struct {
	// Brokers are addresses, host:port, to learn the cluster from. One that answers is enough.
	Brokers []string
	// ClientID is how the brokers' logs and quotas name us. Default "tollgate".
	ClientID string
	// TLS encrypts connections when set. An empty ServerName means each broker's own host name.
	TLS *tls.Config
	// SASL authenticates connections when its Mechanism is set.
	SASL SASL
	// Topics are the topics of the log: created when missing, checked when present. No other topic exists.
	Topics []TopicConfig
	// Codec compresses batches of at least 64 KiB. Default none.
	Codec recordbatch.Codec
	// BatchBytesMax bounds a batch beside the topic's own max.message.bytes. Default 1 MiB less the 64 KiB that keep it
	// below a broker's default whatever is added. A larger one costs memory for each partition, twice when compressing.
	BatchBytesMax int

	// RequestTimeout is how long one request may take before its connection is given up and the batch sent again. Default
	// 10 s. Shorter finds a dead broker earlier and mistakes a slow one for dead.
	RequestTimeout time.Duration
	// DialTimeout bounds making a connection, TLS and SASL included. Default 3 s.
	DialTimeout time.Duration
	// StallMax is how long a partition may leave appends unanswered before new ones are turned away at once. Default 5 s.
	StallMax time.Duration
	// MetadataInterval is how often leaders are asked for when nothing is wrong. Default 5 s.
	MetadataInterval time.Duration

	// Dial makes connections. Default net.Dialer.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// Metrics may be nil.
	Metrics *metrics.Registry
	// Notify is told of changes of state, one at a time. It must not block nor call the Log. It may be nil.
	Notify func(Notice)
}

// SASL is a name and a password and how to prove them: PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512.
type SASL struct {
	Mechanism, User, Password string
}

// TopicConfig is one topic as it should be.
type TopicConfig struct {
	Name string
	// Partitions and ReplicationFactor are used when the topic is created; 0 means the broker's default. A topic that
	// exists keeps what it has.
	Partitions, ReplicationFactor int
	// Configs are Kafka's settings of a topic, such as retention.ms. A topic that exists keeps its own; a Notice tells
	// where they differ.
	Configs map[string]string
	// Foreign says that the topic is others', and events are only put there, or that it can be done without. Nothing is told
	// of its settings, and while it can not be had the log is ready all the same: appends to it are turned away.
	Foreign bool
	// HandBack gives a batch in doubt back, with a *DoubtError, when its partition stalls, and ends the request that it is
	// in. For a caller who keeps the batch durably and sends it again by AppendAs; without it, the log tries on by itself.
	HandBack bool
}

// Notice is a change of state worth a line in the log.
type Notice struct {
	// Kind is one of the Notice constants.
	Kind string
	// Topic is the topic concerned, or empty; of NoticeTopicAtRisk all that are, in order, with commas between.
	Topic string
	// Text says what is and what a person can do about it.
	Text string
}

// The kinds of Notice.
const (
	// NoticeReady: appends are answered (again).
	NoticeReady = "ready"
	// NoticeUnready: appends are turned away, and Text says why.
	NoticeUnready = "unready"
	// NoticeTopicCreated: a topic was missing and is there now.
	NoticeTopicCreated = "topic_created"
	// NoticeTopicDiffers: a topic is not as configured, or can not be used as it is meant to be.
	NoticeTopicDiffers = "topic_differs"
	// NoticeTopicAtRisk: topics are not as safe as acknowledgements suggest, whether configured so or not.
	NoticeTopicAtRisk = "topic_at_risk"
	// NoticeProducerReplaced: the broker did not know where our sequence stood. After an unclean leader election this is
	// the sign that acknowledged records were lost by the cluster.
	NoticeProducerReplaced = "producer_replaced"
	// NoticeGroupJoined: a member of a group has got its share of the topic's partitions.
	NoticeGroupJoined = "group_joined"
	// NoticeGroupLost: a member of a group runs no partitions, and Text says why. It tries on.
	NoticeGroupLost = "group_lost"
)

// requestBytesMax bounds one request; brokers refuse more than socket.request.max.bytes, 100 MiB by default.
const requestBytesMax = 16 << 20

func (c Config) withDefaults() Config {
	if c.ClientID == "" {
		c.ClientID = "tollgate"
	}
	if c.BatchBytesMax == 0 {
		c.BatchBytesMax = 1<<20 - 64<<10
	}
	setDefault(&c.RequestTimeout, 10*time.Second)
	setDefault(&c.DialTimeout, 3*time.Second)
	setDefault(&c.StallMax, 5*time.Second)
	setDefault(&c.MetadataInterval, 5*time.Second)
	if c.Dial == nil {
		c.Dial = new(net.Dialer).DialContext
	}
	if c.Notify == nil {
		c.Notify = func(Notice) {}
	}
	return c
}

func setDefault(d *time.Duration, value time.Duration) {
	if *d == 0 {
		*d = value
	}
}

func (c *Config) validate() error {
	if len(c.Brokers) == 0 {
		return errors.New("kafka: no brokers")
	}
	for _, address := range c.Brokers {
		if _, _, err := net.SplitHostPort(address); err != nil {
			return fmt.Errorf("kafka: broker %q: want host:port: %w", address, err)
		}
	}
	if len(c.Topics) == 0 {
		return errors.New("kafka: no topics")
	}
	seen := map[string]bool{}
	for _, topic := range c.Topics {
		switch {
		case topic.Name == "" || seen[topic.Name]:
			return fmt.Errorf("kafka: topic %q is empty or given twice", topic.Name)
		case topic.Partitions < 0 || topic.ReplicationFactor < 0:
			return fmt.Errorf("kafka: topic %q: partitions and replication factor can not be negative", topic.Name)
		}
		seen[topic.Name] = true
	}
	if c.BatchBytesMax <= recordbatch.HeaderBytes || c.BatchBytesMax > requestBytesMax {
		return fmt.Errorf("kafka: batches of %d bytes: want %d to %d", c.BatchBytesMax, recordbatch.HeaderBytes+1, requestBytesMax)
	}
	if c.RequestTimeout < 0 || c.DialTimeout < 0 || c.StallMax < 0 || c.MetadataInterval < 0 {
		return errors.New("kafka: a timeout is negative")
	}
	if _, err := recordbatch.ParseCodec(c.Codec.String()); err != nil {
		return fmt.Errorf("kafka: %w", err)
	}
	_, err := c.SASL.mechanism()
	return err
}

// mechanism is nil when no SASL is configured.
func (s SASL) mechanism() (sasl.Mechanism, error) {
	switch s.Mechanism {
	case "":
		return nil, nil
	case "PLAIN":
		return plain.Mechanism{Username: s.User, Password: s.Password}, nil
	case scram.SHA256.Name():
		return scram.Mechanism(scram.SHA256, s.User, s.Password)
	case scram.SHA512.Name():
		return scram.Mechanism(scram.SHA512, s.User, s.Password)
	}
	return nil, fmt.Errorf("kafka: SASL mechanism %q: want PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512", s.Mechanism)
}

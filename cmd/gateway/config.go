package main

import (
	"strconv"
	"strings"
	"time"
)

// Config is everything that can be set. Its shape is that of the YAML file; docs/CONFIG.md has a line for each key.
// Precedence is flag, then environment, then file, then defaults().
//
// What a reload may change while the gateway runs: Businesses, what SessionKeys and the TLS files hold. The rest is
// read once.
type Config struct {
	Listen      string   `yaml:"listen"`
	AdminListen string   `yaml:"admin_listen"`
	DataDir     string   `yaml:"data_dir"`
	SessionTTL  Duration `yaml:"session_ttl"`
	// SessionKeys is a file of session signing keys; empty: made and rotated in the data dir.
	SessionKeys string `yaml:"session_keys"`
	// SessionExpiredStatus is 401 as documented by Stripe, or 400 for fleets of stripe-node 20 and older.
	SessionExpiredStatus int  `yaml:"session_expired_status"`
	CoerceNumbers        bool `yaml:"coerce_numbers"`
	Lenient              bool `yaml:"lenient"`

	// InternalListen is where the other gateways of a cluster ask this one about its partitions; empty: they can not.
	InternalListen string `yaml:"internal_listen"`
	// InternalAdvertise is how they reach it; empty: InternalListen's own address.
	InternalAdvertise string `yaml:"internal_advertise"`
	// InternalSecret is the same on all of them. It stands here or, better, alone in a file.
	InternalSecret     string `yaml:"internal_secret"`
	InternalSecretFile string `yaml:"internal_secret_file"`

	Usage      UsageConfig      `yaml:"usage"`
	TLS        TLSConfig        `yaml:"tls"`
	Kafka      KafkaConfig      `yaml:"kafka"`
	Spill      SpillConfig      `yaml:"spill"`
	Journal    JournalConfig    `yaml:"journal"`
	Webhooks   WebhooksConfig   `yaml:"webhooks"`
	Forward    ForwardConfig    `yaml:"forward"`
	Businesses []BusinessConfig `yaml:"businesses"`

	from origins // where each key was set, for messages
}

// TLSConfig names the certificate chain and the key of the public listener, both PEM; both or neither.
type TLSConfig struct {
	Cert string `yaml:"cert"`
	Key  string `yaml:"key"`
}

// KafkaConfig says which cluster holds the log. No brokers: the embedded journal does.
type KafkaConfig struct {
	Brokers           []string       `yaml:"brokers"`
	Compression       string         `yaml:"compression"`
	TopicPrefix       string         `yaml:"topic_prefix"`
	Partitions        int            `yaml:"partitions"`         // of the usage topic
	ReplicationFactor int            `yaml:"replication_factor"` // of every topic
	Retention         Duration       `yaml:"retention"`          // of the usage topic, when the gateway creates it
	ClientID          string         `yaml:"client_id"`
	TLS               KafkaTLSConfig `yaml:"tls"`
	SASL              SASLConfig     `yaml:"sasl"`
}

// systemCA in the place of a CA file: trust what this machine trusts.
const systemCA = "system"

// KafkaTLSConfig is for brokers that speak TLS: CA alone, or also a client certificate. Empty: plain TCP.
type KafkaTLSConfig struct {
	CA   string `yaml:"ca"`
	Cert string `yaml:"cert"`
	Key  string `yaml:"key"`
}

// SASLConfig is a user known to the brokers. The password stands here or, better, alone in a file.
type SASLConfig struct {
	Mechanism    string `yaml:"mechanism"` // PLAIN, SCRAM-SHA-256, SCRAM-SHA-512; empty: none
	Username     string `yaml:"username"`
	Password     string `yaml:"password"`
	PasswordFile string `yaml:"password_file"`
}

// SpillConfig is about the local disk that takes usage while Kafka is away.
type SpillConfig struct {
	Enabled  bool  `yaml:"enabled"`
	MaxBytes int64 `yaml:"max_bytes"` // that may wait there for Kafka
}

// JournalConfig shapes the embedded log.
type JournalConfig struct {
	Partitions     int      `yaml:"partitions"`
	Retention      Duration `yaml:"retention"`
	RetentionBytes int64    `yaml:"retention_bytes"` // 0: by age only
	ReserveBytes   int64    `yaml:"reserve_bytes"`   // free disk below which appends are refused; 0: 1/16 of the disk, 64 MiB at most
	SegmentBytes   int64    `yaml:"segment_bytes"`
}

// UsageConfig is about the worker that counts usage.
type UsageConfig struct {
	// Disabled leaves the counting to other gateways, or to nobody: this one takes events only.
	Disabled bool `yaml:"disabled"`
	// MemoryBytes is for identifiers, the store's caches and what is not yet written, together; 0: 512 MiB, or a quarter of
	// the container's memory when that is less.
	MemoryBytes int64 `yaml:"memory_bytes"`
}

// WebhooksConfig is about the delivery of thin events to event destinations.
type WebhooksConfig struct {
	// AllowNetworks are networks, as CIDR, that destinations may be in although they are not public.
	AllowNetworks []string `yaml:"allow_networks"`
	// AutoDisableAfter is how long nothing but failure disables a destination; 0: never.
	AutoDisableAfter Duration `yaml:"auto_disable_after"`
	// KafkaTopics are topics of others that a destination of type kafka_topic may name.
	KafkaTopics []string `yaml:"kafka_topics"`
}

// ForwardConfig is about bringing what was counted to the real Stripe. Without businesses nothing is.
type ForwardConfig struct {
	Mode         string   `yaml:"mode"`          // stream or v1: which of Stripe's endpoints takes the events
	Rollup       Duration `yaml:"rollup"`        // of the windows that become one event a customer and meter; 0: none
	MirrorMeters bool     `yaml:"mirror_meters"` // create here what meters Stripe has
	// Businesses are by the id that they have here. Each has one key, of an account at Stripe.
	Businesses map[string]ForwardBusinessConfig `yaml:"businesses"`
}

// ForwardBusinessConfig is an account at Stripe. The key stands here, in an environment variable or alone in a file.
type ForwardBusinessConfig struct {
	StripeKey       string `yaml:"stripe_key"`
	StripeKeyEnv    string `yaml:"stripe_key_env"`
	StripeKeyFile   string `yaml:"stripe_key_file"`
	APIBase         string `yaml:"api_base"`          // empty: https://api.stripe.com
	MeterEventsBase string `yaml:"meter_events_base"` // empty: https://meter-events.stripe.com
	EventsPerSecond int    `yaml:"events_per_second"` // the account's limit; 0: 10,000
	Since           string `yaml:"since"`             // what was received before is not sent; empty: all that the log holds is
}

// BusinessConfig is one tenant: its keys, the spread of its hot meters, its limits.
type BusinessConfig struct {
	ID     string        `yaml:"id"`
	Keys   []KeyConfig   `yaml:"keys"`
	Meters []MeterConfig `yaml:"meters"`
	Limits LimitsConfig  `yaml:"limits"`
}

// KeyConfig is one API key. A secret key (sk_) may do everything, a restricted one (rk_) what Permissions lists. Accounts
// are the other businesses that a request with the key may act for, by Stripe-Context or Stripe-Account.
type KeyConfig struct {
	Key         string   `yaml:"key"`
	Permissions []string `yaml:"permissions"`
	Accounts    []string `yaml:"accounts"`
}

// MeterConfig spreads a hot meter over several partitions by customer.
type MeterConfig struct {
	EventName string `yaml:"event_name"`
	Spread    int    `yaml:"spread"`
}

// LimitsConfig bounds events a second; the burst is one second's worth. 0: the default of package httpd, which is
// 100,000 a business, 10,000 a session, and 1,000 on each of the synchronous endpoints.
type LimitsConfig struct {
	EventsPerSecond       int `yaml:"events_per_second"`
	StreamEventsPerSecond int `yaml:"stream_events_per_second"`
	SyncEventsPerSecond   int `yaml:"sync_events_per_second"`
}

// Acknowledged usage is kept for longer than the 35 days that an event may be late, so that a worker that starts from
// nothing still finds all that may count.
const defaultRetention = 40 * 24 * time.Hour

func defaults() Config {
	return Config{
		Listen:               "127.0.0.1:8080",
		AdminListen:          "127.0.0.1:9090",
		DataDir:              "./data",
		SessionTTL:           durationOf(15 * time.Minute),
		SessionExpiredStatus: 401,
		Kafka: KafkaConfig{
			Compression:       "none",
			TopicPrefix:       "tollgate.",
			Partitions:        12,
			ReplicationFactor: 1,
			Retention:         durationOf(defaultRetention),
			ClientID:          "tollgate",
		},
		Spill: SpillConfig{MaxBytes: spillBytesDefault},
		Journal: JournalConfig{
			Partitions:   1,
			Retention:    durationOf(defaultRetention),
			SegmentBytes: 256 << 20,
		},
		Webhooks: WebhooksConfig{AutoDisableAfter: durationOf(72 * time.Hour)},
		Forward:  ForwardConfig{Mode: "stream", Rollup: durationOf(0)},
	}
}

// Duration is a time.Duration that remembers how it was written. It decodes anything, and check() refuses what did
// not parse: only there the line of the file is at hand.
type Duration struct {
	time.Duration
	text string
	bad  bool
}

func durationOf(d time.Duration) Duration { return Duration{Duration: d, text: d.String()} }

func parseDuration(s string) Duration {
	d, err := time.ParseDuration(s)
	return Duration{Duration: d, text: s, bad: err != nil}
}

// UnmarshalYAML takes "15m"; a bare number is no duration, since nobody knows its unit.
func (d *Duration) UnmarshalYAML(b []byte) error {
	s := strings.TrimSpace(string(b))
	if unquoted, err := strconv.Unquote(s); err == nil {
		s = unquoted
	}
	*d = parseDuration(s)
	return nil
}

// MarshalYAML lets `check-config` print what is in force.
func (d Duration) MarshalYAML() ([]byte, error) { return []byte(d.text), nil }

package main

import (
	"crypto/tls"
	"fmt"
	"net"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"tollgate/pkg/auth"
	"tollgate/pkg/httpd"
)

// Bounds of the configuration. They catch mistakes, such as a wrong unit: each is far above what runs well.
const (
	sessionTTLMin     = time.Second
	sessionTTLMax     = 24 * time.Hour
	partitionsMax     = 4096
	replicationMax    = 32
	eventNameBytesMax = 100
	topicPrefixMax    = 190
	segmentBytesMin   = 1 << 20
	segmentBytesMax   = 1 << 30 // Kafka's own limit
	retentionMin      = time.Minute
	retentionMax      = 100 * 365 * 24 * time.Hour
	diskBytesMax      = 1 << 60
	eventsPerSecMax   = 100_000_000
)

var (
	businessID  = regexp.MustCompile(fmt.Sprintf(`^[A-Za-z0-9_.-]{1,%d}$`, auth.BusinessBytesMax)) // no slash: it would make two partition keys one
	topicPrefix = regexp.MustCompile(`^[A-Za-z0-9._-]*$`)
)

// checker keeps the first fault alone: later ones often follow from it.
type checker struct {
	c   *Config
	err error
}

// refuse keeps the first fault. key is a path without "$.", value is empty for a secret.
func (k *checker) refuse(key, value, reason, remedy string) {
	if k.err == nil {
		k.err = &ConfigError{Where: k.c.from.where("$." + key), Key: key, Value: value, Reason: reason, Remedy: remedy}
	}
}

func (k *checker) duration(key string, d Duration, least, most time.Duration) {
	switch {
	case d.bad:
		k.refuse(key, d.text, "is no duration", `write a number and a unit, for example 15m or 36h`)
	case d.Duration < least || d.Duration > most:
		k.refuse(key, d.text, fmt.Sprintf("is not between %s and %s", least, most), "choose a duration in that range")
	}
}

func (k *checker) between(key string, n, least, most int64) {
	if n < least || n > most {
		k.refuse(key, strconv.FormatInt(n, 10), fmt.Sprintf("is not between %d and %d", least, most), "choose a number in that range")
	}
}

func (k *checker) address(key, addr, example string) {
	host, port, err := net.SplitHostPort(addr)
	if err == nil {
		_, err = strconv.ParseUint(port, 10, 16)
	}
	if err != nil {
		k.refuse(key, addr, "is no address", "write HOST:PORT, for example "+example)
		return
	}
	if host != "" && net.ParseIP(host) == nil && strings.ContainsAny(host, " /") {
		k.refuse(key, addr, "holds no host name or IP address", "write HOST:PORT without scheme or path")
	}
}

func (c *Config) check() error {
	k := &checker{c: c}
	k.address("listen", c.Listen, "127.0.0.1:8080, or 0.0.0.0:8080 for every interface")
	k.address("admin_listen", c.AdminListen, "127.0.0.1:9090")
	if c.Listen == c.AdminListen && !strings.HasSuffix(c.Listen, ":0") {
		k.refuse("admin_listen", c.AdminListen, "is the address of the public listener", "give the admin listener a port of its own")
	}
	if c.DataDir == "" {
		k.refuse("data_dir", "", "is empty", "name a folder that only this gateway uses, for example ./data")
	}
	k.duration("session_ttl", c.SessionTTL, sessionTTLMin, sessionTTLMax)
	if c.SessionExpiredStatus != 401 && c.SessionExpiredStatus != 400 {
		k.refuse("session_expired_status", strconv.Itoa(c.SessionExpiredStatus), "is neither 401 nor 400", "leave it out for 401")
	}
	if c.Usage.MemoryBytes != 0 {
		k.between("usage.memory_bytes", c.Usage.MemoryBytes, usageMemoryMin, usageMemoryMax)
	}
	k.internal()
	k.sessionKeys()
	k.publicTLS()
	k.kafka()
	k.spill()
	k.journal()
	k.webhooks()
	k.forward()
	k.businesses()
	k.defaultKeyRule()
	return k.err
}

func (k *checker) sessionKeys() {
	if k.c.SessionKeys == "" {
		return
	}
	if _, err := readSessionKeys(k.c.SessionKeys); err != nil {
		k.refuse("session_keys", k.c.SessionKeys, strings.TrimPrefix(reason(err), k.c.SessionKeys+": "),
			"give a file with a key a line, as from `openssl rand -base64 32`, that the gateway's user can read")
	}
}

func (k *checker) publicTLS() {
	t := k.c.TLS
	switch {
	case t.Cert == "" && t.Key == "":
	case t.Key == "":
		k.refuse("tls.cert", t.Cert, "is given without tls.key", "give both, or neither for plain HTTP")
	case t.Cert == "":
		k.refuse("tls.key", t.Key, "is given without tls.cert", "give both, or neither for plain HTTP")
	default:
		if _, err := tls.LoadX509KeyPair(t.Cert, t.Key); err != nil {
			k.refuse("tls.cert", t.Cert, fmt.Sprintf("does not go with tls.key %q: %v", t.Key, err), "give a PEM certificate chain and its PEM key")
		}
	}
}

func (k *checker) kafka() {
	q := &k.c.Kafka
	for i, b := range q.Brokers {
		k.address(indexed("kafka.brokers", i), b, "broker1.example.com:9092")
	}
	if !slices.Contains([]string{"none", "lz4", "zstd"}, q.Compression) {
		k.refuse("kafka.compression", q.Compression, "is no codec of this gateway", "write none, lz4 or zstd")
	}
	if !topicPrefix.MatchString(q.TopicPrefix) || len(q.TopicPrefix) > topicPrefixMax {
		k.refuse("kafka.topic_prefix", q.TopicPrefix, "can not begin a topic's name",
			fmt.Sprintf("use letters, digits, '.', '_' and '-', at most %d", topicPrefixMax))
	}
	k.usageTopic("kafka", q.Partitions, q.Retention)
	k.between("kafka.replication_factor", int64(q.ReplicationFactor), 1, replicationMax)
	if q.ClientID == "" {
		k.refuse("kafka.client_id", "", "is empty", "leave it out for tollgate")
	}
	k.kafkaTLS()
	k.sasl()
}

func (k *checker) kafkaTLS() {
	t := k.c.Kafka.TLS
	if (t.Cert == "") != (t.Key == "") {
		k.refuse("kafka.tls.cert", t.Cert, "a client certificate needs kafka.tls.cert and kafka.tls.key", "give both or neither")
	}
	if t.CA != systemCA {
		k.readable("kafka.tls.ca", t.CA)
	}
	k.readable("kafka.tls.cert", t.Cert)
	k.readable("kafka.tls.key", t.Key)
	if _, err := t.config(); err != nil {
		k.refuse("kafka.tls", "", err.Error(), "give PEM files: the CA that signed the brokers' certificates, a client certificate and its key")
	}
}

func (k *checker) sasl() {
	s := &k.c.Kafka.SASL
	switch s.Mechanism {
	case "":
		if s.Username != "" || s.Password != "" || s.PasswordFile != "" {
			k.refuse("kafka.sasl", "", "names a user but no mechanism", "add mechanism: PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512")
		}
		return
	case "PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512":
	default:
		k.refuse("kafka.sasl.mechanism", s.Mechanism, "is not known", "write PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512")
	}
	if s.Username == "" {
		k.refuse("kafka.sasl.username", "", "is empty", "name the user that the brokers know")
	}
	if (s.Password == "") == (s.PasswordFile == "") {
		k.refuse("kafka.sasl", "", "needs password or password_file, and not both", "prefer password_file: a file that holds the password alone")
	}
	k.readable("kafka.sasl.password_file", s.PasswordFile)
}

func (k *checker) readable(key, file string) {
	if file == "" {
		return
	}
	f, err := os.Open(file)
	if err != nil {
		k.refuse(key, file, reason(err), "name a file that the gateway's user can read")
		return
	}
	f.Close()
}

// usageTopic checks what is asked of the usage topic, which either log may hold.
func (k *checker) usageTopic(log string, partitions int, retention Duration) {
	k.between(log+".partitions", int64(partitions), 1, partitionsMax)
	k.duration(log+".retention", retention, retentionMin, retentionMax)
}

func (k *checker) journal() {
	j := &k.c.Journal
	k.usageTopic("journal", j.Partitions, j.Retention)
	k.between("journal.retention_bytes", j.RetentionBytes, 0, diskBytesMax)
	k.between("journal.reserve_bytes", j.ReserveBytes, 0, diskBytesMax)
	k.between("journal.segment_bytes", j.SegmentBytes, segmentBytesMin, segmentBytesMax)
	if j.RetentionBytes > 0 && j.RetentionBytes < j.SegmentBytes {
		k.refuse("journal.retention_bytes", strconv.FormatInt(j.RetentionBytes, 10), "is less than one segment (journal.segment_bytes)",
			"retention drops whole segments: give at least journal.segment_bytes, or 0 for no bound")
	}
}

func (k *checker) spill() {
	k.between("spill.max_bytes", k.c.Spill.MaxBytes, spillBytesMin, diskBytesMax)
	if k.c.Spill.Enabled && !k.c.onKafka() {
		k.refuse("spill.enabled", "true", "is given without kafka.brokers: the journal is on the local disk already",
			"name the brokers whose absence it is to bridge, or leave it out")
	}
}

func (k *checker) businesses() {
	ids := map[string]bool{}
	keys := map[string]string{}
	for i := range k.c.Businesses {
		b := &k.c.Businesses[i]
		at := indexed("businesses", i)
		switch {
		case !businessID.MatchString(b.ID):
			k.refuse(at+".id", b.ID, "is no business id", fmt.Sprintf("use letters, digits, '_', '-' and '.', at most %d, for example acct_demo", auth.BusinessBytesMax))
		case ids[b.ID]:
			k.refuse(at+".id", b.ID, "stands twice", "put all keys of a business under one entry")
		}
		ids[b.ID] = true
		for j, key := range b.Keys {
			here := fmt.Sprintf("%s.keys[%d]", at, j)
			k.apiKey(here, b.ID, key, keys)
			k.accounts(here, b.ID, key)
		}
		k.meters(at, b.Meters)
		k.between(at+".limits.events_per_second", int64(b.Limits.EventsPerSecond), 0, eventsPerSecMax)
		k.between(at+".limits.stream_events_per_second", int64(b.Limits.StreamEventsPerSecond), 0, eventsPerSecMax)
		k.between(at+".limits.sync_events_per_second", int64(b.Limits.SyncEventsPerSecond), 0, eventsPerSecMax)
	}
}

// apiKey checks one key without ever showing it: package auth knows the rules and masks what it cites.
func (k *checker) apiKey(at, business string, key KeyConfig, seen map[string]string) {
	if other, ok := seen[key.Key]; ok {
		k.refuse(at+".key", "", fmt.Sprintf("the same key (not shown) already belongs to %s", other), "a key names one business: make another")
	}
	seen[key.Key] = business
	if _, err := auth.NewKeys([]auth.KeySpec{{Business: business, Secret: key.Key}}); err != nil {
		k.refuse(at+".key", "", err.Error(), "the key is not shown; copy it again, without quotes or spaces around it")
	}
	if _, err := auth.NewKeys([]auth.KeySpec{{Business: business, Secret: key.Key, Permissions: key.Permissions}}); err != nil {
		k.refuse(at+".permissions", strings.Join(key.Permissions, ","), err.Error(), "see docs/CONFIG.md, permissions")
	}
}

func (k *checker) meters(at string, meters []MeterConfig) {
	names := map[string]bool{}
	for j, m := range meters {
		here := fmt.Sprintf("%s.meters[%d]", at, j)
		switch {
		case m.EventName == "" || len(m.EventName) > eventNameBytesMax:
			k.refuse(here+".event_name", m.EventName, fmt.Sprintf("is not 1 to %d bytes long", eventNameBytesMax), "write the meter's event_name")
		case names[m.EventName]:
			k.refuse(here+".event_name", m.EventName, "stands twice", "one entry a meter")
		}
		names[m.EventName] = true
		k.between(here+".spread", int64(m.Spread), 1, httpd.SpreadMax)
	}
}

// defaultKeyRule: without any key the gateway makes one and prints it, which is only right where nobody else can reach
// the listener.
func (k *checker) defaultKeyRule() {
	if !k.c.hasKeys() && !isLoopback(k.c.Listen) {
		k.refuse("listen", k.c.Listen, "is not on loopback and no API key is configured, so anybody could write usage",
			"set GATEWAY_API_KEYS (for example acct_demo:sk_test_123) or businesses in the file, or listen on 127.0.0.1")
	}
}

func (c *Config) hasKeys() bool {
	return slices.ContainsFunc(c.Businesses, func(b BusinessConfig) bool { return len(b.Keys) > 0 })
}

// isLoopback is true when addr can only be reached from this machine. A name other than localhost is not resolved:
// what it means may change.
func isLoopback(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return false
	}
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

func indexed(key string, i int) string { return fmt.Sprintf("%s[%d]", key, i) }

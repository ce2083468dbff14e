package main

import (
	"reflect"
	"strings"
	"time"

	"tollgate/pkg/httpd"
)

// What the rooms are told of a configuration.

func (c *Config) usageTopic() string    { return c.Kafka.TopicPrefix + "usage" }
func (c *Config) controlTopic() string  { return c.Kafka.TopicPrefix + "control" }
func (c *Config) cursorsTopic() string  { return c.Kafka.TopicPrefix + "cursors" }
func (c *Config) eventsTopic() string   { return c.Kafka.TopicPrefix + "events" }
func (c *Config) sessionsTopic() string { return c.Kafka.TopicPrefix + "sessions" }
func (c *Config) deadTopic() string     { return c.Kafka.TopicPrefix + "forward_dead" }
func (c *Config) workerGroup() string   { return c.Kafka.TopicPrefix + "usage-worker" }

// courierGroup is the group of the gateways of which one delivers thin events.
func (c *Config) courierGroup() string { return c.Kafka.TopicPrefix + "webhook-courier" }

// ourTopics are the names that no topic of others may have.
func (c *Config) ourTopics() []string {
	return []string{c.usageTopic(), c.controlTopic(), c.eventsTopic(), c.cursorsTopic(), c.deadTopic(), c.sessionsTopic()}
}

// forwards tells whether anything is brought to the real Stripe.
func (c *Config) forwards() bool { return len(c.Forward.Businesses) > 0 }

// onKafka tells which log it is: Kafka, which gateways share, or the journal, which belongs to one.
func (c *Config) onKafka() bool { return len(c.Kafka.Brokers) > 0 }

// controlKept is for how long the control topic keeps what was superseded: an event is judged by its meter as of when it
// was received, so the history must reach back as far as usage is read again, and Idempotency-Keys are known for 30
// days. The days beyond are for clocks, and for a log that removes in whole segments.
func (c *Config) controlKept() time.Duration {
	usage := c.Journal.Retention.Duration
	if c.onKafka() {
		usage = c.Kafka.Retention.Duration
	}
	return max(usage, keysKept) + 5*24*time.Hour
}

// keysKept is how long Idempotency-Keys of the v2 API are known.
const keysKept = 30 * 24 * time.Hour

// logName says in words where events are kept.
func (c *Config) logName() string {
	if c.onKafka() {
		return "Kafka at " + strings.Join(c.Kafka.Brokers, ",")
	}
	return "the journal in " + c.journalDir()
}

// watched are the files whose change is a reload.
func (c *Config) watched() []string {
	var files []string
	for _, f := range []string{c.from.path, c.SessionKeys, c.TLS.Cert, c.TLS.Key} {
		if f != "" {
			files = append(files, f)
		}
	}
	return files
}

// policy is limits and spreads. Every business is named in it, also one that has the defaults or that is a connected
// account of another and nothing else: each has a budget and a counter of its own.
func (c *Config) policy() *httpd.Policy {
	p := &httpd.Policy{Businesses: make(map[string]httpd.Business, len(c.Businesses)+1)}
	p.Businesses[defaultBusiness] = httpd.Business{}
	for _, b := range c.Businesses {
		spread := make(map[string]int, len(b.Meters))
		for _, m := range b.Meters {
			spread[m.EventName] = m.Spread
		}
		p.Businesses[b.ID] = httpd.Business{
			Limits: httpd.Limits{
				Events: b.Limits.EventsPerSecond, StreamEvents: b.Limits.StreamEventsPerSecond, SyncEvents: b.Limits.SyncEventsPerSecond,
			},
			Spread: spread,
		}
	}
	for _, b := range c.Businesses {
		for _, k := range b.Keys {
			for _, account := range k.Accounts {
				if _, ok := p.Businesses[account]; !ok {
					p.Businesses[account] = httpd.Business{}
				}
			}
		}
	}
	return p
}

// differsFrom lists the top-level keys that differ and that a reload does not touch.
func (c *Config) differsFrom(old *Config) []string {
	var keys []string
	a, b := reflect.ValueOf(*c), reflect.ValueOf(*old)
	for i := range a.NumField() {
		key := a.Type().Field(i).Tag.Get("yaml")
		if key == "" || key == "businesses" {
			continue
		}
		if key == "tls" && (c.TLS.Cert == "") == (old.TLS.Cert == "") {
			continue // a certificate is read again; only the step to or from TLS needs another listener
		}
		if !reflect.DeepEqual(a.Field(i).Interface(), b.Field(i).Interface()) {
			keys = append(keys, key)
		}
	}
	return keys
}

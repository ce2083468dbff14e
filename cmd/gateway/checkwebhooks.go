package main

import (
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"time"

	"tollgate/pkg/auth"
)

const (
	autoDisableMin = time.Minute
	autoDisableMax = 365 * 24 * time.Hour
	// kafkaTopicsMax bounds the topics of others: each has partitions that leaders are asked for.
	kafkaTopicsMax = 100
)

// kafkaTopicName is what Kafka takes as the name of a topic.
var kafkaTopicName = regexp.MustCompile(`^[A-Za-z0-9._-]{1,249}$`)

// webhooks checks what thin events may be delivered to.
func (k *checker) webhooks() {
	w := &k.c.Webhooks
	for i, text := range w.AllowNetworks {
		k.network(indexed("webhooks.allow_networks", i), text)
	}
	if w.AutoDisableAfter.bad || w.AutoDisableAfter.Duration != 0 {
		k.duration("webhooks.auto_disable_after", w.AutoDisableAfter, autoDisableMin, autoDisableMax)
	}
	if len(w.KafkaTopics) == 0 {
		return
	}
	if !k.c.onKafka() {
		k.refuse("webhooks.kafka_topics", strings.Join(w.KafkaTopics, ","), "is given without kafka.brokers: a journal has no topics of others",
			"leave it out, or name the brokers that have the topics")
	}
	if n := len(w.KafkaTopics); n > kafkaTopicsMax {
		k.refuse("webhooks.kafka_topics", "", fmt.Sprintf("names %d topics, more than %d", n, kafkaTopicsMax), "name those that destinations use")
	}
	for i, name := range w.KafkaTopics {
		k.topicOfOthers(indexed("webhooks.kafka_topics", i), name, w.KafkaTopics[:i])
	}
}

// network checks a CIDR. Bits behind the prefix are refused: who wrote them meant another network, or one address.
func (k *checker) network(key, text string) {
	p, err := netip.ParsePrefix(text)
	switch {
	case err != nil:
		k.refuse(key, text, "is no network", "write ADDRESS/BITS, for example 10.0.0.0/8, or 10.1.2.3/32 for one address")
	case p.Addr().Is4In6():
		k.refuse(key, text, "is an IPv4 network written as IPv6", "write it as IPv4, for example 10.0.0.0/8")
	case p != p.Masked():
		k.refuse(key, text, fmt.Sprintf("has bits behind the first %d", p.Bits()),
			fmt.Sprintf("write %v for the network, or %v/%d for the one address", p.Masked(), p.Addr(), p.Addr().BitLen()))
	}
}

// topicOfOthers checks the name of a topic that events may be delivered to. Of ours none is: a notification is no record
// of theirs.
func (k *checker) topicOfOthers(key, name string, before []string) {
	const example = "name a topic of your own, for example company.events"
	switch {
	case name == "":
		k.refuse(key, name, "is empty", example)
	case !kafkaTopicName.MatchString(name) || name == "." || name == "..":
		k.refuse(key, name, "is no topic name", "use letters, digits, '.', '_' and '-', at most 249")
	case slices.Contains(k.c.ourTopics(), name):
		k.refuse(key, name, "is a topic of the gateway itself", example)
	case strings.HasPrefix(name, "__"):
		k.refuse(key, name, "is a topic of Kafka itself", example)
	case slices.Contains(before, name):
		k.refuse(key, name, "stands twice", "name each topic once")
	}
}

// accounts checks for whom a key may act beside its own business. They need no entry under businesses: one that has none
// has no key of its own, and the default limits.
func (k *checker) accounts(at, business string, key KeyConfig) {
	accounts, seen := key.Accounts, map[string]bool{}
	for i, account := range accounts {
		here := indexed(at+".accounts", i)
		switch {
		case !businessID.MatchString(account):
			k.refuse(here, account, "is no business id",
				fmt.Sprintf("use letters, digits, '_', '-' and '.', at most %d, for example acct_connected", auth.BusinessBytesMax))
		case account == business:
			k.refuse(here, account, "is the key's own business", "leave it out: a key may always act for its own business")
		case seen[account]:
			k.refuse(here, account, "stands twice", "name each account once")
		}
		seen[account] = true
	}
	if _, err := auth.NewKeys([]auth.KeySpec{{Business: business, Secret: key.Key, Permissions: key.Permissions, Accounts: accounts}}); err != nil {
		k.refuse(at+".accounts", "", err.Error(), "name those that the key acts for")
	}
}

// networks are the networks that were checked.
func (w *WebhooksConfig) networks() []netip.Prefix {
	var list []netip.Prefix
	for _, text := range w.AllowNetworks {
		list = append(list, netip.MustParsePrefix(text))
	}
	return list
}

// autoDisable is AutoDisableAfter as package webhook takes it: negative is never.
func (w *WebhooksConfig) autoDisable() time.Duration {
	if w.AutoDisableAfter.Duration == 0 {
		return -1
	}
	return w.AutoDisableAfter.Duration
}

package kafkalog

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"

	"github.com/segmentio/kafka-go/protocol/createtopics"
	"github.com/segmentio/kafka-go/protocol/describeconfigs"
	"github.com/segmentio/kafka-go/protocol/initproducerid"
	"github.com/segmentio/kafka-go/protocol/metadata"

	"tollgate/pkg/recordbatch"
)

// Error codes that only matter here.
const (
	codeUnknownTopic       = 3
	codeLeaderNotAvailable = 5
	codeTopicExists        = 36
	resourceTopic          = 2 // of DescribeConfigs
	createTopicTimeout     = 2000
)

// adminErrors names answers that no produce request gets.
var adminErrors = map[int16]string{
	36: "TOPIC_ALREADY_EXISTS",
	37: "INVALID_PARTITIONS",
	38: "INVALID_REPLICATION_FACTOR",
	40: "INVALID_CONFIG",
	41: "NOT_CONTROLLER",
}

// makeMissing makes the topics that are missing and compares those that are there with the configuration.
func (c *control) makeMissing(picture *metadata.Response) error {
	var missing []TopicConfig
	for i := range picture.Topics {
		seen := &picture.Topics[i]
		t := c.log.topics[seen.Name]
		switch {
		case t == nil:
		case seen.ErrorCode == codeUnknownTopic:
			missing = append(missing, t.config)
		case t.config.Foreign:
			c.saidOf(seen)
		case seen.ErrorCode != 0:
			return fmt.Errorf("topic %s: %w", seen.Name, describe(seen.ErrorCode, ""))
		default:
			c.compare(t.config, seen)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	return c.create(picture, missing)
}

// makeForeign makes the topics of others that are missing and were never there: that one can not be made at the start must
// not keep it away for good.
func (c *control) makeForeign(picture *metadata.Response) error {
	var missing []TopicConfig
	for i := range picture.Topics {
		seen := &picture.Topics[i]
		t := c.log.topics[seen.Name]
		switch {
		case t == nil || !t.config.Foreign || t.all() != nil:
		case seen.ErrorCode == codeUnknownTopic:
			missing = append(missing, t.config)
		default:
			c.saidOf(seen)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	return c.create(picture, missing)
}

// saidOf tells why a topic of others can not be used, unless that is over in a moment.
func (c *control) saidOf(seen *metadata.ResponseTopic) {
	if seen.ErrorCode != 0 && seen.ErrorCode != codeLeaderNotAvailable {
		c.differs(seen.Name, "it can not be used: %v", describe(seen.ErrorCode, ""))
	}
}

// whole tells why a topic's partitions are not all known yet. Metadata lists them in any order, and may for a moment leave
// out some of a new topic.
func whole(seen *metadata.ResponseTopic) error {
	if seen.ErrorCode != 0 || len(seen.Partitions) == 0 {
		return fmt.Errorf("topic %s: %w", seen.Name, errors.Join(errBeingMade, describe(seen.ErrorCode, "")))
	}
	for _, p := range seen.Partitions {
		if int(p.PartitionIndex) >= len(seen.Partitions) {
			return fmt.Errorf("topic %s: %w: partition %d of %d", seen.Name, errBeingMade, p.PartitionIndex, len(seen.Partitions))
		}
	}
	return nil
}

// mayProduce asks for a producer id that nobody uses: a right that is missing should show before the first append does.
func (c *control) mayProduce() error {
	answer, err := c.ask(new(initproducerid.Request))
	if err != nil {
		return fmt.Errorf("asking for a producer id: %w", err)
	}
	if id := answer.(*initproducerid.Response); id.ErrorCode != 0 {
		return fmt.Errorf("asking for a producer id: %w", describe(id.ErrorCode, ""))
	}
	return nil
}

// create makes topics. The controller takes the request; every broker of a KRaft cluster does.
func (c *control) create(picture *metadata.Response, missing []TopicConfig) error {
	request := &createtopics.Request{TimeoutMs: createTopicTimeout}
	for _, t := range missing {
		topic := createtopics.RequestTopic{
			Name:              t.Name,
			NumPartitions:     int32(brokersDefault(t.Partitions)),
			ReplicationFactor: int16(brokersDefault(t.ReplicationFactor)),
		}
		for _, name := range slices.Sorted(maps.Keys(t.Configs)) {
			topic.Configs = append(topic.Configs, createtopics.RequestConfig{Name: name, Value: t.Configs[name]})
		}
		request.Topics = append(request.Topics, topic)
	}
	admin, err := c.controller(picture)
	if err != nil {
		return err
	}
	defer func() {
		if admin != c.conn {
			admin.close()
		}
	}()
	answer, err := c.log.ask(c.log.ctx, admin, request, c.log.config.RequestTimeout)
	if err != nil {
		return fmt.Errorf("making topics: %w", err)
	}
	for _, made := range answer.(*createtopics.Response).Topics {
		switch made.ErrorCode {
		case 0:
			c.log.notify(Notice{NoticeTopicCreated, made.Name, "made, since it was missing"})
		case codeTopicExists: // another gateway was faster
		default:
			if t := c.log.topics[made.Name]; t != nil && t.config.Foreign {
				c.differs(made.Name, "it is missing and can not be made: %v", describe(made.ErrorCode, made.ErrorMessage))
				continue
			}
			return fmt.Errorf("making topic %s: %w", made.Name, describe(made.ErrorCode, made.ErrorMessage))
		}
	}
	return nil
}

// brokersDefault: -1 asks for the broker's own default.
func brokersDefault(n int) int {
	if n == 0 {
		return -1
	}
	return n
}

// controller returns a connection to the controller: watch's own when it is that already.
func (c *control) controller(picture *metadata.Response) (*conn, error) {
	for _, b := range picture.Brokers {
		if b.NodeID == picture.ControllerID {
			if address := joinAddress(b.Host, b.Port); address != c.conn.address {
				return c.log.dialer.connect(c.log.ctx, address)
			}
		}
	}
	return c.conn, nil
}

// compare tells how a topic that exists differs from its configuration. What exists wins.
func (c *control) compare(want TopicConfig, seen *metadata.ResponseTopic) {
	if n := len(seen.Partitions); want.Partitions != 0 && n != want.Partitions && n > 0 {
		c.differs(want.Name, "it has %d partitions, configured are %d; the topic's count is used", n, want.Partitions)
	}
	if n := replicas(seen); want.ReplicationFactor != 0 && n != want.ReplicationFactor && n > 0 {
		c.differs(want.Name, "it has %d replicas, configured are %d; change it with kafka-reassign-partitions", n, want.ReplicationFactor)
	}
}

// noteGrown tells of partitions that were added since the log was opened: nothing is written to them, and no group of ours
// runs them, until it is opened again.
func (c *control) noteGrown(picture *metadata.Response) {
	for i := range picture.Topics {
		seen := &picture.Topics[i]
		t := c.log.topics[seen.Name]
		if t == nil || t.config.Foreign {
			continue
		}
		if n, had := len(seen.Partitions), len(t.all()); n > had && had > 0 {
			c.differs(seen.Name, "it has %d partitions now and had %d at the start; restart every gateway to use them", n, had)
		}
	}
}

// differs tells a difference once: what fails later makes watch come by here again.
func (c *control) differs(topic, format string, args ...any) {
	c.tell(Notice{NoticeTopicDiffers, topic, fmt.Sprintf(format, args...)})
}

// risk notes what makes a topic's acknowledgements worth less than they seem; what several topics share is one Notice.
func (c *control) risk(topic, format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	i := slices.IndexFunc(c.risks, func(n Notice) bool { return n.Text == text })
	if i < 0 {
		c.risks = append(c.risks, Notice{NoticeTopicAtRisk, topic, text})
		return
	}
	c.risks[i].Topic += "," + topic
}

func (c *control) tell(n Notice) {
	if !slices.Contains(c.told, n) {
		c.told = append(c.told, n)
		c.log.notify(n)
	}
}

func replicas(seen *metadata.ResponseTopic) int {
	if len(seen.Partitions) == 0 {
		return 0
	}
	return len(seen.Partitions[0].ReplicaNodes)
}

// readSettings reads what the topics' settings mean for us. Where we may not read them the defaults stand.
func (c *control) readSettings(picture *metadata.Response) error {
	c.risks = nil
	request := &describeconfigs.Request{}
	for _, name := range c.log.topicNames() {
		request.Resources = append(request.Resources, describeconfigs.RequestResource{ResourceType: resourceTopic, ResourceName: name})
	}
	answer, err := c.ask(request)
	if err != nil {
		return fmt.Errorf("reading topic settings: %w", err)
	}
	copies := map[string]int{}
	for i := range picture.Topics {
		copies[picture.Topics[i].Name] = replicas(&picture.Topics[i])
	}
	for i := range answer.(*describeconfigs.Response).Resources {
		resource := &answer.(*describeconfigs.Response).Resources[i]
		t := c.log.topics[resource.ResourceName]
		switch {
		case t == nil, t.config.Foreign && resource.ErrorCode != 0:
		case resource.ErrorCode == codeUnknownTopic:
			return fmt.Errorf("topic %s: %w", resource.ResourceName, errBeingMade)
		case resource.ErrorCode != 0:
			c.differs(resource.ResourceName, "its settings can not be read (%v); assuming max.message.bytes of %d or more",
				describe(resource.ErrorCode, resource.ErrorMessage), c.log.config.BatchBytesMax)
		default:
			settings := make(map[string]string, len(resource.ConfigEntries))
			for _, entry := range resource.ConfigEntries {
				settings[entry.ConfigName] = entry.ConfigValue
			}
			c.apply(t, settings, copies[resource.ResourceName])
		}
	}
	for _, n := range c.risks {
		c.tell(n)
	}
	return nil
}

// apply takes over a topic's settings and tells those that make acknowledgements worth less than they seem.
func (c *control) apply(t *topic, settings map[string]string, copies int) {
	name := t.config.Name
	if limit, err := strconv.Atoi(settings["max.message.bytes"]); err == nil && limit < c.log.config.BatchBytesMax {
		if limit <= recordbatch.HeaderBytes && !t.config.Foreign {
			c.differs(name, "max.message.bytes is %d: no batch fits", limit)
		}
		t.batchBytesMax.Store(int64(limit))
	}
	inSyncMin, err := strconv.Atoi(settings["min.insync.replicas"])
	if err == nil {
		c.log.mu.Lock()
		t.inSyncMin = inSyncMin
		c.log.mu.Unlock()
	}
	if t.config.Foreign {
		return
	}
	switch {
	case copies == 1:
		c.risk(name, "one replica: what is acknowledged is lost with that broker's disk")
	case copies > 1 && err == nil && inSyncMin < 2:
		c.risk(name, "min.insync.replicas is %d of %d replicas: what is acknowledged may be on one broker only; set it to 2", inSyncMin, copies)
	}
	if settings["message.timestamp.type"] == "LogAppendTime" {
		c.differs(name, "message.timestamp.type is LogAppendTime: records carry the broker's time instead of the time of receipt")
	}
	if settings["unclean.leader.election.enable"] == "true" {
		c.risk(name, "unclean.leader.election.enable is true: an election may lose what is acknowledged")
	}
	for _, key := range slices.Sorted(maps.Keys(t.config.Configs)) {
		if is, known := settings[key]; known && is != t.config.Configs[key] {
			c.differs(name, "%s is %s, configured is %s; change it with kafka-configs", key, is, t.config.Configs[key])
		}
	}
}

package kafkalog_test

import (
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"tollgate/pkg/commitlog"
	"tollgate/pkg/commitlog/kafkalog"
	"tollgate/pkg/commitlog/logtest"
)

func TestATopicOfOthersIsMadeWhenItIsMissingAndNothingIsSaidOfItsSettings(t *testing.T) {
	c := fake(t, kfake.NumBrokers(3), kfake.SeedTopics(5, "theirs"), kfake.DefaultNumPartitions(4))
	var told notices
	log := openReady(t, c.ListenAddrs(), func(config *kafkalog.Config) {
		config.Notify, config.MetadataInterval = told.take, 50*time.Millisecond
		config.Topics = append(config.Topics, kafkalog.TopicConfig{Name: "theirs", Foreign: true}, kafkalog.TopicConfig{Name: "missing", Foreign: true})
	})
	until(t, func() bool { return log.Partitions("theirs") == 5 && log.Partitions("missing") == 4 }, func() string { return "the topics are not known" })
	for _, topic := range []string{"theirs", "missing"} {
		b := logtest.NewBatch(topic, 3, "a notification")
		<-start(log, b)
		if b.Err != nil {
			t.Errorf("an append to %s: %v", topic, b.Err)
		}
	}
	told.mu.Lock()
	defer told.mu.Unlock()
	for _, n := range told.all {
		if n.Kind != kafkalog.NoticeTopicCreated && n.Kind != kafkalog.NoticeReady && strings.Contains(n.Topic, "i") { // usage has none
			t.Errorf("%s of %s: %s", n.Kind, n.Topic, n.Text)
		}
	}
}

// Events of meters are taken although a topic that somebody else owns can not be had.
func TestATopicOfOthersThatCanNotBeHadKeepsNobodyElseWaiting(t *testing.T) {
	c := fake(t, kfake.SeedTopics(2, usage))
	var refuses atomic.Bool
	refuses.Store(true)
	c.ControlKey(kmsg.CreateTopics.Int16(), func(r kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		request := r.(*kmsg.CreateTopicsRequest)
		i := slices.IndexFunc(request.Topics, func(t kmsg.CreateTopicsRequestTopic) bool { return t.Topic == "theirs" })
		if !refuses.Load() || i < 0 {
			return nil, nil, false
		}
		answer := request.ResponseKind().(*kmsg.CreateTopicsResponse)
		for _, asked := range request.Topics {
			topic := kmsg.NewCreateTopicsResponseTopic()
			topic.Topic, topic.ErrorCode = asked.Topic, 29 // TOPIC_AUTHORIZATION_FAILED
			answer.Topics = append(answer.Topics, topic)
		}
		return answer, nil, true
	})
	var told notices
	log := openReady(t, c.ListenAddrs(), func(config *kafkalog.Config) {
		config.Notify, config.MetadataInterval = told.take, 50*time.Millisecond
		config.Topics = append(config.Topics, kafkalog.TopicConfig{Name: "theirs", Foreign: true})
	})
	if b := append1(t, log, 0, "an event"); b.Err != nil {
		t.Errorf("an append to a topic of ours: %v", b.Err)
	}
	b := logtest.NewBatch("theirs", 0, "a notification")
	<-start(log, b)
	if !errors.Is(b.Err, commitlog.ErrUnavailable) || !strings.Contains(b.Err.Error(), "theirs") {
		t.Errorf("an append to the topic that can not be had: %v", b.Err)
	}
	until(t, func() bool { return len(told.texts(kafkalog.NoticeTopicDiffers)) > 0 }, func() string { return "no notice" })
	time.Sleep(200 * time.Millisecond)
	if said := told.texts(kafkalog.NoticeTopicDiffers); len(said) != 1 || !strings.Contains(said[0], "can not be made") {
		t.Errorf("it is said %q", said)
	}
	refuses.Store(false)
	until(t, func() bool { return log.Partitions("theirs") > 0 }, func() string { return "the topic is still not there" })
	b = logtest.NewBatch("theirs", 0, "a notification")
	<-start(log, b)
	if b.Err != nil {
		t.Errorf("an append once it may be made: %v", b.Err)
	}
}

// After a quiet moment nothing but the topic that does not answer would speak for the cluster.
func TestATopicOfOthersThatDoesNotAnswerDoesNotMakeTheLogUnready(t *testing.T) {
	c := fake(t, kfake.SeedTopics(2, usage), kfake.SeedTopics(1, "theirs"))
	log := openReady(t, c.ListenAddrs(), func(config *kafkalog.Config) {
		config.StallMax, config.MetadataInterval = 300*time.Millisecond, 50*time.Millisecond
		config.Topics = append(config.Topics, kafkalog.TopicConfig{Name: "theirs", Foreign: true})
	})
	until(t, func() bool { return log.Partitions("theirs") == 1 }, func() string { return "the topic is not known" })
	c.ControlKey(kmsg.Produce.Int16(), func(r kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		return answerAll(r.(*kmsg.ProduceRequest), 19), nil, true // NOT_ENOUGH_REPLICAS
	})
	start(log, logtest.NewBatch("theirs", 0, "a notification"))
	turnedAway := func() bool {
		b := logtest.NewBatch("theirs", 0, "another")
		select {
		case <-start(log, b):
			return errors.Is(b.Err, commitlog.ErrUnavailable)
		case <-time.After(50 * time.Millisecond):
			return false
		}
	}
	until(t, turnedAway, func() string { return "the topic is not stalled" })
	for range 50 {
		if err := log.Ready(); err != nil {
			t.Fatalf("not ready: %v", err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

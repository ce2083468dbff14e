package kafkalog_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"tollgate/pkg/commitlog"
	"tollgate/pkg/commitlog/kafkalog"
	"tollgate/pkg/commitlog/logtest"
	"tollgate/pkg/recordbatch"
	kafkatest "tollgate/test/kafka"
)

// The tests of this file run real brokers; see package kafkatest.

func TestConformanceOnKafka(t *testing.T) {
	c := kafkatest.Start(t, kafkatest.Options{})
	for _, codec := range []recordbatch.Codec{recordbatch.None, recordbatch.Zstd} {
		t.Run(codec.String(), func(t *testing.T) {
			topics := 0
			logtest.Run(t, func(t *testing.T) logtest.Opened {
				topics++
				topic := fmt.Sprintf("%s-%d", codec, topics)
				again := func() commitlog.Log {
					return openReady(t, c.Brokers, func(config *kafkalog.Config) {
						config.Codec = codec
						config.Topics = []kafkalog.TopicConfig{{Name: topic, Partitions: 2}}
					})
				}
				return logtest.Opened{Log: again(), Topic: topic, Reopen: again}
			})
		})
	}
}

func TestKafkasOwnConsumerReadsWhatWeWrote(t *testing.T) {
	c := kafkatest.Start(t, kafkatest.Options{})
	for _, codec := range []recordbatch.Codec{recordbatch.None, recordbatch.LZ4, recordbatch.Zstd} {
		t.Run(codec.String(), func(t *testing.T) {
			topic := "by-" + codec.String()
			log := openReady(t, c.Brokers, func(config *kafkalog.Config) {
				config.Codec = codec
				config.Topics = []kafkalog.TopicConfig{{Name: topic, Partitions: 1}}
			})
			var values []string
			for i := range 1500 {
				values = append(values, fmt.Sprintf("record %d %s", i, strings.Repeat("-", 80)))
			}
			logtest.Append(t, log, logtest.NewBatch(topic, 0, values...), logtest.NewBatch(topic, 0, "the last"))
			out := c.CLI("consume", "--bootstrap-server", c.Brokers[0], "--topic", topic, "--from-beginning",
				"--max-messages", "1501", "--timeout-ms", "30000")
			if want := strings.Join(values, "\n") + "\nthe last\n"; out != want {
				t.Errorf("the consumer printed %d bytes, want %d; it begins %.100q", len(out), len(want), out)
			}
		})
	}
}

func TestKafkaKilledAndRestartedUnderLoad(t *testing.T) {
	c := kafkatest.Start(t, kafkatest.Options{})
	l := startLoad(t, openReady(t, c.Brokers, nil), usage, 100)
	for range 2 {
		l.more(5000)
		c.Kill9(1)
		time.Sleep(500 * time.Millisecond)
		c.Start(1)
	}
	l.more(5000)
	l.finish()
}

func TestKafkaPausedUnderLoad(t *testing.T) {
	c := kafkatest.Start(t, kafkatest.Options{})
	log := openReady(t, c.Brokers, func(c *kafkalog.Config) {
		c.RequestTimeout, c.DialTimeout, c.StallMax = 2*time.Second, time.Second, time.Second
	})
	l := startLoad(t, log, usage, 100)
	l.more(5000)
	// Longer than a request's timeout: requests are given up that the broker finds in its sockets when it wakes up, and
	// works on beside their repetitions.
	c.Pause(1)
	until(t, func() bool { return log.Ready() != nil }, func() string { return "the broker is paused and the log says it is ready" })
	time.Sleep(4 * time.Second)
	c.Resume(1)
	untilReady(t, log)
	l.more(5000)
	l.finish()
}

func TestLeaderLostUnderLoad(t *testing.T) {
	c := kafkatest.Start(t, kafkatest.Options{Nodes: 3})
	log := openReady(t, c.Brokers, func(config *kafkalog.Config) {
		config.Topics = []kafkalog.TopicConfig{{Name: usage, Partitions: 6, ReplicationFactor: 3}}
		config.RequestTimeout = 5 * time.Second
	})
	l := startLoad(t, log, usage, 100)
	l.more(2000)
	c.Kill9(1)
	l.more(2000)
	c.Start(1)
	l.more(2000)
	c.Pause(2)
	l.more(2000) // its partitions move while its sockets stay open
	c.Resume(2)
	l.more(2000)
	c.Stop(3)
	l.more(2000)
	l.finish()
}

func TestReplicasThatAreMissingAndARemedyByConfiguration(t *testing.T) {
	c := kafkatest.Start(t, kafkatest.Options{Nodes: 3})
	log := openReady(t, c.Brokers, func(config *kafkalog.Config) {
		config.Topics = []kafkalog.TopicConfig{{
			Name: usage, Partitions: 3, ReplicationFactor: 2, Configs: map[string]string{"min.insync.replicas": "2"},
		}}
		config.StallMax = time.Second
	})
	for p := range int32(3) {
		if b := append1(t, log, p, "before"); b.Err != nil {
			t.Fatal(b.Err)
		}
	}
	c.Kill9(1)
	until(t, func() bool {
		short := c.CLI("topics", "--bootstrap-server", c.Brokers[1], "--describe", "--under-min-isr-partitions")
		return strings.Count(short, "Topic: "+usage) == 2
	}, func() string { return "the cluster does not notice that two partitions have a dead replica" })
	away := 0
	for p := range int32(3) {
		if b := append1(t, log, p, "short"); errors.Is(b.Err, commitlog.ErrUnavailable) {
			away++
		}
	}
	if away != 2 {
		t.Errorf("%d partitions turn appends away", away)
	}
	time.Sleep(1500 * time.Millisecond) // a quiet moment
	if err := log.Ready(); err != nil {
		t.Errorf("one partition has all its replicas, and the log is not ready: %v", err)
	}
	c.CLI("configs", "--bootstrap-server", c.Brokers[1], "--alter", "--entity-type", "topics", "--entity-name", usage,
		"--add-config", "min.insync.replicas=1")
	for p := range int32(3) {
		until(t, func() bool { return append1(t, log, p, "after").Err == nil },
			func() string { return fmt.Sprintf("partition %d needs one replica, has one and takes nothing", p) })
	}
}

func TestATopicMadeAgainWithFewerPartitionsUnderLoad(t *testing.T) {
	c := kafkatest.Start(t, kafkatest.Options{})
	log := openReady(t, c.Brokers, func(config *kafkalog.Config) { config.StallMax = time.Second })
	warm(t, log)
	c.CLI("topics", "--bootstrap-server", c.Brokers[0], "--delete", "--topic", usage)
	lost := logtest.NewBatch(usage, 1, "into a topic that is gone")
	done := start(log, lost)
	c.CLI("topics", "--bootstrap-server", c.Brokers[0], "--create", "--topic", usage, "--partitions", "1", "--replication-factor", "1")
	until(t, func() bool { return append1(t, log, 0, "after").Err == nil }, func() string { return "partition 0 takes nothing" })
	until(t, func() bool { return errors.Is(append1(t, log, 1, "nowhere").Err, commitlog.ErrUnavailable) }, func() string { return "" })
	time.Sleep(1500 * time.Millisecond) // a quiet moment
	if err := log.Ready(); err != nil {
		t.Errorf("a partition of two is gone for good, and the log is not ready: %v", err)
	}
	select {
	case <-done:
		t.Errorf("an append that nobody answered came to: %v", lost.Err)
	default:
	}
}

func TestACompactedTopicIsMadeAndComparedAndRefusesWhatTheJournalRefuses(t *testing.T) {
	c := kafkatest.Start(t, kafkatest.Options{})
	opened := func(lag string) (*kafkalog.Log, *notices) {
		told := new(notices)
		log := openReady(t, c.Brokers, func(config *kafkalog.Config) {
			config.Notify = told.take
			config.Topics = []kafkalog.TopicConfig{{Name: usage, Partitions: 1, Configs: map[string]string{
				"cleanup.policy": "compact", "min.compaction.lag.ms": lag,
			}}}
		})
		until(t, func() bool { return len(told.texts(kafkalog.NoticeReady)) == 1 }, func() string { return "no notice of being ready" })
		return log, told
	}
	log, told := opened("3024000000")
	if differs := told.texts(kafkalog.NoticeTopicDiffers); len(differs) != 0 {
		t.Errorf("a topic that was made as configured differs: %q", differs)
	}
	_, told = opened("86400000")
	if got, want := strings.Join(told.texts(kafkalog.NoticeTopicDiffers), "\n"), "min.compaction.lag.ms is 3024000000, configured is 86400000"; !strings.Contains(got, want) {
		t.Errorf("no notice says %q; there are:\n%s", want, got)
	}
	var b recordbatch.Builder
	b.Reset(nil)
	b.Append(time.Now().UnixMilli(), recordbatch.AppendBody(nil, nil, []byte("no key")))
	keyless := &commitlog.Batch{Topic: usage, Records: 1, Bytes: b.Seal()}
	if err := commitlog.AppendWait(t.Context(), log, keyless); !errors.Is(err, commitlog.ErrRefused) {
		t.Errorf("a record without a key: %v, want ErrRefused", err)
	}
	if b := append1(t, log, 0, "with a key"); b.Err != nil || b.Base != 0 {
		t.Errorf("the next one: offset %d, %v", b.Base, b.Err)
	}
}

package kafkalog_test

import (
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

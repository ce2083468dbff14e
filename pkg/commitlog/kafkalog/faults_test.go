package kafkalog_test

import (
	"context"
	"crypto/tls"
	"errors"
	"math/rand/v2"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"

	"tollgate/pkg/commitlog"
	"tollgate/pkg/commitlog/kafkalog"
	"tollgate/pkg/commitlog/logtest"
	"tollgate/pkg/recordbatch"
)

// warm makes sure that the lane which comes next has a connection, so that what is silent is a request.
func warm(t *testing.T, log *kafkalog.Log) {
	t.Helper()
	for range 10 {
		append1(t, log, 0, "warm")
		append1(t, log, 1, "warm")
	}
	time.Sleep(20 * time.Millisecond) // until all lanes rest
}

func TestLostAnswersNeitherLoseNorRepeat(t *testing.T) {
	c, w := fake(t), newWire()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	dice := rand.New(rand.NewPCG(seed, 0))
	w.produce = func() answer {
		if dice.IntN(20) == 0 {
			return loseAnswer
		}
		return passAnswer
	}
	l := startLoad(t, openReady(t, c.ListenAddrs(), func(c *kafkalog.Config) { c.Dial = w.dial }), usage, 20)
	l.more(4000)
	w.set(func() { w.produce = nil })
	l.finish()
}

func TestLeaderMovesUnderLoad(t *testing.T) {
	c := fake(t, kfake.NumBrokers(3))
	l := startLoad(t, openReady(t, c.ListenAddrs(), nil), usage, 20)
	for i := range 12 {
		l.more(200)
		for p := range int32(2) {
			if err := c.MoveTopicPartition(usage, p, int32(i+int(p))%3); err != nil {
				t.Fatal(err)
			}
		}
	}
	l.more(200)
	l.finish()
}

func TestAnotherPartitionsLeaderIsAway(t *testing.T) {
	c, w := fake(t, kfake.NumBrokers(2)), newWire()
	log := openReady(t, c.ListenAddrs(), func(c *kafkalog.Config) { c.Dial, c.StallMax = w.dial, time.Second })
	for p := range int32(2) {
		if err := c.MoveTopicPartition(usage, p, p); err != nil {
			t.Fatal(err)
		}
	}
	until(t, func() bool { return append1(t, log, 0, "a").Err == nil && append1(t, log, 1, "b").Err == nil }, func() string { return "" })
	// Nobody reaches broker 1 any more.
	away := c.ListenAddrs()[1]
	w.set(func() {
		w.away = away
		for conn := range w.open {
			if conn.RemoteAddr().String() == away {
				conn.Conn.Close()
			}
		}
	})
	until(t, func() bool { return append1(t, log, 1, "c").Err != nil }, func() string { return "appends to the lost leader succeed" })
	began := time.Now()
	if b := append1(t, log, 1, "d"); !errors.Is(b.Err, commitlog.ErrUnavailable) || time.Since(began) > 500*time.Millisecond {
		t.Errorf("append to the lost leader: %v after %v", b.Err, time.Since(began))
	}
	if b := append1(t, log, 0, "e"); b.Err != nil {
		t.Errorf("append to the other partition: %v", b.Err)
	}
	untilReady(t, log) // most appends can be taken
	// Also when nobody asked for anything for a while: a gateway that is not ready is not asked.
	for quiet := time.Now(); time.Since(quiet) < 1500*time.Millisecond; time.Sleep(10 * time.Millisecond) {
		if err := log.Ready(); err != nil {
			t.Fatalf("one leader is away, nobody appends, and the log is not ready: %v", err)
		}
	}
	w.set(func() { w.away = "" })
	until(t, func() bool { return append1(t, log, 1, "f").Err == nil }, func() string { return "the leader is back and nothing is appended" })
}

func TestKafkaAwayAtStart(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().(*net.TCPAddr)
	listener.Close()

	log := open(t, []string{address.String()}, nil)
	until(t, func() bool { return strings.Contains(log.Ready().Error(), "connection refused") }, func() string { return log.Ready().Error() })
	if n := log.Partitions(usage); n != 0 {
		t.Errorf("%d partitions of a topic nobody has seen", n)
	}
	if b := append1(t, log, 0, "early"); !errors.Is(b.Err, commitlog.ErrUnavailable) {
		t.Errorf("append: %v", b.Err)
	}
	fake(t, kfake.Ports(address.Port))
	untilReady(t, log)
	if b := append1(t, log, 0, "late"); b.Err != nil || b.Base != 0 {
		t.Errorf("append: base %d, %v", b.Base, b.Err)
	}
}

func TestSilentBrokerTurnsAppendsAwayAndRecovers(t *testing.T) {
	c, w := fake(t), newWire()
	log := openReady(t, c.ListenAddrs(), func(c *kafkalog.Config) {
		c.Dial, c.StallMax, c.RequestTimeout, c.DialTimeout = w.dial, 300*time.Millisecond, time.Second, 300*time.Millisecond
	})
	warm(t, log)
	_, next, err := log.Bounds(t.Context(), usage, 0)
	if err != nil {
		t.Fatal(err)
	}
	w.silence()
	inDoubt := logtest.NewBatch(usage, 0, "in doubt")
	done := start(log, inDoubt)
	behind := logtest.NewBatch(usage, 0, "behind")
	behindDone := start(log, behind)
	until(t, func() bool { return log.Ready() != nil }, func() string { return "ready although nothing is answered" })
	<-behindDone
	if !errors.Is(behind.Err, commitlog.ErrUnavailable) {
		t.Errorf("the batch behind, never sent, came to: %v", behind.Err)
	}
	began := time.Now()
	if b := append1(t, log, 0, "another"); !errors.Is(b.Err, commitlog.ErrUnavailable) || time.Since(began) > 200*time.Millisecond {
		t.Errorf("append while not ready: %v after %v", b.Err, time.Since(began))
	}
	select {
	case <-done:
		t.Fatalf("the batch that may have been written was given up: %v", inDoubt.Err)
	default:
	}
	w.speak()
	<-done
	if inDoubt.Err != nil || inDoubt.Base != next {
		t.Errorf("the batch in doubt: base %d, %v", inDoubt.Base, inDoubt.Err)
	}
	untilReady(t, log)
	if b := append1(t, log, 0, "after"); b.Err != nil || b.Base != next+1 {
		t.Errorf("after: base %d, %v", b.Base, b.Err)
	}
}

func TestCloseIsBoundedAndHonest(t *testing.T) {
	c, w := fake(t), newWire()
	log := openReady(t, c.ListenAddrs(), func(c *kafkalog.Config) { c.Dial = w.dial })
	warm(t, log)
	w.silence()
	sent, queued := logtest.NewBatch(usage, 0, "sent"), logtest.NewBatch(usage, 0, "queued")
	sentDone := start(log, sent)
	time.Sleep(100 * time.Millisecond) // until it is on its way
	queuedDone := start(log, queued)
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	began := time.Now()
	err := log.Close(ctx)
	if took := time.Since(began); err == nil || took > time.Second {
		t.Errorf("Close: %v after %v", err, took)
	}
	<-sentDone
	<-queuedDone
	if !errors.Is(sent.Err, commitlog.ErrUnknown) {
		t.Errorf("the batch that was sent: %v, want ErrUnknown", sent.Err)
	}
	if !errors.Is(queued.Err, commitlog.ErrClosed) {
		t.Errorf("the batch that was not: %v, want ErrClosed", queued.Err)
	}
}

func TestCompressedBatchesAreReadBack(t *testing.T) {
	for _, codec := range []recordbatch.Codec{recordbatch.LZ4, recordbatch.Zstd} {
		t.Run(codec.String(), func(t *testing.T) {
			log := openReady(t, fake(t).ListenAddrs(), func(c *kafkalog.Config) { c.Codec = codec })
			var set []*commitlog.Batch
			var values []string
			for i := range 2000 {
				values = append(values, strings.Repeat("tollgate ", 10)+string(rune('a'+i%26)))
			}
			for p := range int32(2) {
				set = append(set, logtest.NewBatch(usage, p, values...), logtest.NewBatch(usage, p, "small"))
			}
			logtest.Append(t, log, set...)
			for p := range int32(2) {
				got := logtest.Read(t, log, usage, p, 0, 2001)
				for i, value := range append(values[:2000:2000], "small") {
					if got[i] != value {
						t.Fatalf("record %d is %q", i, got[i])
					}
				}
			}
		})
	}
}

func TestTopicsAreMadeAndChecked(t *testing.T) {
	c := fake(t, kfake.NumBrokers(3), kfake.SeedTopics(5, "old"))
	var told notices
	log := openReady(t, c.ListenAddrs(), func(config *kafkalog.Config) {
		config.Notify = told.take
		config.Topics = []kafkalog.TopicConfig{
			{Name: "old", Partitions: 2, Configs: map[string]string{"retention.ms": "1000"}},
			{Name: "new", Partitions: 7, ReplicationFactor: 3, Configs: map[string]string{"retention.ms": "86400000", "max.message.bytes": "5000"}},
		}
	})
	if old, made := log.Partitions("old"), log.Partitions("new"); old != 5 || made != 7 {
		t.Errorf("partitions: old %d, new %d; want 5 as it is, 7 as configured", old, made)
	}
	if n := log.BatchBytesMax("new"); n != 5000 {
		t.Errorf("BatchBytesMax is %d, the topic takes 5000", n)
	}
	until(t, func() bool { return len(told.texts(kafkalog.NoticeReady)) == 1 }, func() string { return "no notice of being ready" })
	if made := told.texts(kafkalog.NoticeTopicCreated); len(made) != 1 {
		t.Errorf("created: %q", made)
	}
	differs := strings.Join(told.texts(kafkalog.NoticeTopicDiffers), "\n")
	for _, want := range []string{"it has 5 partitions, configured are 2", "retention.ms is"} {
		if !strings.Contains(differs, want) {
			t.Errorf("no notice says %q; there are:\n%s", want, differs)
		}
	}
	risks := told.texts(kafkalog.NoticeTopicAtRisk) // both topics share it: one notice
	if len(risks) != 1 || !strings.Contains(risks[0], "min.insync.replicas is 1 of 3") {
		t.Errorf("at risk: %q", risks)
	}
}

func TestReadySaysWhyAConnectionFails(t *testing.T) {
	for name, test := range map[string]struct {
		options []kfake.Opt
		change  func(*kafkalog.Config)
		want    string
	}{
		"wrong password": {
			[]kfake.Opt{kfake.EnableSASL(), kfake.Superuser("PLAIN", "alice", "right")},
			func(c *kafkalog.Config) { c.SASL = kafkalog.SASL{Mechanism: "PLAIN", User: "alice", Password: "wrong"} },
			"SASL PLAIN",
		},
		"wrong mechanism": {
			[]kfake.Opt{kfake.EnableSASL(), kfake.Superuser("SCRAM-SHA-256", "alice", "right")},
			func(c *kafkalog.Config) {
				c.SASL = kafkalog.SASL{Mechanism: "SCRAM-SHA-512", User: "alice", Password: "wrong"}
			},
			"SASL SCRAM-SHA-512",
		},
		"TLS to a plain listener": {
			nil,
			func(c *kafkalog.Config) { c.TLS = &tls.Config{InsecureSkipVerify: true} },
			"TLS",
		},
	} {
		t.Run(name, func(t *testing.T) {
			log := open(t, fake(t, test.options...).ListenAddrs(), func(c *kafkalog.Config) {
				c.DialTimeout = time.Second
				test.change(c)
			})
			until(t, func() bool { return strings.Contains(log.Ready().Error(), test.want) }, func() string { return log.Ready().Error() })
			t.Log(log.Ready())
		})
	}
}

func TestSCRAMOnFake(t *testing.T) {
	for _, mechanism := range []string{"PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"} {
		c := fake(t, kfake.EnableSASL(), kfake.Superuser(mechanism, "alice", "right"))
		log := openReady(t, c.ListenAddrs(), func(c *kafkalog.Config) {
			c.SASL = kafkalog.SASL{Mechanism: mechanism, User: "alice", Password: "right"}
		})
		if b := append1(t, log, 0, "a"); b.Err != nil {
			t.Errorf("%s: %v", mechanism, b.Err)
		}
	}
}

func TestConfigurationIsChecked(t *testing.T) {
	good := kafkalog.Config{Brokers: []string{"127.0.0.1:9092"}, Topics: []kafkalog.TopicConfig{{Name: "t"}}}
	for want, change := range map[string]func(*kafkalog.Config){
		"no brokers":     func(c *kafkalog.Config) { c.Brokers = nil },
		"want host:port": func(c *kafkalog.Config) { c.Brokers = []string{"kafka"} },
		"no topics":      func(c *kafkalog.Config) { c.Topics = nil },
		"given twice":    func(c *kafkalog.Config) { c.Topics = append(c.Topics[:1:1], c.Topics[0]) },
		"mechanism":      func(c *kafkalog.Config) { c.SASL.Mechanism = "GSSAPI" },
		"negative":       func(c *kafkalog.Config) { c.StallMax = -1 },
		"compression":    func(c *kafkalog.Config) { c.Codec = 1 },
		"batches of":     func(c *kafkalog.Config) { c.BatchBytesMax = 10 },
	} {
		c := good
		change(&c)
		if log, err := kafkalog.Open(c); err == nil {
			log.Close(t.Context())
			t.Errorf("no error where one says %q", want)
		} else if !strings.Contains(err.Error(), want) {
			t.Errorf("%v; want it to say %q", err, want)
		}
	}
}

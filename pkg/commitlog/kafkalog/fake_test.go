package kafkalog_test

import (
	"context"
	"fmt"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"

	"tollgate/pkg/commitlog"
	"tollgate/pkg/commitlog/kafkalog"
	"tollgate/pkg/commitlog/logtest"
)

const (
	usage   = "usage"
	waitMax = 30 * time.Second
)

// fake starts a Kafka in this process.
func fake(t testing.TB, options ...kfake.Opt) *kfake.Cluster {
	t.Helper()
	c, err := kfake.NewCluster(append([]kfake.Opt{kfake.NumBrokers(1)}, options...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// notices collects what a log tells.
type notices struct {
	mu  sync.Mutex
	all []kafkalog.Notice
}

func (n *notices) take(notice kafkalog.Notice) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.all = append(n.all, notice)
}

func (n *notices) texts(kind string) (texts []string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, notice := range n.all {
		if notice.Kind == kind {
			texts = append(texts, notice.Text)
		}
	}
	return texts
}

// open opens a log of the topic usage, with two partitions, and does not wait for it.
func open(t testing.TB, brokers []string, change func(*kafkalog.Config)) *kafkalog.Log {
	t.Helper()
	config := kafkalog.Config{
		Brokers: brokers,
		Topics:  []kafkalog.TopicConfig{{Name: usage, Partitions: 2}},
	}
	if change != nil {
		change(&config)
	}
	log, err := kafkalog.Open(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeLog(t, log) })
	return log
}

func openReady(t testing.TB, brokers []string, change func(*kafkalog.Config)) *kafkalog.Log {
	t.Helper()
	log := open(t, brokers, change)
	untilReady(t, log)
	return log
}

// closeLog closes a log whatever state Kafka is in, and checks that this is quick.
func closeLog(t testing.TB, log *kafkalog.Log) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	began := time.Now()
	log.Close(ctx)
	if took := time.Since(began); took > 4*time.Second {
		t.Errorf("Close took %v", took)
	}
}

func untilReady(t testing.TB, log *kafkalog.Log) {
	t.Helper()
	until(t, func() bool { return log.Ready() == nil }, func() string { return fmt.Sprint("ready: ", log.Ready()) })
}

func until(t testing.TB, true func() bool, state func() string) {
	t.Helper()
	for deadline := time.Now().Add(waitMax); !true(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %s", waitMax, state())
		}
	}
}

// append1 appends one batch of one record and returns it, completed.
func append1(t testing.TB, log commitlog.Log, partition int32, value string) *commitlog.Batch {
	t.Helper()
	b := logtest.NewBatch(usage, partition, value)
	select {
	case <-start(log, b):
	case <-time.After(waitMax):
		t.Fatalf("the append of %q was not answered in %v", value, waitMax)
	}
	return b
}

// start appends a batch; the channel is closed when it is done.
func start(log commitlog.Log, b *commitlog.Batch) chan struct{} {
	done := make(chan struct{})
	b.Done = func(*commitlog.Batch) { close(done) }
	log.Append([]*commitlog.Batch{b})
	return done
}

// wire is a dialer whose connections a test can hurt.
type wire struct {
	mu      sync.Mutex
	open    map[*wireConn]bool
	deaf    bool   // answers are held back from now on, on every connection
	away    string // the address of a broker that can not be reached
	produce func() answer
}

type answer int

const (
	passAnswer answer = iota
	loseAnswer        // let the broker work, then break the connection instead of answering
)

// produceKey is the API key of a produce request.
const produceKey = 0

func newWire() *wire { return &wire{open: map[*wireConn]bool{}} }

func (w *wire) dial(ctx context.Context, network, address string) (net.Conn, error) {
	w.mu.Lock()
	refuse := w.away == address
	w.mu.Unlock()
	if refuse {
		return nil, fmt.Errorf("dial %s: refused by the test", address)
	}
	c, err := new(net.Dialer).DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	wc := &wireConn{Conn: c, wire: w}
	w.mu.Lock()
	w.open[wc] = true
	w.mu.Unlock()
	return wc, nil
}

// silence holds back all answers; speak lets them through again.
func (w *wire) silence() { w.set(func() { w.deaf = true }) }
func (w *wire) speak()   { w.set(func() { w.deaf = false }) }

func (w *wire) set(f func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f()
}

// wireConn looks at the requests that pass: kafkalog has one on its way at a time, and its first write begins it.
type wireConn struct {
	net.Conn
	wire     *wire
	remain   int  // bytes of the current request still to be written
	lose     bool // the answer to come is lost
	deadline time.Time
}

func (c *wireConn) Write(b []byte) (int, error) {
	if c.remain == 0 && len(b) >= 6 {
		c.remain = 4 + int(b[0])<<24 + int(b[1])<<16 + int(b[2])<<8 + int(b[3])
		c.wire.mu.Lock()
		if key := int(b[4])<<8 + int(b[5]); key == produceKey && c.wire.produce != nil {
			c.lose = c.wire.produce() == loseAnswer
		}
		c.wire.mu.Unlock()
	}
	n, err := c.Conn.Write(b)
	c.remain -= n
	return n, err
}

func (c *wireConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	for {
		c.wire.mu.Lock()
		deaf := c.wire.deaf
		c.wire.mu.Unlock()
		if !deaf || err != nil {
			break
		}
		if !c.deadline.IsZero() && time.Now().After(c.deadline) {
			return 0, context.DeadlineExceeded
		}
		c.wire.mu.Lock()
		gone := !c.wire.open[c]
		c.wire.mu.Unlock()
		if gone {
			return 0, net.ErrClosed
		}
		time.Sleep(time.Millisecond)
	}
	if c.lose && err == nil {
		c.Conn.Close()
		return 0, fmt.Errorf("the answer was lost by the test")
	}
	return n, err
}

func (c *wireConn) SetDeadline(t time.Time) error {
	c.deadline = t
	return c.Conn.SetDeadline(t)
}

func (c *wireConn) Close() error {
	c.wire.mu.Lock()
	delete(c.wire.open, c)
	c.wire.mu.Unlock()
	return c.Conn.Close()
}

func TestConformanceOnFake(t *testing.T) {
	c := fake(t)
	topics := 0
	logtest.Run(t, func(t *testing.T) logtest.Opened {
		topics++
		topic := fmt.Sprintf("topic-%d", topics)
		again := func() commitlog.Log {
			return openReady(t, c.ListenAddrs(), func(config *kafkalog.Config) {
				config.Topics = []kafkalog.TopicConfig{{Name: topic, Partitions: 2}}
			})
		}
		return logtest.Opened{Log: again(), Topic: topic, Reopen: again}
	})
}

func TestCloseTwiceIsHarmless(t *testing.T) {
	log := openReady(t, fake(t).ListenAddrs(), nil)
	if err := log.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := log.Close(t.Context()); err != commitlog.ErrClosed {
		t.Fatalf("second Close: %v", err)
	}
}

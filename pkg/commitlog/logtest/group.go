package logtest

import (
	"context"
	"sync"
	"testing"
	"time"

	"tollgate/pkg/commitlog"
)

// member counts the Owns of a commitlog.Member.
type member struct {
	mu      sync.Mutex
	running map[int32]int // calls of Own that have not returned, by partition
	calls   map[int32]int
	changed chan struct{}
}

func newMember() *member {
	return &member{running: map[int32]int{}, calls: map[int32]int{}, changed: make(chan struct{}, 1)}
}

// own is an Own that stays until it must go.
func (m *member) own(ctx context.Context, c commitlog.Claim) {
	m.begin(c.Partition())
	defer m.end(c.Partition())
	<-ctx.Done()
}

func (m *member) begin(partition int32) { m.count(partition, 1) }
func (m *member) end(partition int32)   { m.count(partition, -1) }

func (m *member) count(partition int32, by int) {
	m.mu.Lock()
	m.running[partition] += by
	if by > 0 {
		m.calls[partition]++
	}
	m.mu.Unlock()
	select {
	case m.changed <- struct{}{}:
	default:
	}
}

func (m *member) until(t *testing.T, what string, true func() bool) {
	t.Helper()
	timeout := time.After(waitMax)
	for {
		m.mu.Lock()
		is := true()
		m.mu.Unlock()
		if is {
			return
		}
		select {
		case <-m.changed:
		case <-timeout:
			t.Fatalf("not after %v: %s", waitMax, what)
		}
	}
}

// run runs a group until stop is called, which returns what Run did.
func (o *Opened) run(t *testing.T, m commitlog.Member) (stop func() error) {
	ctx, cancel := context.WithCancel(t.Context())
	result := make(chan error, 1)
	go func() { result <- o.Log.Group(o.Topic, o.Topic+"-group").Run(ctx, m) }()
	return func() error {
		t.Helper()
		cancel()
		select {
		case err := <-result:
			return err
		case <-time.After(waitMax):
			t.Fatalf("Run did not return within %v of its context's end", waitMax)
			return nil
		}
	}
}

func testGroupOfOne(t *testing.T, o *Opened) {
	m := newMember()
	for range 2 { // the second time shows that the partitions were free again
		stop := o.run(t, commitlog.Member{Own: m.own, Held: func() map[int32]int64 { return map[int32]int64{1: 5} }})
		m.until(t, "each partition runs once", func() bool { return m.running[0] == 1 && m.running[1] == 1 })
		if err := stop(); err != nil {
			t.Errorf("Run: %v", err)
		}
		m.mu.Lock()
		if m.running[0] != 0 || m.running[1] != 0 {
			t.Errorf("Run returned while Own was running: %v", m.running)
		}
		m.mu.Unlock()
	}
}

func testOwnAgain(t *testing.T, o *Opened) {
	m := newMember()
	stop := o.run(t, commitlog.Member{Own: func(ctx context.Context, c commitlog.Claim) {
		m.begin(c.Partition())
		defer m.end(c.Partition())
		if c.Partition() == 0 {
			return // something went wrong
		}
		<-ctx.Done()
	}})
	m.until(t, "Own that returned is called again", func() bool { return m.calls[0] >= 3 })
	if err := stop(); err != nil {
		t.Errorf("Run: %v", err)
	}
	if n := m.calls[1]; n != 1 {
		t.Errorf("the partition that was well was begun %d times", n)
	}
}

func testGroupSlowOwn(t *testing.T, o *Opened) {
	m := newMember()
	slow := 300 * time.Millisecond
	stop := o.run(t, commitlog.Member{Own: func(ctx context.Context, c commitlog.Claim) {
		m.begin(c.Partition())
		defer m.end(c.Partition())
		<-ctx.Done()
		for i := range int64(10_000) {
			c.Commit(i) // also when it is no longer heard
		}
		time.Sleep(slow)
	}})
	m.until(t, "each partition runs", func() bool { return m.running[0] == 1 && m.running[1] == 1 })
	began := time.Now()
	if err := stop(); err != nil {
		t.Errorf("Run: %v", err)
	}
	if took := time.Since(began); took < slow {
		t.Errorf("Run returned after %v, while Own was running", took)
	}
}

func testGroupEnded(t *testing.T, o *Opened) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	m := commitlog.Member{Own: func(ctx context.Context, c commitlog.Claim) {
		if ctx.Err() == nil {
			t.Errorf("partition %d is run by a member that has ended", c.Partition())
		}
	}}
	if err := o.Log.Group(o.Topic, "ended").Run(ctx, m); err != nil {
		t.Errorf("Run with a context that has ended: %v", err)
	}
	if err := o.Log.Group("no-such-topic", "none").Run(t.Context(), m); err == nil {
		t.Error("Run on a topic that does not exist returned no error")
	}
}

func testGroupClosed(t *testing.T, o *Opened) {
	m := newMember()
	result := make(chan error, 1)
	go func() {
		result <- o.Log.Group(o.Topic, "closed").Run(t.Context(), commitlog.Member{Own: m.own})
	}()
	m.until(t, "each partition runs", func() bool { return m.running[0] == 1 && m.running[1] == 1 })
	closeLog(t, o.Log)
	select {
	case err := <-result:
		if err == nil {
			t.Error("Run ended with the log and returned no error")
		}
	case <-time.After(waitMax):
		t.Fatalf("Run did not end within %v of the log's", waitMax)
	}
}

package kafkalog_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"tollgate/pkg/commitlog"
	"tollgate/pkg/commitlog/kafkalog"
	kafkatest "tollgate/test/kafka"
)

// crowd is all members of a group. It sees to it that no partition ever has two owners.
type crowd struct {
	t          *testing.T
	brokers    []string
	topic      string
	partitions int

	mu      sync.Mutex
	owner   map[int32]string // who runs it now
	last    map[int32]string // who did so last
	changed time.Time
}

func newCrowd(t *testing.T, brokers []string, topic string, partitions int) *crowd {
	return &crowd{t: t, brokers: brokers, topic: topic, partitions: partitions, owner: map[int32]string{}, last: map[int32]string{}}
}

// groupMember is one of a crowd, with a log of its own.
type groupMember struct {
	crowd   *crowd
	name    string
	log     *kafkalog.Log
	notices notices
	held    map[int32]int64
	linger  atomic.Int64 // nanoseconds that Own takes to return
	cancel  context.CancelFunc
	result  chan error
}

// join starts a member. change may be nil.
func (c *crowd) join(name string, change func(*groupMember, *kafkalog.Config)) *groupMember {
	c.t.Helper()
	m := &groupMember{crowd: c, name: name, held: map[int32]int64{}, result: make(chan error, 1)}
	m.log = openReady(c.t, c.brokers, func(config *kafkalog.Config) {
		config.ClientID = name
		config.Topics = []kafkalog.TopicConfig{{Name: c.topic, Partitions: c.partitions}}
		config.Notify = m.notices.take
		if change != nil {
			change(m, config)
		}
	})
	var ctx context.Context
	ctx, m.cancel = context.WithCancel(c.t.Context())
	go func() {
		m.result <- m.log.Group(c.topic, c.topic+"-workers").Run(ctx, commitlog.Member{
			Held: func() map[int32]int64 { return m.held },
			Own:  m.own,
		})
	}()
	return m
}

func (m *groupMember) own(ctx context.Context, claim commitlog.Claim) {
	c, p := m.crowd, claim.Partition()
	c.mu.Lock()
	if other := c.owner[p]; other != "" {
		c.t.Errorf("%s is given partition %d while %s runs it", m.name, p, other)
	}
	c.owner[p], c.changed = m.name, time.Now()
	c.mu.Unlock()
	claim.Commit(int64(p) + 1)
	<-ctx.Done()
	time.Sleep(time.Duration(m.linger.Load()))
	claim.Commit(int64(p) + 100)
	c.mu.Lock()
	delete(c.owner, p)
	c.last[p], c.changed = m.name, time.Now()
	c.mu.Unlock()
}

// leave ends the member, and checks that it ended well.
func (m *groupMember) leave() {
	m.crowd.t.Helper()
	m.cancel()
	if err := <-m.result; err != nil {
		m.crowd.t.Errorf("%s: Run: %v", m.name, err)
	}
	m.crowd.mu.Lock()
	defer m.crowd.mu.Unlock()
	for p, who := range m.crowd.owner {
		if who == m.name {
			m.crowd.t.Errorf("%s has returned from Run and runs partition %d", m.name, p)
		}
	}
}

// shares counts the partitions of each owner.
func (c *crowd) shares() map[string]int {
	c.mu.Lock()
	defer c.mu.Unlock()
	shares := map[string]int{}
	for _, who := range c.owner {
		shares[who]++
	}
	return shares
}

// settle waits until these members, and no others, run so many partitions each.
func (c *crowd) settle(want map[string]int) {
	c.t.Helper()
	until(c.t, func() bool { return maps.Equal(c.shares(), want) },
		func() string { return fmt.Sprintf("the partitions are shared %v, want %v", c.shares(), want) })
}

func (c *crowd) owned(by string) (numbers []int32) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for p, who := range c.owner {
		if who == by {
			numbers = append(numbers, p)
		}
	}
	slices.Sort(numbers)
	return numbers
}

// comeAndGo is a group whose members join, leave and come back with state.
func comeAndGo(t *testing.T, brokers []string) {
	c := newCrowd(t, brokers, "come-and-go", 7)
	a := c.join("a", nil)
	c.settle(map[string]int{"a": 7})

	// b holds something of four partitions, a more of all: b gets three of its four.
	b := c.join("b", func(m *groupMember, _ *kafkalog.Config) {
		a.held = map[int32]int64{0: 900, 1: 900, 2: 900, 3: 900, 4: 900, 5: 900, 6: 900}
		m.held = map[int32]int64{1: 500, 3: 500, 5: 500, 6: 10}
	})
	c.settle(map[string]int{"a": 4, "b": 3})
	if got := c.owned("b"); !slices.Equal(got, []int32{1, 3, 5}) {
		t.Errorf("b holds state of 1, 3, 5 and a little of 6, and runs %v", got)
	}
	b.leave()
	c.settle(map[string]int{"a": 7})
	b = c.join("b", func(m *groupMember, _ *kafkalog.Config) { m.held = b.held })
	c.settle(map[string]int{"a": 4, "b": 3})
	if got := c.owned("b"); !slices.Equal(got, []int32{1, 3, 5}) {
		t.Errorf("b is back and runs %v", got)
	}
	d := c.join("d", nil)
	until(t, func() bool { return len(c.owned("d")) >= 2 && len(c.shares()) == 3 }, func() string { return fmt.Sprint(c.shares()) })
	a.leave()
	until(t, func() bool { s := c.shares(); return len(s) == 2 && s["b"]+s["d"] == 7 }, func() string { return fmt.Sprint(c.shares()) })
	if s := c.shares(); max(s["b"], s["d"]) != 4 {
		t.Errorf("shared %v", s)
	}
	b.leave()
	d.leave()

	// What was committed last is what Kafka's tools see.
	client := &kafka.Client{Addr: kafka.TCP(brokers...), Timeout: waitMax}
	numbers := []int{0, 1, 2, 3, 4, 5, 6}
	got, err := client.OffsetFetch(t.Context(), &kafka.OffsetFetchRequest{GroupID: c.topic + "-workers", Topics: map[string][]int{c.topic: numbers}})
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range got.Topics[c.topic] {
		if want := int64(p.Partition) + 100; p.CommittedOffset != want {
			t.Errorf("partition %d is committed up to %d, want %d: what Own said last", p.Partition, p.CommittedOffset, want)
		}
	}
}

func TestMembersComeAndGoOnFake(t *testing.T) { comeAndGo(t, fake(t).ListenAddrs()) }

func TestMembersUnderChurnNeverShareAPartition(t *testing.T) {
	const partitions = 9
	c := newCrowd(t, fake(t).ListenAddrs(), "churn", partitions)
	dice := rand.New(rand.NewPCG(3, 3))
	members := map[string]*groupMember{}
	for i := range 24 {
		name := fmt.Sprint("m", i)
		members[name] = c.join(name, func(m *groupMember, _ *kafkalog.Config) {
			m.linger.Store(int64(dice.IntN(30)) * int64(time.Millisecond))
			for p := range int32(partitions) {
				m.held[p] = int64(dice.IntN(1000))
			}
		})
		time.Sleep(time.Duration(dice.IntN(400)) * time.Millisecond)
		for len(members) > 1+dice.IntN(4) {
			gone := slices.Sorted(maps.Keys(members))[dice.IntN(len(members))]
			members[gone].leave()
			delete(members, gone)
		}
	}
	until(t, func() bool {
		shares, sum := c.shares(), 0
		for name := range members {
			n := shares[name]
			sum += n
			if n < partitions/len(members) || n > partitions/len(members)+1 {
				return false
			}
		}
		return sum == partitions
	}, func() string { return fmt.Sprint(len(members), " members share ", c.shares()) })
	for _, m := range members {
		m.leave()
	}
}

// A member that can not be heard does not know what the others do, so it must be done before they begin.
func TestAMemberThatIsCutOffEndsItsWorkBeforeOthersBegin(t *testing.T) {
	t.Parallel()
	cutOff(t, fake(t).ListenAddrs())
}

func cutOff(t *testing.T, brokers []string) {
	c := newCrowd(t, brokers, "cut-off", 4)
	w := newWire()
	a := c.join("a", func(_ *groupMember, config *kafkalog.Config) { config.Dial = w.dial })
	b := c.join("b", func(m *groupMember, _ *kafkalog.Config) { m.held = map[int32]int64{0: 1, 1: 1} })
	c.settle(map[string]int{"a": 2, "b": 2})
	w.silence()
	c.settle(map[string]int{"b": 2}) // a has stopped by itself
	c.settle(map[string]int{"b": 4})
	until(t, func() bool { return len(a.notices.texts(kafkalog.NoticeGroupLost)) > 0 },
		func() string { return "nobody was told that a lost its membership" })
	w.speak()
	c.settle(map[string]int{"a": 2, "b": 2})
	if got := c.owned("b"); !slices.Equal(got, []int32{0, 1}) {
		t.Errorf("b holds state of 0 and 1 and runs %v", got)
	}
	a.leave()
	b.leave()
}

// slowOwn is a hand-over that takes longer than the session: the member goes on being heard while its Owns return.
func slowOwn(t *testing.T, brokers []string) {
	c := newCrowd(t, brokers, "slow-own", 2)
	a := c.join("a", func(m *groupMember, _ *kafkalog.Config) { m.linger.Store(int64(13 * time.Second)) })
	c.settle(map[string]int{"a": 2})
	before := len(a.notices.texts(kafkalog.NoticeGroupLost)) // a young cluster has no coordinator at once
	b := c.join("b", nil)
	c.settle(map[string]int{"a": 1, "b": 1})
	if told := a.notices.texts(kafkalog.NoticeGroupLost)[before:]; len(told) != 0 {
		t.Errorf("a took its time, and lost its membership: %q", told)
	}
	a.linger.Store(0)
	b.leave()
	a.leave()
}

func TestAHandOverMayTakeLongerThanTheSession(t *testing.T) {
	t.Parallel()
	slowOwn(t, fake(t).ListenAddrs())
}

func TestAGroupThatWeMayNotUseIsHopeless(t *testing.T) {
	for _, key := range []kmsg.Key{kmsg.FindCoordinator, kmsg.JoinGroup, kmsg.Heartbeat} {
		t.Run(key.Name(), func(t *testing.T) {
			cluster := fake(t)
			answerWith(cluster, key, 1, 30)
			m := newCrowd(t, cluster.ListenAddrs(), "secret", 1).join("a", nil)
			select {
			case err := <-m.result:
				for _, word := range []string{"secret-workers", "READ", "GROUP_AUTHORIZATION_FAILED"} {
					if err == nil || !strings.Contains(err.Error(), word) {
						t.Errorf("Run: %v; it should name %s", err, word)
					}
				}
			case <-time.After(waitMax):
				t.Fatal("Run goes on")
			}
		})
	}
}

// answerWith lets a cluster answer so many requests of a kind with an error code.
func answerWith(cluster *kfake.Cluster, key kmsg.Key, times int, code int16) {
	cluster.ControlKey(key.Int16(), func(request kmsg.Request) (kmsg.Response, error, bool) {
		if times == 0 {
			return nil, nil, false
		}
		if times--; times > 0 {
			cluster.KeepControl()
		}
		response := request.ResponseKind()
		switch r := response.(type) {
		case *kmsg.HeartbeatResponse:
			r.ErrorCode = code
		case *kmsg.JoinGroupResponse:
			r.ErrorCode = code
		case *kmsg.SyncGroupResponse:
			r.ErrorCode = code
		case *kmsg.FindCoordinatorResponse:
			r.ErrorCode = code
		}
		return response, nil, true
	})
}

func TestATroubledCoordinatorIsAskedAgain(t *testing.T) {
	cluster := fake(t)
	answerWith(cluster, kmsg.FindCoordinator, 2, 15)
	answerWith(cluster, kmsg.JoinGroup, 2, 14)
	answerWith(cluster, kmsg.SyncGroup, 1, 27)
	c := newCrowd(t, cluster.ListenAddrs(), "troubled", 3)
	a := c.join("a", nil)
	c.settle(map[string]int{"a": 3})
	began := c.changed

	// The coordinator moves, and is not found at once: nobody needs to stop for that.
	answerWith(cluster, kmsg.Heartbeat, 2, 16)
	answerWith(cluster, kmsg.FindCoordinator, 1, 15)
	time.Sleep(4500 * time.Millisecond)
	if c.mu.Lock(); c.changed != began {
		t.Error("a coordinator that moved made the member stop")
	}
	c.mu.Unlock()

	// One that does not know us is another matter.
	before := len(a.notices.texts(kafkalog.NoticeGroupJoined))
	answerWith(cluster, kmsg.Heartbeat, 1, 22)
	until(t, func() bool { return len(a.notices.texts(kafkalog.NoticeGroupJoined)) > before },
		func() string { return "not joined again after ILLEGAL_GENERATION" })
	c.settle(map[string]int{"a": 3})
	a.leave()
}

func TestAPartitionAddedLaterIsRunByMembersThatKnowIt(t *testing.T) {
	cluster := fake(t)
	c := newCrowd(t, cluster.ListenAddrs(), "grown", 2)
	old := c.join("old", nil)
	c.settle(map[string]int{"old": 2})
	client := &kafka.Client{Addr: kafka.TCP(cluster.ListenAddrs()...), Timeout: waitMax}
	if _, err := client.CreatePartitions(t.Context(), &kafka.CreatePartitionsRequest{
		Topics: []kafka.TopicPartitionsConfig{{Name: "grown", Count: 4}},
	}); err != nil {
		t.Fatal(err)
	}
	young := c.join("young", func(m *groupMember, _ *kafkalog.Config) { m.held = map[int32]int64{0: 9, 1: 9} })
	c.settle(map[string]int{"old": 2, "young": 2})
	if got := c.owned("young"); !slices.Equal(got, []int32{2, 3}) {
		t.Errorf("the one that knows 2 and 3 runs %v", got)
	}
	young.leave()
	c.settle(map[string]int{"old": 2}) // and the others wait for somebody who knows them
	until(t, func() bool { return len(old.notices.texts(kafkalog.NoticeTopicDiffers)) > 0 }, func() string { return "nobody was told" })
	old.leave()
}

func TestAGroupWaitsForItsBrokerAndEndsWhileItWaits(t *testing.T) {
	log := open(t, []string{"127.0.0.1:1"}, nil)
	ctx, cancel := context.WithCancel(t.Context())
	result := make(chan error, 1)
	go func() { result <- log.Group(usage, "waiting").Run(ctx, commitlog.Member{}) }()
	time.Sleep(300 * time.Millisecond)
	select {
	case err := <-result:
		t.Fatalf("Run: %v", err)
	default:
	}
	cancel()
	if err := <-result; err != nil && !errors.Is(err, context.Canceled) {
		t.Errorf("Run: %v", err)
	}
}

// The same on a real broker, beside each other on one; then the broker is killed.
func TestGroupsOnKafka(t *testing.T) {
	cluster := kafkatest.Start(t, kafkatest.Options{})
	t.Run("side by side", func(t *testing.T) {
		for name, f := range map[string]func(*testing.T, []string){"come and go": comeAndGo, "cut off": cutOff, "slow": slowOwn} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				f(t, cluster.Brokers)
			})
		}
	})
	c := newCrowd(t, cluster.Brokers, "killed", 4)
	a, b := c.join("a", nil), c.join("b", nil)
	c.settle(map[string]int{"a": 2, "b": 2})
	cluster.Kill9(1)
	c.settle(map[string]int{})
	cluster.Start(1)
	c.settle(map[string]int{"a": 2, "b": 2})
	described := cluster.CLI("org.apache.kafka.tools.consumer.group.ConsumerGroupCommand", "--bootstrap-server", cluster.Brokers[0], "--describe", "--group", "killed-workers")
	if strings.Count(described, "killed-workers") != 4 {
		t.Errorf("Kafka's tool shows:\n%s", described)
	}
	b.leave()
	c.settle(map[string]int{"a": 4})
	a.leave()
}

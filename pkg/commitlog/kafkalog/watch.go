package kafkalog

import (
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"time"

	"github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/protocol/metadata"
)

const (
	// watchPauseMin is the least time between two questions for leaders.
	watchPauseMin = 50 * time.Millisecond
	// watchPauseMax is the most when nobody answers, or partitions are stalled.
	watchPauseMax = time.Second
	// electionPause is how often leaders are asked for while a partition has none.
	electionPause = 200 * time.Millisecond
	// askedMax is how often in a row a broker is asked, for leaders or for a topic that is being made, before something
	// else is tried.
	askedMax = 10
)

// control is watch's connection, to any broker. Only watch uses it.
type control struct {
	log  *Log
	conn *conn
	next int // counts connections: the next one goes to the next address
	// asked counts questions in a row that somebody urged.
	asked int
	// told are the differences and risks of topics that a Notice has told.
	told []Notice
	// risks are those that the settings read last show, not told yet.
	risks []Notice
}

// watch keeps the log's picture of the cluster true: topics made and checked once, leaders asked for again and again.
func (l *Log) watch() {
	c := &control{log: l}
	defer func() { c.conn.close() }()
	pause := watchPauseMin
	for l.ctx.Err() == nil {
		err := c.look()
		if err == nil {
			pause = watchPauseMin
		} else {
			// Another broker may be alive, or know better.
			c.conn.close()
			c.conn = nil
			pause = min(2*pause, watchPauseMax)
		}
		wait, sleepFirst := l.watchHeard(err, pause)
		if sleepFirst {
			l.sleep(wait)
			continue
		}
		select {
		case <-l.ctx.Done():
		case <-l.wakeWatch:
			l.sleep(watchPauseMin)
			c.doubtIt()
		case <-time.After(wait):
			c.asked = 0
		}
	}
}

// doubtIt counts how often leaders are asked for because something is wrong, and goes to another broker when this one does
// not help: it may be cut off from the others and not know it.
func (c *control) doubtIt() {
	if c.asked++; c.asked > askedMax {
		c.asked = 0
		c.conn.close()
		c.conn = nil
	}
}

func (l *Log) sleep(d time.Duration) {
	select {
	case <-l.ctx.Done():
	case <-time.After(d):
	}
}

// watchHeard notes how it went and says how long to wait; asleep means not even a wish to look again shortens it.
func (l *Log) watchHeard(err error, pause time.Duration) (wait time.Duration, asleep bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	if err != nil {
		if l.watchErr == nil {
			l.watchFailing = now
		}
		if !l.configured && !l.toldAway {
			l.toldAway = true
			l.outbox.notice(Notice{Kind: NoticeUnready, Text: fmt.Sprintf("Kafka can not be used yet, trying on: %v", err)})
			l.outboxWork.Signal()
		}
		l.watchErr = err
		l.review(now)
		return pause, true
	}
	l.watchErr, l.watched = nil, now
	l.review(now)
	wait = l.config.MetadataInterval
	for _, t := range l.topics {
		for _, p := range t.all() {
			if p.leader < 0 && t.config.Foreign {
				wait = min(wait, watchPauseMax)
				continue
			}
			if p.leader < 0 {
				return electionPause, false
			}
			if p.stalled != nil {
				wait = min(wait, watchPauseMax)
			}
		}
	}
	return wait, false
}

// lookForLeaders makes watch ask soon. Any lock may be held.
func (l *Log) lookForLeaders() {
	select {
	case l.wakeWatch <- struct{}{}:
	default:
	}
}

// look is one turn of watch.
func (c *control) look() error {
	if err := c.connect(); err != nil {
		return err
	}
	picture, err := c.metadata(c.log.topicNames())
	if err != nil {
		return err
	}
	c.log.mu.Lock()
	configured := c.log.configured
	c.log.mu.Unlock()
	if !configured {
		if err := c.makeMissing(picture); err != nil {
			return err
		}
		if picture, err = c.learn(); err != nil {
			return err
		}
	} else if err := c.makeForeign(picture); err != nil {
		return err
	}
	c.log.install(picture)
	c.noteGrown(picture)
	if c.log.shortOfReplicas() {
		// The remedy may be another min.insync.replicas, of which nobody would tell us.
		if err := c.readSettings(picture); err != nil && !errors.Is(err, errBeingMade) {
			return err
		}
	}
	return c.log.probe()
}

// shortOfReplicas tells whether a partition is stalled that has fewer replicas in sync than it needs, as far as we know.
func (l *Log) shortOfReplicas() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, t := range l.topics {
		if slices.ContainsFunc(t.all(), func(p *partition) bool { return p.stalled != nil && p.short() }) {
			return true
		}
	}
	return false
}

func (c *control) connect() error {
	if c.conn != nil {
		return nil
	}
	addresses := c.log.addresses()
	address := addresses[c.next%len(addresses)]
	c.next++
	var err error
	c.conn, err = c.log.dialer.connect(c.log.ctx, address)
	return err
}

// addresses are those of the configuration, and then all that the cluster named.
func (l *Log) addresses() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	addresses := slices.Clone(l.config.Brokers)
	var learned []string
	for _, k := range l.brokers {
		if !slices.Contains(addresses, k.address) {
			learned = append(learned, k.address)
		}
	}
	slices.Sort(learned)
	return append(addresses, learned...)
}

func (l *Log) topicNames() []string {
	var names []string
	for _, t := range l.config.Topics {
		names = append(names, t.Name)
	}
	return names
}

// ask is a round trip of watch's. It is bounded by the dial timeout: these are small questions, and a broker that is slow
// to answer them is a reason to ask another.
func (c *control) ask(request protocol.Message) (protocol.Message, error) {
	return c.log.ask(c.log.ctx, c.conn, request, c.log.config.DialTimeout)
}

func (c *control) metadata(topics []string) (*metadata.Response, error) {
	answer, err := c.ask(&metadata.Request{TopicNames: topics})
	if c.log.dialer.mechanism == nil && (errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)) {
		return nil, fmt.Errorf("the broker closed the connection at the first question; does the listener expect SASL? (%w)", err)
	}
	if err != nil {
		return nil, fmt.Errorf("asking for leaders: %w", err)
	}
	return answer.(*metadata.Response), nil
}

// learn reads what the topics are like, settings and partitions. Topics that were just made are not known everywhere at
// once, so it asks several times.
func (c *control) learn() (picture *metadata.Response, err error) {
	if err := c.mayProduce(); err != nil {
		return nil, err
	}
	for range askedMax {
		if picture, err = c.metadata(c.log.topicNames()); err != nil {
			return nil, err
		}
		if err = c.readSettings(picture); err == nil {
			err = c.log.adopt(picture)
		}
		if !errors.Is(err, errBeingMade) {
			break
		}
		c.log.sleep(watchPauseMin)
	}
	return picture, err
}

var errBeingMade = errors.New("the topic is being made")

// adopt fixes the partitions of all topics of ours, once. It fails while one is not there yet.
func (l *Log) adopt(picture *metadata.Response) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range picture.Topics {
		seen := &picture.Topics[i]
		if t := l.topics[seen.Name]; t == nil || t.config.Foreign {
			continue // install has it once it is there
		}
		if err := whole(seen); err != nil {
			return err
		}
	}
	for i := range picture.Topics {
		seen := &picture.Topics[i]
		if t := l.topics[seen.Name]; t != nil && !t.config.Foreign {
			t.fix(len(seen.Partitions))
		}
	}
	l.configured, l.answered = true, time.Now()
	return nil
}

// install takes over brokers and leaders, and offers what waited for one.
func (l *Log) install(picture *metadata.Response) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, b := range picture.Brokers {
		address := joinAddress(b.Host, b.Port)
		k := l.brokers[b.NodeID]
		if k == nil {
			k = l.addBroker(b.NodeID, address)
		}
		if k.address != address {
			k.address = address
			k.generation++
		}
	}
	for i := range picture.Topics {
		seen := &picture.Topics[i]
		t := l.topics[seen.Name]
		if t == nil || seen.ErrorCode != 0 {
			continue // as before: a broker that has just come back may not know its topics yet
		}
		if t.all() == nil && t.config.Foreign && whole(seen) == nil {
			t.fix(len(seen.Partitions))
		}
		all := t.all()
		for _, s := range seen.Partitions {
			if int(s.PartitionIndex) < len(all) {
				p := all[s.PartitionIndex]
				p.replicas, p.inSync = len(s.ReplicaNodes), len(s.IsrNodes)
				l.lead(p, s.LeaderID)
			}
		}
		for _, p := range all[min(len(seen.Partitions), len(all)):] {
			l.lead(p, -1) // the topic was made again, with fewer partitions
		}
	}
}

// lead notes who leads a partition. Log.mu is held.
func (l *Log) lead(p *partition, leader int32) {
	if p.leader != leader {
		if k := l.brokers[p.leader]; k != nil && p.listed {
			k.list = slices.DeleteFunc(k.list, func(q *partition) bool { return q == p })
			p.listed = false
		}
		if p.flying != nil && leader >= 0 {
			// The old leader may be silent for as long as the request's timeout. The batch is in doubt then and goes to
			// the new leader, which knows its sequence if it was replicated.
			p.flying.conn.close()
		}
		p.leader = leader
	}
	l.offer(p)
}

func joinAddress(host string, port int32) string {
	return net.JoinHostPort(host, strconv.Itoa(int(port)))
}

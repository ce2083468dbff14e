package kafkalog

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/protocol/consumer"
	"github.com/segmentio/kafka-go/protocol/findcoordinator"
	"github.com/segmentio/kafka-go/protocol/heartbeat"
	"github.com/segmentio/kafka-go/protocol/joingroup"
	"github.com/segmentio/kafka-go/protocol/leavegroup"
	"github.com/segmentio/kafka-go/protocol/offsetcommit"
	"github.com/segmentio/kafka-go/protocol/syncgroup"
)

// What a membership says to the group's coordinator, and what the answers mean.

const (
	protocolType = "consumer" // so that Kafka's own tools can show the group
	protocolName = "tollgate-held"
)

// The answers that a member acts on.
const (
	codeNotCoordinator    = 16
	codeIllegalGeneration = 22
	codeUnknownMember     = 25
	codeRebalance         = 27
	codeMemberIDRequired  = 79
)

// groupVersionMax are the newest versions of which kafka-go knows the right layout. Later ones of JoinGroup and SyncGroup
// have strings of another kind than it writes; in an answer to Heartbeat or LeaveGroup from version 1 on it takes the
// throttle time for the error code, so that no member would ever hear of a rebalance.
var groupVersionMax = map[protocol.ApiKey]int16{
	protocol.JoinGroup:  5,
	protocol.SyncGroup:  3,
	protocol.Heartbeat:  0,
	protocol.LeaveGroup: 0,
}

// groupErrors names answers that no produce request gets.
var groupErrors = map[int16]rule{
	12:                    {name: "OFFSET_METADATA_TOO_LARGE", reason: "the broker takes no offsets with so much beside them"},
	codeIllegalGeneration: {name: "ILLEGAL_GENERATION", reason: "the group went on without this member"},
	23:                    {name: "INCONSISTENT_GROUP_PROTOCOL", reason: "the group has members of another kind: another program uses its name"},
	24:                    {name: "INVALID_GROUP_ID", reason: "not a name for a group"},
	codeUnknownMember:     {name: "UNKNOWN_MEMBER_ID", reason: "this member was not heard of for too long, or took too long to hand over"},
	26:                    {name: "INVALID_SESSION_TIMEOUT", reason: fmt.Sprintf("the broker does not take %v: see group.min.session.timeout.ms and group.max.session.timeout.ms", sessionTimeout)},
	codeRebalance:         {name: "REBALANCE_IN_PROGRESS", reason: "members come or go"},
	28:                    {name: "INVALID_COMMIT_OFFSET_SIZE", reason: "the broker takes no offsets with so much beside them"},
	30:                    {name: "GROUP_AUTHORIZATION_FAILED", reason: "we may not use the group: grant READ on it to our user"},
	codeMemberIDRequired:  {name: "MEMBER_ID_REQUIRED", reason: "join again with the id that was given"},
	81:                    {name: "GROUP_MAX_SIZE_REACHED", reason: "the broker takes no more members (group.max.size)"},
}

// hopelessFor tells whether a person has to act before the same request can succeed.
func hopelessFor(code int16) bool {
	return slices.Contains([]int16{23, 24, 26, 30, 35, 42}, code)
}

// hopelessError ends Run.
type hopelessError struct{ error }

func (e *hopelessError) Unwrap() error { return e.error }

// explain says what an answer means, and forgets what it makes void.
func (s *membership) explain(code int16) error {
	if code == 0 {
		return nil
	}
	switch code {
	case codeUnknownMember:
		s.id = ""
	case codeNotCoordinator:
		s.hangUp()
	}
	err := fmt.Errorf("kafka: group %s: %w", s.group, describe(code, ""))
	if hopelessFor(code) {
		return &hopelessError{err}
	}
	return err
}

func (s *membership) hangUp() {
	s.conn.close()
	s.conn = nil
}

// ask is a round trip to the coordinator. After an error it is looked for again.
func (s *membership) ask(ctx context.Context, request protocol.Message, timeout time.Duration) (protocol.Message, error) {
	if err := s.find(ctx); err != nil {
		return nil, err
	}
	answer, err := s.log.ask(ctx, s.conn, request, timeout)
	if err != nil {
		s.hangUp()
	}
	return answer, err
}

// find makes sure that there is a connection to the coordinator.
func (s *membership) find(ctx context.Context) error {
	if s.conn != nil && (s.conn.expires.IsZero() || time.Now().Before(s.conn.expires)) {
		return nil
	}
	s.hangUp()
	addresses := s.log.addresses()
	address := addresses[s.next%len(addresses)]
	s.next++
	c, err := s.log.dialer.connect(ctx, address)
	if err != nil {
		return err
	}
	answer, err := s.log.ask(ctx, c, &findcoordinator.Request{Key: s.group}, s.log.config.DialTimeout)
	if err != nil {
		c.close()
		return err
	}
	found := answer.(*findcoordinator.Response)
	if found.ErrorCode != 0 {
		c.close()
		return s.explain(found.ErrorCode)
	}
	if at := joinAddress(found.Host, found.Port); at != c.address {
		c.close()
		if c, err = s.log.dialer.connect(ctx, at); err != nil {
			return err
		}
	}
	s.conn = c
	return nil
}

// join enters the group's next generation and returns this member's share. Nothing must be running. The time is when the
// coordinator's clock for this member can have begun.
func (s *membership) join(ctx context.Context) (numbers []int32, since time.Time, err error) {
	all := s.topic.all()
	if all == nil {
		return nil, since, fmt.Errorf("kafka: group %s: the partitions of %s are not known yet", s.group, s.topic.config.Name)
	}
	subscription, err := protocol.Marshal(0, consumer.Subscription{
		Topics: []string{s.topic.config.Name}, UserData: encodeHeld(len(all), s.held()),
	})
	if err != nil {
		return nil, since, err
	}
	request := &joingroup.Request{
		GroupID: s.group, ProtocolType: protocolType,
		SessionTimeoutMS: int32(sessionTimeout.Milliseconds()), RebalanceTimeoutMS: int32(rebalanceTimeout.Milliseconds()),
		Protocols: []joingroup.RequestProtocol{{Name: protocolName, Metadata: subscription}},
	}
	var joined *joingroup.Response
	for {
		request.MemberID = s.id
		answer, err := s.ask(ctx, request, rebalanceTimeout+s.log.config.RequestTimeout)
		if err != nil {
			return nil, since, err
		}
		joined = answer.(*joingroup.Response)
		if joined.ErrorCode != codeMemberIDRequired || s.id != "" {
			break
		}
		s.id = joined.MemberID // so that a member whose first answer is lost does not stay in the group as a stranger
	}
	if joined.ErrorCode != 0 {
		return nil, since, s.explain(joined.ErrorCode)
	}
	s.id, s.generation = joined.MemberID, joined.GenerationID
	sync := &syncgroup.Request{GroupID: s.group, GenerationID: s.generation, MemberID: s.id}
	if joined.LeaderID == s.id {
		if sync.Assignments, err = s.shareOut(joined.Members, len(all)); err != nil {
			return nil, since, err
		}
	}
	since = time.Now()
	answer, err := s.ask(ctx, sync, sessionTimeout)
	if err != nil {
		return nil, since, err
	}
	synced := answer.(*syncgroup.Response)
	if synced.ErrorCode != 0 {
		return nil, since, s.explain(synced.ErrorCode)
	}
	var given consumer.Assignment
	if err := protocol.Unmarshal(synced.Assignments, 0, &given); err != nil {
		return nil, since, fmt.Errorf("kafka: group %s: an assignment that can not be read: %w", s.group, err)
	}
	for _, t := range given.AssignedPartitions {
		if t.Topic == s.topic.config.Name {
			numbers = append(numbers, s.mine(t.Partitions)...)
		}
	}
	return numbers, since, nil
}

// shareOut is the leader's: it decides who runs what.
func (s *membership) shareOut(members []joingroup.ResponseMember, known int) ([]syncgroup.RequestAssignment, error) {
	topic := s.topic.config.Name
	var candidates []candidate
	for _, m := range members {
		var sub consumer.Subscription
		if err := protocol.Unmarshal(m.Metadata, 0, &sub); err != nil || !slices.Contains(sub.Topics, topic) {
			continue // a group's name with two topics: each leader shares out its own
		}
		c := candidate{id: m.MemberID, partitions: known}
		if partitions, held, err := decodeHeld(sub.UserData); err == nil {
			c.partitions, c.held = partitions, held
		}
		candidates = append(candidates, c)
	}
	var shares []syncgroup.RequestAssignment
	for id, numbers := range share(candidates) {
		b, err := protocol.Marshal(0, consumer.Assignment{AssignedPartitions: []consumer.TopicPartition{{Topic: topic, Partitions: numbers}}})
		if err != nil {
			return nil, err
		}
		shares = append(shares, syncgroup.RequestAssignment{MemberID: id, Assignment: b})
	}
	return shares, nil
}

// beat is one heartbeat. It does not end with Run's context: Owns that are on their way out are heard of too.
func (s *membership) beat() (code int16, err error) {
	answer, err := s.ask(s.log.ctx, &heartbeat.Request{GroupID: s.group, GenerationID: s.generation, MemberID: s.id}, heartbeatTimeout)
	if err != nil {
		return 0, err
	}
	code = answer.(*heartbeat.Response).ErrorCode
	if code == codeNotCoordinator {
		s.hangUp()
	}
	return code, nil
}

// commit tells the coordinator what the claims have committed since the last time. What it can not take is tried again
// with the next one.
func (s *membership) commit(w *work) {
	var offsets []offsetcommit.RequestPartition
	for _, c := range w.claims {
		if next := c.next.Load(); next != c.committed {
			offsets = append(offsets, offsetcommit.RequestPartition{PartitionIndex: c.number, CommittedOffset: next, CommittedLeaderEpoch: -1})
		}
	}
	if len(offsets) == 0 {
		return
	}
	answer, err := s.ask(s.log.ctx, &offsetcommit.Request{
		GroupID: s.group, GenerationID: s.generation, MemberID: s.id, RetentionTimeMs: -1,
		Topics: []offsetcommit.RequestTopic{{Name: s.topic.config.Name, Partitions: offsets}},
	}, heartbeatTimeout)
	if err != nil {
		return
	}
	taken := map[int32]bool{}
	for _, t := range answer.(*offsetcommit.Response).Topics {
		for _, p := range t.Partitions {
			taken[p.PartitionIndex] = p.ErrorCode == 0
		}
	}
	for _, o := range offsets {
		if taken[o.PartitionIndex] {
			w.claim(o.PartitionIndex).committed = o.CommittedOffset
		}
	}
}

// leave tells the coordinator that the member's partitions are free, so that nobody waits for the session to end. The
// log may be closed already.
func (s *membership) leave() {
	defer s.hangUp()
	if s.id == "" {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), leaveMax)
	defer cancel()
	_, _ = s.ask(ctx, &leavegroup.Request{GroupID: s.group, MemberID: s.id}, leaveMax) // the session ends by itself otherwise
}

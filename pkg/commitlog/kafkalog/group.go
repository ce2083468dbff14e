package kafkalog

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"tollgate/pkg/commitlog"
)

// How a group keeps its promise that a partition has one owner at a time.
//
//	member                                   coordinator, a broker
//	join(state held) ───────────────────────▶ waits for all members, names one the leader
//	leader only: share out                 ◀─ every member's state
//	sync(shares) ───────────────────────────▶
//	Own, a partition each                  ◀─ this member's share
//	heartbeat, every second ────────────────▶ "go on", or "somebody joins or leaves":
//	  end every Own's context, beat on until the last one has returned, commit, join again
//
// Nobody gets a share before all have joined again, and no member joins before its Owns have returned. A member that
// stays away is given rebalanceTimeout if it beats, and sessionTimeout if it does not; then its partitions go to others
// without it. So a member that is not heard ends its Owns by itself, leaseMax after the last heartbeat that was answered,
// and they have the difference, four seconds, to return.
//
// We speak the protocol ourselves, over kafka-go's messages and our connections, and do not use its ConsumerGroup: that
// one stops its heartbeats before it waits for what it runs, so that whoever needs more than the session timeout to
// return has lost its partitions to another one while it still works on them (docs/adr/0020-groups-are-ours.md).
const (
	sessionTimeout   = 10 * time.Second
	leaseMax         = 6 * time.Second
	rebalanceTimeout = 30 * time.Second
	heartbeatEvery   = time.Second // offsets are committed as often, when there are new ones
	heartbeatTimeout = 3 * time.Second
	leaveMax         = 2 * time.Second
	tellEvery        = 30 * time.Second // that a member is still lost, when the reason changes
)

// group implements commitlog.Group.
type group struct {
	log         *Log
	topic, name string
}

// Group implements commitlog.Log.
//
// The topic's partitions are those of the log, whose number is fixed when it is opened: a partition added since has no
// owner until a member was started again, and is then given to members that know it.
func (l *Log) Group(topic, name string) commitlog.Group { return &group{l, topic, name} }

// Run implements commitlog.Group.
func (g *group) Run(ctx context.Context, m commitlog.Member) error {
	t := g.log.topics[g.topic]
	if t == nil {
		return fmt.Errorf("kafka: topic %q is not configured", g.topic)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(g.log.ctx, cancel)()
	s := &membership{log: g.log, topic: t, group: g.name, member: m}
	err := s.run(ctx)
	s.leave()
	if err == nil && g.log.ctx.Err() != nil {
		err = commitlog.ErrClosed
	}
	return err
}

// membership is one Run: a member of a group, from generation to generation. It belongs to Run's goroutine.
type membership struct {
	log    *Log
	topic  *topic
	group  string
	member commitlog.Member

	conn       *conn  // to the coordinator; nil: it has to be found
	next       int    // counts the brokers asked for the coordinator
	id         string // given by the coordinator; empty: not known to it
	generation int32
	told       string // the last trouble that a Notice has told, empty when all is well
	toldAt     time.Time
}

// run joins and serves until ctx ends; the error is one that no further attempt will mend.
func (s *membership) run(ctx context.Context) error {
	pause := backoffMin
	for ctx.Err() == nil {
		err := s.term(ctx)
		switch {
		case err == nil:
			pause = backoffMin
			continue
		case ctx.Err() != nil:
			return nil
		case errors.As(err, new(*hopelessError)):
			return err
		}
		s.tell(err)
		select {
		case <-ctx.Done():
		case <-time.After(pause/2 + rand.N(pause)):
		}
		pause = min(2*pause, backoffMax)
	}
	return nil
}

// term is one generation of the group, from joining to the moment at which to join again.
func (s *membership) term(ctx context.Context) error {
	numbers, since, err := s.join(ctx)
	if err != nil {
		return err
	}
	s.told = ""
	s.log.counts.joins.Add(1)
	s.notice(NoticeGroupJoined, fmt.Sprintf("member of group %s, generation %d, with partitions %v", s.group, s.generation, numbers))
	return s.serve(ctx, numbers, since)
}

// serve runs the partitions until the generation is over and every Own has returned. since is when the coordinator was
// last sure to hear from us.
func (s *membership) serve(ctx context.Context, numbers []int32, since time.Time) error {
	w := startWork(ctx, s.member, numbers)
	defer w.stop()
	w.renew(since)
	ticker := time.NewTicker(heartbeatEvery)
	defer ticker.Stop()
	member := true
	var hopeless error
	for {
		select {
		case <-w.done:
			if member {
				s.commit(w)
			}
			if ctx.Err() == nil && time.Since(w.heard) > leaseMax {
				s.tell(fmt.Errorf("no heartbeat was answered for %v", leaseMax))
			}
			return hopeless
		case <-ticker.C:
		}
		if !member || w.over() {
			continue // there is only the end to wait for
		}
		sent := time.Now()
		switch code, err := s.beat(); {
		case err != nil: // the lease decides
		case code == 0:
			w.renew(sent)
		case code == codeRebalance:
			w.renew(sent)
			w.stop()
		case code == codeIllegalGeneration || code == codeUnknownMember:
			// The others went on without us: the time we had for our Owns is over, or nearly.
			member = false
			w.stop()
			s.tell(s.explain(code))
		case hopelessFor(code):
			member = false
			w.stop()
			hopeless = s.explain(code)
		}
		if member {
			s.commit(w)
		}
	}
}

// tell tells of trouble once, until it was gone in between. Brokers that are away each have words of their own for it, so
// that another reason is told too, but seldom.
func (s *membership) tell(err error) {
	if text := err.Error(); s.told == "" || text != s.told && time.Since(s.toldAt) > tellEvery {
		s.told, s.toldAt = text, time.Now()
		s.notice(NoticeGroupLost, fmt.Sprintf("not a member of group %s now, trying on: %v", s.group, err))
	}
}

func (s *membership) notice(kind, text string) {
	s.log.notify(Notice{Kind: kind, Topic: s.topic.config.Name, Text: text})
}

// held is what the member holds, as far as it is of the topic.
func (s *membership) held() map[int32]int64 {
	if s.member.Held == nil {
		return nil
	}
	return s.member.Held()
}

// mine leaves out what this member was given and does not know: partitions that were added after its start, which watch
// tells of.
func (s *membership) mine(given []int32) []int32 {
	n := int32(len(s.topic.all()))
	unknown := func(p int32) bool { return p < 0 || p >= n }
	return slices.DeleteFunc(given, unknown)
}

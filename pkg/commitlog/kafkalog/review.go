package kafkalog

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"tollgate/pkg/commitlog"
)

const (
	// reviewInterval is how often partitions are looked at.
	reviewInterval = 100 * time.Millisecond
	// stallMin is how long a partition turns batches away at least, so that trying again is not done by every request.
	stallMin = time.Second
	// patience: after this long without an answer leaders are asked for, in case they moved and the old one is silent.
	patience = time.Second
	// suspicionMax is how long a stalled partition speaks against the leader of others. If they do not answer either, they
	// will be stalled themselves and speak again.
	suspicionMax = time.Minute
)

// reviews looks at the partitions from time to time.
func (l *Log) reviews() {
	tick := time.NewTicker(reviewInterval)
	defer tick.Stop()
	for {
		select {
		case <-l.ctx.Done():
			return
		case <-tick.C:
			l.mu.Lock()
			l.review(time.Now())
			l.mu.Unlock()
		}
	}
}

// remedy is what to do when Kafka is out of reach.
const remedy = "it is tried again by itself; if it stays so, check kafka.brokers, the credentials and the network"

// review stalls the partitions that do not get answers, and settles what Ready says. Log.mu is held.
func (l *Log) review(now time.Time) {
	stalled, impatient := 0, false
	var example *partition
	for _, t := range l.topics {
		for _, p := range t.all() {
			if len(p.queue) > 0 {
				waited := now.Sub(p.since)
				impatient = impatient || waited > patience
				if waited > l.config.StallMax {
					l.stall(p, nil)
				}
			}
			if p.stalled != nil && !t.config.Foreign {
				stalled++
				example = p
			}
		}
	}
	if impatient && now.Sub(l.watched) > patience {
		l.lookForLeaders()
	}
	if l.closing {
		return
	}
	l.away = nil
	switch {
	case !l.configured:
		l.away = fmt.Errorf("%w: Kafka at %s: %w; %s", commitlog.ErrUnavailable, strings.Join(l.config.Brokers, ","), l.watchErr, remedy)
	case l.watchErr != nil && now.Sub(l.watchFailing) > l.config.StallMax:
		l.away = fmt.Errorf("%w: no broker has answered for %v: %w; %s", commitlog.ErrUnavailable,
			now.Sub(l.watchFailing).Round(time.Second), l.watchErr, remedy)
	}
	err := l.away
	if err == nil && stalled > 0 && now.Sub(l.answered) > l.config.StallMax && !l.promising(now) {
		err = fmt.Errorf("%w (%d partitions)", example.stalled, stalled)
	}
	l.setReady(err)
}

// promising tells whether each topic that has stalled partitions has one as well that can be expected to answer, though
// none was asked lately: not stalled, with the replicas it needs, and led by a broker that nothing speaks against. Without
// it a log of which one leader is away would be unready after a quiet moment, and stay so, since nobody appends to a log
// that is not ready. Log.mu is held.
func (l *Log) promising(now time.Time) bool {
	suspects := map[int32]bool{}
	for _, t := range l.topics {
		for _, p := range t.all() {
			if p.stalled != nil && !p.short() && now.Sub(p.stalledAt) < suspicionMax {
				suspects[p.leader] = true
			}
		}
	}
	for _, t := range l.topics {
		isStalled := func(p *partition) bool { return p.stalled != nil }
		promises := func(p *partition) bool {
			return p.stalled == nil && l.brokers[p.leader] != nil && !p.short() && !suspects[p.leader]
		}
		if !t.config.Foreign && slices.ContainsFunc(t.all(), isStalled) && !slices.ContainsFunc(t.all(), promises) {
			return false
		}
	}
	return true
}

// setReady changes what Ready says, and tells when it changes between good and bad. Log.mu is held.
func (l *Log) setReady(err error) {
	was := l.Ready()
	l.unready.Store(&unreadiness{err})
	switch {
	case was != nil && err == nil:
		l.outbox.notice(Notice{Kind: NoticeReady, Text: "Kafka acknowledges appends"})
	case was == nil && err != nil:
		l.outbox.notice(Notice{Kind: NoticeUnready, Text: err.Error()})
	default:
		return
	}
	l.outboxWork.Signal()
}

// stall makes a partition turn new batches away, and turns those away that were never sent. A first batch in doubt, or on
// its way, stays: it must be answered. Log.mu is held.
func (l *Log) stall(p *partition, why error) {
	if p.stalled == nil {
		if why == nil {
			cause := p.lastErr
			switch {
			case cause != nil:
			case p.flying != nil:
				cause = errors.New("its leader is silent")
			default:
				cause = errors.New("it has no leader")
			}
			why = fmt.Errorf("%w: %s-%d has not answered appends for %v: %w", commitlog.ErrUnavailable,
				p.topic.config.Name, p.number, l.config.StallMax, cause)
		}
		p.stalled, p.stalledAt = why, time.Now()
		l.lookForLeaders()
	}
	keep := 0
	if len(p.queue) > 0 && (p.flying != nil || p.doubt) {
		keep = 1
	}
	if p.topic.config.HandBack && keep == 1 {
		if p.flying != nil {
			p.flying.conn.close() // ends the attempt; settle hands the batch back
		} else {
			l.complete(p.queue[0], &DoubtError{Producer: p.producer, Why: p.lastErr})
			p.pop(time.Now())
			p.replaceProducer()
			keep = 0
		}
	}
	for _, b := range p.queue[keep:] {
		l.complete(b, p.stalled)
	}
	clear(p.queue[keep:])
	p.queue = p.queue[:keep]
	if keep == 0 {
		p.wire, p.stamped = nil, false
	}
}

// probe lets partitions that were stalled, and have nothing to be answered, take batches again when their leader can be
// reached and has the replicas it needs.
func (l *Log) probe() error {
	l.mu.Lock()
	candidates := map[string][]*partition{}
	for _, t := range l.topics {
		for _, p := range t.all() {
			k := l.brokers[p.leader]
			if k != nil && p.stalled != nil && time.Since(p.stalledAt) >= stallMin && len(p.queue) == 0 && !p.short() {
				candidates[k.address] = append(candidates[k.address], p)
			}
		}
	}
	l.mu.Unlock()
	for address, partitions := range candidates {
		c, err := l.dialer.connect(l.ctx, address)
		if err != nil {
			if l.ctx.Err() != nil {
				return context.Cause(l.ctx)
			}
			continue // stalled still; watch itself is fine
		}
		c.close()
		l.mu.Lock()
		for _, p := range partitions {
			p.stalled = nil
		}
		l.answered = time.Now() // as far as we know
		l.mu.Unlock()
	}
	return nil
}

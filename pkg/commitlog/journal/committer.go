package journal

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"tollgate/pkg/commitlog"
)

// run is the committer: the one goroutine that writes. While it syncs one group, the next one gathers.
func (j *Journal) run() {
	defer close(j.stopped)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-j.wake:
		case <-timer.C:
		}
		j.step()
		select {
		case <-j.closing:
			j.step() // what was handed over before closing began
			j.abandon()
			return
		default:
		}
		if wait := j.sleep(); wait >= 0 {
			timer.Reset(wait)
		} else {
			timer.Stop()
		}
	}
}

// sleep is how long the committer may sleep; negative for as long as nothing is appended.
func (j *Journal) sleep() time.Duration {
	wait := time.Duration(-1)
	for _, p := range j.partitions {
		if d := p.timer(); d >= 0 && (wait < 0 || d < wait) {
			wait = d
		}
	}
	return wait
}

// step does everything that there is to do now: one group, as a rule, and what the timer is for.
func (j *Journal) step() {
	j.mu.Lock()
	j.taken, j.waiting = j.waiting, j.taken[:0]
	j.mu.Unlock()
	if len(j.taken) > 0 {
		j.deal()
		clear(j.taken)
	}
	for j.load() {
		j.flush()
		for _, p := range j.touched {
			j.settle(p)
		}
		j.reserveAhead()
	}
	var held int64
	for _, p := range j.partitions {
		_ = p.revive() // what it says, Ready says
		p.syncCheckpoint()
		held += p.held()
	}
	j.space.hold(held)
}

// deal hands what was taken to the partitions, unless it can not be written.
func (j *Journal) deal() {
	var bytes int64
	for _, b := range j.taken {
		if b.Err != nil {
			j.finish(b, b.Err)
			continue
		}
		p := j.partition(b.Topic, b.Partition)
		p.pending = append(p.pending, b)
		bytes += int64(len(b.Bytes))
	}
	full := j.space.look(bytes)
	for _, p := range j.partitions {
		p.replaced = false
		if len(p.pending) == 0 {
			continue
		}
		err := full
		if err == nil || p.topic.Vital {
			err = p.revive()
		}
		if err != nil {
			j.fail(p, err)
		}
	}
}

// load loads the flights of all partitions that have something pending. False when none has.
func (j *Journal) load() bool {
	j.touched = j.touched[:0]
	for _, p := range j.partitions {
		if len(p.pending) == 0 {
			continue
		}
		if err := p.load(); err != nil {
			j.fail(p, err)
			continue
		}
		j.touched = append(j.touched, p)
	}
	return len(j.touched) > 0
}

// flush makes all flights durable, beside each other.
func (j *Journal) flush() {
	var others sync.WaitGroup
	for _, p := range j.touched[1:] {
		others.Go(p.flush)
	}
	j.touched[0].flush()
	others.Wait()
}

// settle completes a flight, or gets it ready to be written again.
func (j *Journal) settle(p *partition) {
	f := &p.flight
	if f.err == nil {
		j.space.spend(f.bytes)
		p.publish()
		for _, b := range f.batches {
			j.finish(b, nil)
		}
		return
	}
	retry, outcome := p.mend(!p.replaced)
	p.replaced = true
	if retry {
		return
	}
	rest := p.refuse(f.err)
	p.pending = p.pending[:copy(p.pending, p.pending[len(f.batches):])]
	for _, b := range f.batches {
		j.finish(b, fmt.Errorf("%s: %w", p.dir, outcome))
	}
	j.fail(p, rest)
}

// fail completes all that is pending for a partition.
func (j *Journal) fail(p *partition, err error) {
	for _, b := range p.pending {
		j.finish(b, err)
	}
	clear(p.pending)
	p.pending = p.pending[:0]
}

// finish gives a batch back.
func (j *Journal) finish(b *commitlog.Batch, err error) {
	b.Err = err
	switch {
	case errors.Is(err, commitlog.ErrUnknown):
		j.metrics.unknown.Add(1)
	case errors.Is(err, commitlog.ErrUnavailable):
		j.metrics.unavailable.Add(1)
	}
	b.Done(b)
}

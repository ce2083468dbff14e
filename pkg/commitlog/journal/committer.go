package journal

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"tollgate/pkg/commitlog"
)

// run is the committer: the one goroutine that syncs. What it finds before a group it writes itself; what comes while it
// syncs one is for writeBehind.
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

// step does everything that there is to do now, and what the timer is for.
func (j *Journal) step() {
	for j.turn() {
	}
}

// turn takes one group through: written, synced, published. False when there was none, and everybody has been told.
func (j *Journal) turn() bool {
	j.work.Lock()
	defer j.work.Unlock()
	j.gather()
	if !j.load() {
		j.tell()
		j.lookAfter()
		return false
	}
	if len(j.finished) > 0 {
		j.signal(j.behind)
	}
	j.flush()
	j.tell() // of the last group, if the processor was too busy for it
	more := false
	for _, p := range j.touched {
		j.settle(p)
		more = more || len(p.written.batches) > 0
	}
	if !more { // else the disk is put to work again first
		j.tell()
	}
	j.reserveAhead()
	j.lookAfter()
	return true
}

// writeBehind is the goroutine that works while the committer syncs.
func (j *Journal) writeBehind() {
	for {
		select {
		case <-j.behind:
		case <-j.stopped:
			return
		}
		j.work.Lock()
		if j.syncing {
			j.meanwhile()
		}
		j.work.Unlock()
	}
}

// flushOpenly is flush with the work left to others while the disk has the group.
func (j *Journal) flushOpenly() {
	j.syncing = true
	j.work.Unlock()
	j.sync()
	j.work.Lock()
	j.syncing = false
}

// gather takes what was handed over.
func (j *Journal) gather() {
	j.mu.Lock()
	j.taken, j.waiting = j.waiting, j.taken[:0]
	j.mu.Unlock()
	if len(j.taken) > 0 {
		j.deal()
		clear(j.taken)
	}
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
	}
	for _, p := range j.partitions {
		bytes += p.unspent()
	}
	full := j.space.look(bytes)
	for _, p := range j.partitions {
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

// load writes what is not written yet and makes it the group: touched are the partitions with a part in it. False when
// there is none. Nothing is being synced meanwhile.
func (j *Journal) load() bool {
	j.touched = j.touched[:0]
	for _, p := range j.partitions {
		for {
			if err := p.write(); err != nil {
				j.fail(p, err)
			}
			p.syncing, p.written = p.written, p.syncing
			if p.syncing.err == nil {
				break
			}
			j.settle(p) // it was not written: there is nothing to sync
		}
		if len(p.syncing.batches) > 0 {
			j.touched = append(j.touched, p)
		}
	}
	return len(j.touched) > 0
}

// sync makes the group durable, all its partitions beside each other.
func (j *Journal) sync() {
	var others sync.WaitGroup
	for _, p := range j.touched[1:] {
		others.Go(p.sync)
	}
	j.touched[0].sync()
	others.Wait()
}

// meanwhile is what there is to do while a group is synced: those of the last one are told, and the next one is written.
func (j *Journal) meanwhile() {
	j.gather()
	j.tell()
	for _, p := range j.partitions {
		if j.gaveUp.Load() {
			j.fail(p, j.errClosed())
		} else if err := p.write(); err != nil {
			j.fail(p, err)
		}
	}
	j.tell()
}

// settle completes a partition's part of a group, or gets it ready to be written again, with what was written behind it.
func (j *Journal) settle(p *partition) {
	f := &p.syncing
	if f.err == nil {
		j.space.spend(f.bytes)
		p.publish()
		for _, b := range f.batches {
			j.finish(b, nil)
		}
		f.reset()
		return
	}
	cause := f.err
	retry, outcome := p.mend(!p.replaced)
	p.replaced = true
	back := p.takeBack()
	if retry {
		p.pending = slices.Insert(p.pending, 0, back...)
		return
	}
	rest := p.refuse(cause)
	for _, b := range back {
		j.finish(b, fmt.Errorf("%s: %w", p.dir, outcome))
	}
	j.fail(p, rest)
}

// fail finishes all that is pending for a partition.
func (j *Journal) fail(p *partition, err error) {
	for _, b := range p.pending {
		j.finish(b, err)
	}
	clear(p.pending)
	p.pending = p.pending[:0]
}

// finish gives a batch its outcome. It goes back with the next tell.
func (j *Journal) finish(b *commitlog.Batch, err error) {
	j.note(b, err)
	j.finished = append(j.finished, b)
}

// tell gives finished batches back, in the order in which they were finished.
func (j *Journal) tell() {
	for _, b := range j.finished {
		b.Done(b)
	}
	clear(j.finished)
	j.finished = j.finished[:0]
}

// giveBack gives a batch back that the committer has never seen.
func (j *Journal) giveBack(b *commitlog.Batch, err error) {
	j.note(b, err)
	b.Done(b)
}

// note notes a batch's outcome.
func (j *Journal) note(b *commitlog.Batch, err error) {
	b.Err = err
	switch {
	case errors.Is(err, commitlog.ErrUnknown):
		j.metrics.unknown.Add(1)
	case errors.Is(err, commitlog.ErrUnavailable):
		j.metrics.unavailable.Add(1)
	}
}

// lookAfter does what partitions need now and then, between two groups.
func (j *Journal) lookAfter() {
	var held int64
	for _, p := range j.partitions {
		_ = p.revive() // what it says, Ready says
		p.syncCheckpoint()
		held += p.held()
	}
	j.space.hold(held)
}

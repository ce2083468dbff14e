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
	j.gather()
	loaded := j.load()
	if loaded {
		if len(j.finished) > 0 || j.gaveUp.Load() {
			j.signal(j.behind)
		}
		j.flush()
		j.tell() // of the last group, if the processor was too busy for it
		for _, p := range j.touched {
			j.settle(p)
		}
		if j.hurried++; j.hurried < hurriedMax && j.writtenBehind() {
			return true // the disk goes on at once
		}
	}
	j.hurried = 0
	j.tell()
	j.reserveAhead()
	for _, p := range j.partitions {
		p.forget()
	}
	j.lookAfter()
	return loaded
}

// writtenBehind tells whether there is something that can be synced at once.
func (j *Journal) writtenBehind() bool {
	return slices.ContainsFunc(j.partitions, func(p *partition) bool {
		return len(p.written.batches) > 0 && p.written.err == nil
	})
}

// writeBehind is the goroutine that works while the committer syncs.
func (j *Journal) writeBehind() {
	for {
		for _, c := range []chan struct{}{j.behind, j.lent} {
			select {
			case <-c:
			case <-j.stopped:
				return
			}
		}
		j.meanwhile()
		j.lent <- struct{}{}
	}
}

// flushOpenly is flush with the committer's work lent to writeBehind while the disk has the group.
func (j *Journal) flushOpenly() {
	j.lent <- struct{}{}
	j.sync()
	<-j.lent
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
	for _, b := range j.taken {
		if b.Err != nil {
			j.finish(b, b.Err)
			continue
		}
		p := j.partition(b.Topic, b.Partition)
		p.pending = append(p.pending, b)
	}
	var bytes int64
	for _, p := range j.partitions {
		for _, b := range p.pending {
			bytes += int64(len(b.Bytes))
		}
	}
	j.hold()
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
			j.write(p)
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
		} else {
			j.write(p)
		}
	}
	j.tell()
}

// write writes what is pending for a partition, as far as it can be now.
func (j *Journal) write(p *partition) {
	if err := p.write(); err != nil {
		j.fail(p, err)
	}
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
	p.replaced = false
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

// tell gives finished batches back. What was refused may come before what was handed over earlier and is still synced.
func (j *Journal) tell() {
	for _, b := range j.finished {
		b.Done(b)
	}
	clear(j.finished)
	j.finished = j.finished[:0]
}

// turnAway gives a batch back that the committer has never seen.
func (j *Journal) turnAway(b *commitlog.Batch, err error) {
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
	for _, p := range j.partitions {
		_ = p.revive() // what it says, Ready says
		p.syncCheckpoint()
	}
	j.hold()
}

// hold notes what the partitions hold of the disk that counts as free, or is not counted off yet.
func (j *Journal) hold() {
	var held, flying int64
	for _, p := range j.partitions {
		held += p.held()
		flying += p.end() - p.position
	}
	j.space.hold(held, flying)
}

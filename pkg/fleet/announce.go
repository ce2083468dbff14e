package fleet

import (
	"context"
	"maps"
	"slices"
	"time"

	"tollgate/pkg/commitlog"
	"tollgate/pkg/recordbatch"
)

// announceAgain is the pause after an append that failed.
const announceAgain = time.Second

// announcer is the state of the goroutine that announces this process's partitions.
type announcer struct {
	f     *Fleet
	since map[int32]string // of the partitions run now: from when on
	said  map[int32]int64  // of those announced: the offset of the announcement, -1 when the log does not know it
	at    time.Time        // of the last announcement of everything
	again time.Time        // not before
}

// announce runs until ctx ends.
func (f *Fleet) announce(ctx context.Context) {
	a := &announcer{f: f, since: map[int32]string{}, said: map[int32]int64{}}
	ticker := time.NewTicker(f.cfg.LookEvery)
	defer ticker.Stop()
	for {
		a.look(ctx)
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
}

// look compares what is run with what was announced, and announces what is due.
func (a *announcer) look(ctx context.Context) {
	now := a.f.cfg.Now()
	all := now.Sub(a.at) >= a.f.cfg.AnnounceEvery
	owned := a.f.cfg.Worker.Owned()
	given := func(p int32) bool { _, ok := slices.BinarySearch(owned, p); return !ok }
	maps.DeleteFunc(a.since, func(p int32, _ string) bool { return given(p) })
	maps.DeleteFunc(a.said, func(p int32, _ int64) bool { return given(p) })
	var due []int32
	for _, p := range owned {
		if _, ok := a.since[p]; !ok {
			a.since[p] = now.UTC().Format(timeForm)
		}
		if all || !a.stands(p) {
			due = append(due, p)
		}
	}
	if len(due) == 0 || now.Before(a.again) {
		return
	}
	if err := a.say(ctx, due, now); err != nil {
		a.f.counts.announceFaults.Add(1)
		a.again = now.Add(announceAgain)
		return
	}
	if all {
		a.at = now
	}
}

// stands tells whether the partition was announced and nobody else's announcement came behind ours.
func (a *announcer) stands(p int32) bool {
	said, ok := a.said[p]
	if !ok {
		return false
	}
	o, ok := a.f.board.owner(p)
	contested := ok && o.gateway != a.f.cfg.Gateway && o.offset > said && said >= 0
	return !contested
}

// say appends the announcements of these partitions and waits for them, so that there is one at a time in flight.
func (a *announcer) say(ctx context.Context, partitions []int32, now time.Time) error {
	packer := commitlog.NewPacker(a.f.cfg.Log, a.f.cfg.CursorsTopic, 0)
	land := func() error {
		b := packer.Take()
		if b == nil {
			return nil
		}
		if err := commitlog.AppendWait(ctx, a.f.cfg.Log, b); err != nil {
			return err
		}
		for i, p := range partitions[:b.Records] {
			a.said[p] = b.Base
			if b.Base >= 0 {
				a.said[p] += int64(i)
			}
		}
		partitions = partitions[b.Records:]
		return nil
	}
	for _, p := range partitions {
		key, value := announcement{
			Object: ownerObject, Partition: p, Gateway: a.f.cfg.Gateway, Address: a.f.cfg.Address,
			Since: a.since[p], At: now.UTC().Format(timeForm),
		}.record()
		body := recordbatch.AppendBody(nil, key, value)
		if !packer.Fits(body) {
			if err := land(); err != nil {
				return err
			}
		}
		packer.Add(now.UnixMilli(), body)
	}
	return land()
}

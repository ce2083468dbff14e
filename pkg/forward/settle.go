package forward

import (
	"context"
	"errors"
	"time"
)

// decide makes a range durable before anything of it is sent, as one with the range that is still on its way.
func (l *lane) decide(ctx context.Context, b *batch, flying *flight) error {
	b.cursor.At = l.f.cfg.Now().UTC().Format(timeForm)
	c := b.cursor
	if flying != nil {
		c = flying.b.cursor.with(&c)
	}
	if err := l.write(ctx, &c); err != nil {
		return err
	}
	l.durable = &c
	return nil
}

// write gives a cursor its number and makes it durable. An attempt whose outcome is not known is made again as another
// writer's: with one key for both, compaction would keep the later one, and a cursor of the same number that stands between
// them, and was not taken, would then be the first.
func (l *lane) write(ctx context.Context, c *cursor) error {
	c.Seq, c.Writer, c.Gateway = 1, l.writer, l.f.cfg.Gateway
	if l.durable != nil {
		c.Seq = l.durable.Seq + 1
	}
	if c.At == "" {
		c.At = l.f.cfg.Now().UTC().Format(timeForm)
	}
	for attempt := 0; ; attempt++ {
		err := l.f.board.write(ctx, c)
		if err == nil || ctx.Err() != nil || errors.Is(err, errSuperseded) {
			l.writtenAt = l.f.cfg.Now()
			if err == nil {
				l.tidy(ctx, c)
			}
			return err
		}
		l.f.cfg.Notify(Notice{What: Faulty, Business: l.s.scope.String(), Detail: "writing a cursor", Err: err})
		if len(c.tried) == triedMax { // the lane is taken up anew, and sees which of them was taken
			return err
		}
		c.tried = append(c.tried, c.Writer)
		l.writer, l.tidied = l.s.randomName(), false
		c.Writer = l.writer
		if err := sleep(ctx, l.f.cfg.pause(attempt)); err != nil {
			return err
		}
	}
}

// tidy takes away the cursors of those who ran the lane before. Should it fail, they stay until somebody else does.
func (l *lane) tidy(ctx context.Context, c *cursor) {
	if l.tidied {
		return
	}
	l.tidied = true
	for _, key := range l.f.board.outdated(c) {
		if appendRecord(ctx, &l.f.cfg, l.f.cfg.CursorsTopic, 0, []byte(key), nil) != nil {
			return
		}
	}
}

// idle says that ranges were passed when no other does it by beginning.
func (l *lane) idle(ctx context.Context) error {
	since := l.f.cfg.Now().Sub(l.writtenAt)
	soon := idleEmpty
	if l.durable.End > l.durable.Next || l.f.drains.Load() > 0 {
		soon = idleWrite
	}
	if l.next <= l.durable.Next || since >= 0 && since < soon {
		return nil
	}
	c := newBatch(l.before, l.next, 0).cursor
	if err := l.write(ctx, &c); err != nil {
		return err
	}
	l.durable, l.before = &c, &c
	return nil
}

// send sends a range and returns when the outcome of everything in it is known and durable. Cancels leave when all events
// before them are known, those of the range before it too.
func (l *lane) send(ctx context.Context, b *batch, mayBe bool, behind *flight) error {
	events, cancels := b.parcels()
	t := try{first: b.cursor.at(), mayBe: mayBe}
	size := l.s.pace.batch()
	if l.f.cfg.Mode == V1 {
		size = 1
	}
	together := func(requests [][]parcel) error {
		return concurrently(ctx, l.f.cfg.InFlight, len(requests), func(ctx context.Context, n int) error { return l.request(ctx, requests[n], t) })
	}
	if err := together(cut(events, size, requestBytes)); err != nil {
		return err
	}
	if behind != nil && len(cancels) > 0 {
		if <-behind.landed; behind.err != nil {
			return behind.err
		}
	}
	return together(cut(cancels, 1, requestBytes))
}

// request sends one, and writes the dead letters of it.
func (l *lane) request(ctx context.Context, parcels []parcel, t try) error {
	var dead []*Dead
	if err := l.s.deliver(ctx, parcels, t, func(a setAside) {
		d := l.f.deadLetter(l.s.scope, l.t.partition, a)
		if a.parcel.cancel {
			l.describe(ctx, d, a.parcel.other)
		}
		dead = append(dead, d)
	}); err != nil {
		return err
	}
	for _, d := range dead {
		if err := l.f.bury(ctx, d); err != nil {
			return err
		}
		l.f.counts.dead.Add(1)
		l.s.dead.Add(1)
		l.f.cfg.Notify(Notice{What: SetAside, Business: l.s.scope.String(), Detail: d.Kind + " " + d.Identifier + " of " + d.EventName + ": " + d.Reason})
	}
	return nil
}

// describe puts into a cancel's letter what was to be cancelled, so that it can be said whose total it is in. Where the
// log has lost that, the letter goes without. Requests of a range come here at once, while the lane itself waits for them.
func (l *lane) describe(ctx context.Context, d *Dead, event int64) {
	l.looking.Lock()
	defer l.looking.Unlock()
	i, err := l.t.one(ctx, l.aside, l.s.scope, event)
	if err != nil || i == nil {
		return
	}
	d.Payload, d.Timestamp = i.payload, time.UnixMilli(i.timestampMs).UTC().Format(timeForm)
}

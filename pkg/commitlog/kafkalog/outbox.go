package kafkalog

import "tollgate/pkg/commitlog"

// outbox is what waits for deliver: batches that were completed under the lock, and notices. It holds no more batches
// than were handed over and not got back.
type outbox struct {
	batches []*commitlog.Batch
	notices []Notice
}

// noticesMax bounds the notices that a slow Notify lets pile up; further ones are dropped, since each tells of a state
// that Ready and the metrics show as well.
const noticesMax = 100

func (o *outbox) notice(n Notice) {
	if len(o.notices) < noticesMax {
		o.notices = append(o.notices, n)
	}
}

// deliver calls Done and Notify outside the lock, until the log is given up.
func (l *Log) deliver() {
	for {
		l.mu.Lock()
		for len(l.outbox.batches) == 0 && len(l.outbox.notices) == 0 && l.ctx.Err() == nil {
			l.outboxWork.Wait()
		}
		out := l.outbox
		l.outbox = outbox{}
		over := l.ctx.Err() != nil
		l.mu.Unlock()
		for _, b := range out.batches {
			b.Done(b)
		}
		l.settled(len(out.batches))
		for _, n := range out.notices {
			l.config.Notify(n)
		}
		if over {
			return
		}
	}
}

func (l *Log) notify(n Notice) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.outbox.notice(n)
	l.outboxWork.Signal()
}

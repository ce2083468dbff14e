package spill

import "time"

// episodesMax bounds what is remembered of earlier times: over it the two oldest are taken for one.
const episodesMax = 32

// episode is a time in which what was acknowledged here was not all in Kafka.
type episode struct {
	began time.Time
	ended time.Time // zero: it has not
}

// left counts a partition that is not direct any more: what was acknowledged here before began is in Kafka. Log.mu is held.
func (l *Log) left(began time.Time) {
	l.indirect++
	last := len(l.episodes) - 1
	if l.indirect > 1 {
		if began.Before(l.episodes[last].began) {
			l.episodes[last].began = began
		}
		return
	}
	l.episodes = append(l.episodes, episode{began: began})
	if len(l.episodes) > episodesMax {
		l.episodes[1].began = l.episodes[0].began
		l.episodes = l.episodes[1:]
	}
}

// returned counts a partition that is direct again. Log.mu is held.
func (l *Log) returned() {
	if l.indirect--; l.indirect == 0 {
		l.episodes[len(l.episodes)-1].ended = l.cfg.Now()
	}
}

// AsOf is for who has read Kafka to where it ended at some time: everything that was acknowledged here before the result was
// in it then. It is that time, or when what was not in Kafka yet began to be spilled.
func (l *Log) AsOf(read time.Time) time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range l.episodes {
		if e := &l.episodes[i]; e.began.Before(read) && (e.ended.IsZero() || e.ended.After(read)) {
			return e.began
		}
	}
	return read
}

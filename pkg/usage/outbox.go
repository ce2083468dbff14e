package usage

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"tollgate/pkg/thinevent"
)

// outbox is what a partition has closed and the events topic has not got: rows of the store, and how many they are.
type outbox struct {
	bytesMax int64
	wake     chan struct{} // rows were written
	added    bool          // since the last flush

	rows, bytes atomic.Int64
	oldestMs    atomic.Int64 // when the oldest was closed; 0: there is none
}

func newOutbox(cfg *Config) *outbox {
	return &outbox{bytesMax: cfg.OutboxBytes, wake: make(chan struct{}, 1)}
}

// rowBytes is what a row takes beside its value, roughly.
const rowBytes = 128

func (o *outbox) full() bool { return o.bytes.Load() >= o.bytesMax }

// add encodes a part as a row of the outbox: when it was closed, and the part.
func (o *outbox) add(pt *part, nowMs int64) []byte {
	row := pt.append(appendI64(nil, nowMs))
	o.note(len(row), 1)
	o.oldestMs.CompareAndSwap(0, nowMs)
	o.added = true
	return row
}

// note counts a row that is there, or with -1 one that is not any more.
func (o *outbox) note(bytes int, n int64) {
	o.rows.Add(n)
	o.bytes.Add(n * int64(bytes+rowBytes))
}

// written is called when the rows that were added are in the store.
func (o *outbox) written() {
	if !o.added {
		return
	}
	o.added = false
	select {
	case o.wake <- struct{}{}:
	default:
	}
}

// report is a row of the outbox.
type report struct {
	part
	key      []byte
	closedMs int64
	bytes    int
}

func decodeReport(key, row []byte) (r report, err error) {
	if len(row) < 8 {
		return r, errRow
	}
	r.key, r.closedMs, r.bytes = append([]byte(nil), key...), i64At(row), len(row)
	return r, r.decode(row[8:])
}

// Outbox is what waits for the events topic.
type Outbox struct {
	Reports, Bytes int64
	Age            time.Duration // of the oldest
}

// Outbox tells of the partitions that are run.
func (w *Worker) Outbox() Outbox {
	var all Outbox
	now := w.cfg.Now()
	for _, p := range w.snapshotOfParts() {
		all.Reports += p.outbox.rows.Load()
		all.Bytes += p.outbox.bytes.Load()
		if ms := p.outbox.oldestMs.Load(); ms != 0 {
			all.Age = max(all.Age, now.Sub(time.UnixMilli(ms)))
		}
	}
	return all
}

// sender appends what a partition has closed, in the order in which it was closed, as long as the partition is run. A
// report is erased when it is in the topic. What a crash leaves is appended again under the same id, and left out there.
// Whatever the topic says but yes, the same reports are appended again after a pause: they are small enough for every log,
// and one that was left out would be counted again in another by who comes to its records next.
type sender struct {
	cfg    *Config
	p      *partition
	quit   chan struct{} // it is not to begin anything more
	cut    context.CancelFunc
	ended  chan struct{}
	silent bool // told that nothing can be reported
}

const (
	// One call appends so many reports, of so many bytes.
	sendReports = 100
	sendBytes   = 1 << 20
	// appendTimeout bounds one call. cutTimeout is how long one that is under way may take when the partition is given
	// back: what it appends after that may be unknown to the next owner when it begins.
	appendTimeout = 30 * time.Second
	cutTimeout    = 5 * time.Second
	pauseMin      = 50 * time.Millisecond
)

// send starts the sender of a partition; nil where nothing is reported.
func (w *Worker) send(p *partition) *sender {
	if w.cfg.Events == nil {
		return nil
	}
	ctx, cut := context.WithCancel(context.Background())
	s := &sender{cfg: &w.cfg, p: p, quit: make(chan struct{}), cut: cut, ended: make(chan struct{})}
	go func() {
		defer close(s.ended)
		s.run(ctx)
	}()
	return s
}

// end ends it. What it was about is in the topic, or in the outbox.
func (s *sender) end() {
	if s == nil {
		return
	}
	close(s.quit)
	patience := time.AfterFunc(cutTimeout, s.cut)
	defer patience.Stop()
	defer s.cut()
	select {
	case <-s.ended:
	case <-s.p.store.Up().Done(): // it may wait in the store for ever
	}
}

func (s *sender) run(ctx context.Context) {
	for pause := pauseMin; ; {
		select {
		case <-s.quit:
			return
		default:
		}
		n, err := s.round(ctx)
		if err == nil && n > 0 {
			pause = pauseMin
			s.tell(nil)
			continue
		}
		wake, again := s.p.outbox.wake, (<-chan time.Time)(nil)
		if err != nil {
			s.tell(err)
			wake, again = nil, time.After(pause)
			pause = min(2*pause, s.cfg.PauseMax)
		}
		select {
		case <-wake:
		case <-again:
		case <-s.quit:
			return
		}
	}
}

// tell tells when reports can not be appended, and when they can again.
func (s *sender) tell(err error) {
	switch {
	case err != nil && !s.silent:
		s.silent = true
		s.cfg.Notify(Notice{What: Unreported, Partition: s.p.number, Err: err})
	case err == nil && s.silent:
		s.silent = false
		s.cfg.Notify(Notice{What: Reporting, Partition: s.p.number})
	}
}

// round appends the oldest reports, and says how many there were.
func (s *sender) round(ctx context.Context) (int, error) {
	reports, err := s.oldest()
	if err != nil || len(reports) == 0 {
		return 0, err
	}
	// What is appended follows from a state that is not taken back.
	if err := s.p.store.Sync(); err != nil {
		return 0, err
	}
	events, err := s.unknown(reports)
	if err != nil {
		return 0, err
	}
	if len(events) > 0 {
		bounded, cancel := context.WithTimeout(ctx, appendTimeout)
		defer cancel()
		if err := s.cfg.Events.Append(bounded, events...); err != nil {
			return 0, err
		}
		s.p.counts.reports[reportAppended].Add(uint64(len(events)))
		for _, e := range events {
			if through, found, err := s.cfg.Events.Reported(e.ID); err == nil && found {
				s.compare(e.ID, e.Source.Through, through)
			}
		}
	}
	return len(reports), s.erase(reports)
}

// oldest are the reports to append together. Of one window of a subject there is one at most: were a later one in the
// topic and the earlier not, who comes to these records again would count the later one's twice.
func (s *sender) oldest() ([]report, error) {
	type window struct {
		subject
		startMs int64
	}
	var reports []report
	seen := make(map[window]bool)
	bytes := 0
	prefix := appendTable(nil, s.p.number, tableReports)
	err := s.p.store.Each(s.p.store.DB, prefix, prefixEnd(prefix), func(key, row []byte) (bool, error) {
		r, err := decodeReport(key, row)
		w := window{r.subject, r.startMs}
		bytes += len(row)
		if err != nil || seen[w] || len(reports) == sendReports || len(reports) > 0 && bytes > sendBytes {
			return false, err
		}
		seen[w] = true
		reports = append(reports, r)
		return true, nil
	})
	o := s.p.outbox
	switch {
	case len(reports) > 0:
		o.oldestMs.Store(reports[0].closedMs)
	case o.rows.Load() == 0:
		o.oldestMs.Store(0)
	}
	return reports, err
}

// unknown are the events of reports that have to be appended.
func (s *sender) unknown(reports []report) (events []*thinevent.Event, err error) {
	now := s.cfg.Now().UnixMilli()
	for i := range reports {
		r := &reports[i]
		if tooOld(r.endMs, now) {
			s.p.counts.reports[reportTooOld].Add(1)
			continue
		}
		e := thinevent.NewReport(r.report(s.p.number), r.closedMs)
		through, found, err := s.cfg.Events.Reported(e.ID)
		if err != nil {
			return nil, err
		}
		if found {
			s.p.counts.reports[reportRepeated].Add(1)
			s.compare(e.ID, r.through, through)
			continue
		}
		events = append(events, e)
	}
	return events, nil
}

// compare tells when a report counts other records than we would have counted. See docs/adr/0031 for when that can be.
func (s *sender) compare(id string, ours, known int64) {
	if ours != known {
		s.p.disagrees(id, ours, known)
	}
}

func (p *partition) disagrees(id string, ours, known int64) {
	p.counts.reports[reportDisagrees].Add(1)
	p.cfg.Notify(Notice{What: Disagrees, Partition: p.number, Detail: fmt.Sprintf("event %s counts up to offset %d, and up to %d was to be reported", id, known, ours)})
}

// erase takes out what is in the topic.
func (s *sender) erase(reports []report) error {
	err := s.p.store.Write(pebble.NoSync, func(batch *pebble.Batch) error {
		for i := range reports {
			if err := batch.Delete(reports[i].key, nil); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	for i := range reports {
		s.p.outbox.note(reports[i].bytes, -1)
	}
	return nil
}

package usage

import (
	"encoding/binary"
	"math"

	"tollgate/pkg/meterevent"
	"tollgate/pkg/thinevent"
)

// samplesMax is how many events a part shows for each code.
const samplesMax = 10

// subject is what a report is about: a meter, or without one all names of a business and mode that no meter has. So a
// flood of names is one report.
type subject struct {
	business string
	livemode bool
	meter    string
}

// part is what was refused of a subject from one record on until its window closes. It is in one of three conditions:
// nothing was counted yet (through is 0); records below until are passed over, since an event counts them already; or it
// counts.
type part struct {
	subject
	startMs, endMs int64 // of the window it began in, and of the one it was last added to
	first, through int64 // offset of its first record, and behind its last
	until          int64
	codes          [len(reasons)]errorCount

	open   bool // in partition.parts
	dirty  bool // another than in the store
	stored bool // in the store, or about to be
}

// untilWindowEnds is of a part whose window is too old to be reported.
const untilWindowEnds = math.MaxInt64

// errorCount is how often a code came up in a part, with the first events it came up for.
type errorCount struct {
	count   int64
	samples []sample
}

type sample struct{ message, identifier string }

func (e *errorCount) sample(message string, identifier []byte) {
	if len(e.samples) < samplesMax {
		e.samples = append(e.samples, sample{message, string(identifier)})
	}
}

// add adds what the records behind it came to.
func (pt *part) add(later *part) {
	pt.through, pt.endMs = later.through, later.endMs
	for i := range pt.codes {
		to, from := &pt.codes[i], &later.codes[i]
		to.count += from.count
		to.samples = append(to.samples, from.samples[:min(len(from.samples), samplesMax-len(to.samples))]...)
	}
}

// count is the number of events in it.
func (pt *part) count() (n int64) {
	for i := range pt.codes {
		n += pt.codes[i].count
	}
	return n
}

// report is what a part says. Its id follows from all but what was counted.
func (pt *part) report(partition int32) *thinevent.Report {
	r := &thinevent.Report{
		Business: pt.business, Livemode: pt.livemode, MeterID: pt.meter, StartMs: pt.startMs, EndMs: pt.endMs,
		Source: thinevent.Source{Partition: partition, First: pt.first, Through: pt.through},
	}
	for i := range pt.codes {
		e := &pt.codes[i]
		if e.count == 0 {
			continue
		}
		c := thinevent.CodeErrors{Code: string(reasons[i]), Count: e.count}
		for _, s := range e.samples {
			c.Samples = append(c.Samples, thinevent.Sample{Message: s.message, Identifier: s.identifier})
		}
		r.Codes = append(r.Codes, c)
	}
	return r
}

// id is the report's.
func (pt *part) id(partition int32) string {
	return thinevent.ReportID(&thinevent.Report{
		Business: pt.business, Livemode: pt.livemode, MeterID: pt.meter, StartMs: pt.startMs,
		Source: thinevent.Source{Partition: partition, First: pt.first},
	})
}

// appendPart is the key of an open part.
func appendPart(dst []byte, partition int32, s *subject) []byte {
	return s.append(appendTable(dst, partition, tableParts))
}

// appendReport is the key of a closed one: they are sent in the order in which they were closed.
func appendReport(dst []byte, partition int32, closedAt int64, s *subject) []byte {
	return s.append(appendU64(appendTable(dst, partition, tableReports), closedAt))
}

func (s *subject) append(dst []byte) []byte {
	mode := byte(0)
	if s.livemode {
		mode = 1
	}
	return appendString(append(appendString(dst, s.business), mode), s.meter)
}

func (s *subject) decode(b []byte) (rest []byte, ok bool) {
	business, rest, ok := cutBytes(b)
	if !ok || len(rest) == 0 || rest[0] > 1 {
		return nil, false
	}
	livemode := rest[0] == 1
	meter, rest, ok := cutBytes(rest[1:])
	*s = subject{string(business), livemode, string(meter)}
	return rest, ok
}

// append appends: subject, start, end, first, through, until, and for each code that came up its name, its count, the
// number of samples, and of each its message and identifier.
func (pt *part) append(dst []byte) []byte {
	dst = pt.subject.append(dst)
	for _, n := range []int64{pt.startMs, pt.endMs, pt.first, pt.through, pt.until} {
		dst = appendI64(dst, n)
	}
	for i := range pt.codes {
		e := &pt.codes[i]
		if e.count == 0 {
			continue
		}
		dst = binary.AppendUvarint(appendString(dst, string(reasons[i])), uint64(e.count))
		dst = binary.AppendUvarint(dst, uint64(len(e.samples)))
		for _, s := range e.samples {
			dst = appendString(appendString(dst, s.message), s.identifier)
		}
	}
	return dst
}

func (pt *part) decode(b []byte) error {
	const numbers = 5
	rest, ok := pt.subject.decode(b)
	if !ok || len(rest) < 8*numbers {
		return errRow
	}
	for i, n := range []*int64{&pt.startMs, &pt.endMs, &pt.first, &pt.through, &pt.until} {
		*n = i64At(rest[8*i:])
	}
	for rest = rest[8*numbers:]; len(rest) > 0; {
		if rest, ok = pt.decodeCode(rest); !ok {
			return errRow
		}
	}
	return nil
}

func (pt *part) decodeCode(b []byte) (rest []byte, ok bool) {
	code, b, ok := cutBytes(b)
	n, known := reasonNumbers[meterevent.Reason(code)]
	if !ok || !known {
		return nil, false
	}
	e := &pt.codes[n]
	count, used := binary.Uvarint(b)
	if used <= 0 {
		return nil, false
	}
	b = b[used:]
	samples, used := binary.Uvarint(b)
	if used <= 0 || samples > samplesMax {
		return nil, false
	}
	b = b[used:]
	e.count = int64(count)
	for range samples {
		message, rest, ok1 := cutBytes(b)
		identifier, rest, ok2 := cutBytes(rest)
		if !ok1 || !ok2 {
			return nil, false
		}
		e.samples, b = append(e.samples, sample{string(message), string(identifier)}), rest
	}
	return b, true
}

// reasonNumbers finds a reason's number by its name, where the name is not known to be one.
var reasonNumbers = func() map[meterevent.Reason]uint8 {
	numbers := make(map[meterevent.Reason]uint8, len(reasons))
	for i, reason := range reasons {
		numbers[reason] = uint8(i)
	}
	return numbers
}()

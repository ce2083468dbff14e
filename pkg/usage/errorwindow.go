package usage

import (
	"encoding/binary"
	"io"

	"tollgate/pkg/meterevent"
)

// samplesMax is how many events an error window shows for each code.
const samplesMax = 10

// sample is one refused event of an error window.
type sample struct {
	atMs       int64 // receipt
	identifier []byte
	message    string
}

// errorCount is how often a code came up in a window, with the first events it came up for.
type errorCount struct {
	count   int64
	samples []sample
}

// append appends: count, number of samples, samples; a sample is time, identifier, message.
func (e *errorCount) append(dst []byte) []byte {
	dst = binary.AppendUvarint(dst, uint64(e.count))
	dst = binary.AppendUvarint(dst, uint64(len(e.samples)))
	for i := range e.samples {
		s := &e.samples[i]
		dst = appendString(appendBytes(appendI64(dst, s.atMs), s.identifier), s.message)
	}
	return dst
}

func (e *errorCount) decode(b []byte) error {
	count, n := binary.Uvarint(b)
	if n <= 0 {
		return errRow
	}
	b = b[n:]
	samples, n := binary.Uvarint(b)
	if n <= 0 || samples > samplesMax {
		return errRow
	}
	b = b[n:]
	e.count, e.samples = int64(count), e.samples[:0]
	for range samples {
		if len(b) < 8 {
			return errRow
		}
		s := sample{atMs: i64At(b)}
		identifier, rest, ok1 := cutBytes(b[8:])
		message, rest, ok2 := cutBytes(rest)
		if !ok1 || !ok2 {
			return errRow
		}
		s.identifier, s.message = append([]byte(nil), identifier...), string(message)
		e.samples, b = append(e.samples, s), rest
	}
	return nil
}

// errorsMerger keeps the first samples of all.
type errorsMerger struct{ errorCount }

func (m *errorsMerger) MergeNewer(value []byte) error {
	var e errorCount
	if err := e.decode(value); err != nil {
		return err
	}
	m.count += e.count
	m.samples = append(m.samples, e.samples[:min(len(e.samples), samplesMax-len(m.samples))]...)
	return nil
}

func (m *errorsMerger) MergeOlder(value []byte) error {
	var e errorCount
	if err := e.decode(value); err != nil {
		return err
	}
	m.count += e.count
	e.samples = append(e.samples, m.samples[:min(len(m.samples), samplesMax-len(e.samples))]...)
	m.samples = e.samples
	return nil
}

func (m *errorsMerger) Finish(bool) ([]byte, io.Closer, error) { return m.append(nil), nil, nil }

// errorKey is a window's code for a meter, or for an event name without one.
func appendErrorKey(dst []byte, partition int32, window int64, s *Scope, subject string, reason meterevent.Reason) []byte {
	dst = appendI32(appendTable(dst, partition, tableErrors), window)
	dst = appendString(dst, s.Business)
	mode := byte(0)
	if s.Livemode {
		mode = 1
	}
	return appendString(appendString(append(dst, mode), subject), string(reason))
}

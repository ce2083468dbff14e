package usage

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/cockroachdb/pebble/v2"

	"tollgate/pkg/meterevent"
)

// merger adds up what flushes bring. Its result does not depend on how operands were grouped, so the bytes of the
// state do not depend on when it was flushed.
var merger = &pebble.Merger{Name: "tollgate.usage.1", Merge: func(key, value []byte) (pebble.ValueMerger, error) {
	if len(key) < tableKeyBytes {
		return nil, fmt.Errorf("usage: key %x is not merged", key)
	}
	switch key[tableAt] {
	case tableMinutes, tableHours:
		m := new(totalMerger)
		return m, m.MergeNewer(value)
	case tableSurvivors:
		m := new(survivorMerger)
		return m, m.MergeNewer(value)
	}
	return nil, fmt.Errorf("usage: key %x is not merged", key)
}}

var errRow = errors.New("usage: a row of the state is not what it should be")

// total is a sum with the number of its events.
type total struct {
	count int64
	sum   meterevent.Decimal
}

func (t *total) add(o *total) {
	t.count += o.count
	t.sum.Add(&o.sum)
}

// append appends: count as a varint, sum in its binary form.
func (t *total) append(dst []byte) []byte {
	return t.sum.AppendBinary(binary.AppendVarint(dst, t.count))
}

func (t *total) decode(b []byte) error {
	count, n := binary.Varint(b)
	if n <= 0 {
		return errRow
	}
	rest, err := t.sum.Decode(b[n:])
	if err != nil || len(rest) != 0 {
		return errRow
	}
	t.count = count
	return nil
}

type totalMerger struct{ total }

func (m *totalMerger) MergeNewer(value []byte) error {
	var t total
	if err := t.decode(value); err != nil {
		return err
	}
	m.add(&t)
	return nil
}

func (m *totalMerger) MergeOlder(value []byte) error { return m.MergeNewer(value) }

func (m *totalMerger) Finish(bool) ([]byte, io.Closer, error) { return m.append(nil), nil, nil }

// kept is one event of a meter whose events replace one another.
type kept struct {
	timeMs  int64 // of the event
	offset  int64
	clockMs int64 // of the partition when it was received
	value   meterevent.Decimal
}

// newer orders events as they replace one another: by their time, then by their place in the log.
func (k *kept) newer(o *kept) bool {
	return k.timeMs > o.timeMs || k.timeMs == o.timeMs && k.offset > o.offset
}

// appendValue appends what an event's key does not say.
func (k *kept) appendValue(dst []byte) []byte { return k.value.AppendBinary(appendI64(dst, k.clockMs)) }

func (k *kept) decodeValue(b []byte) error {
	if len(b) < 8 {
		return errRow
	}
	k.clockMs = i64At(b)
	rest, err := k.value.Decode(b[8:])
	if err != nil || len(rest) != 0 {
		return errRow
	}
	return nil
}

func (k *kept) append(dst []byte) []byte {
	return k.appendValue(appendU64(appendI64(dst, k.timeMs), k.offset))
}

func (k *kept) decode(b []byte) error {
	if len(b) < 16 {
		return errRow
	}
	k.timeMs, k.offset = i64At(b), u64At(b[8:])
	return k.decodeValue(b[16:])
}

type survivorMerger struct {
	kept
	any bool
}

func (m *survivorMerger) MergeNewer(value []byte) error {
	var k kept
	if err := k.decode(value); err != nil {
		return err
	}
	if !m.any || k.newer(&m.kept) {
		m.kept, m.any = k, true
	}
	return nil
}

func (m *survivorMerger) MergeOlder(value []byte) error { return m.MergeNewer(value) }

func (m *survivorMerger) Finish(bool) ([]byte, io.Closer, error) { return m.append(nil), nil, nil }

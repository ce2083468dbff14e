// Package ledger is the memory of what a load sent and what it was told about each event: the one side of the
// comparison whose other side is the log.
//
// A lane is one sender. It numbers its events from 0 in the order in which it sends them, each once, and puts lane and
// number into the event's identifier. What is kept is runs: so many events acknowledged, so many refused, and so on. A
// quiet run of 100 M events is a few bytes a lane, and one in which every other request fails two bytes a request.
//
// A Lane belongs to one goroutine until the load has ended. The file:
//
//	"tgledger1\n"  run uint32  lanes uint32  { bytes uvarint  { events<<2 | outcome  uvarint }… }…  CRC-32C of all before
//
// with fixed numbers big-endian. It is written at the end of a load: a load that is killed leaves none.
package ledger

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"iter"
	"os"
)

// Outcome is what a sender knows about an event.
type Outcome uint8

const (
	// Acked: answered by 200, so it must be in the log.
	Acked Outcome = iota
	// Refused: answered by a status that says it was not stored.
	Refused
	// Unknown: no answer, or one that promises nothing; it may be in the log.
	Unknown
	outcomes
)

// Lane is what one sender sent. The zero value is an empty one.
type Lane struct {
	runs  []byte // closed runs, as in the file
	open  uint64 // events of the run that is still growing
	last  Outcome
	sent  uint64
	acked uint64
}

// Add notes the outcome of the next events of the lane.
func (l *Lane) Add(o Outcome, events int) {
	if o != l.last && l.open > 0 {
		l.close()
	}
	l.last = o
	l.open += uint64(events)
	l.sent += uint64(events)
	if o == Acked {
		l.acked += uint64(events)
	}
}

func (l *Lane) close() {
	l.runs = binary.AppendUvarint(l.runs, l.open<<2|uint64(l.last))
	l.open = 0
}

// Sent is the number of events so far, and the sequence number of the next; Acked is how many were acknowledged.
func (l *Lane) Sent() uint64  { return l.sent }
func (l *Lane) Acked() uint64 { return l.acked }

// Run is a number of consecutive events with one outcome.
type Run struct {
	First, Events uint64
	Outcome       Outcome
}

// Runs yields the lane's runs in order of their sequence numbers.
func (l *Lane) Runs() iter.Seq[Run] {
	return func(yield func(Run) bool) {
		next := uint64(0)
		for rest := l.runs; len(rest) > 0; {
			v, n := binary.Uvarint(rest)
			rest = rest[n:]
			if !yield(Run{next, v >> 2, Outcome(v & 3)}) {
				return
			}
			next += v >> 2
		}
		if l.open > 0 {
			yield(Run{next, l.open, l.last})
		}
	}
}

// Ledger is what a whole load sent.
type Ledger struct {
	Run   uint32
	Lanes []*Lane
}

const magic = "tgledger1\n"

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Save writes the ledger to a file that did not exist or is replaced.
func (l *Ledger) Save(file string) error {
	b := append([]byte(nil), magic...)
	b = binary.BigEndian.AppendUint32(b, l.Run)
	b = binary.BigEndian.AppendUint32(b, uint32(len(l.Lanes)))
	for _, lane := range l.Lanes {
		if lane.open > 0 {
			lane.close()
		}
		b = binary.AppendUvarint(b, uint64(len(lane.runs)))
		b = append(b, lane.runs...)
	}
	b = binary.BigEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
	return os.WriteFile(file, b, 0o644)
}

// Open reads a ledger that Save wrote.
func Open(file string) (*Ledger, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	l, err := parse(b)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return l, nil
}

func parse(b []byte) (*Ledger, error) {
	if !bytes.HasPrefix(b, []byte(magic)) || len(b) < len(magic)+12 {
		return nil, errors.New("this is not a ledger")
	}
	body := b[:len(b)-4]
	if crc32.Checksum(body, castagnoli) != binary.BigEndian.Uint32(b[len(body):]) {
		return nil, errors.New("the ledger is damaged: its checksum is wrong")
	}
	l := &Ledger{Run: binary.BigEndian.Uint32(body[len(magic):])}
	lanes := binary.BigEndian.Uint32(body[len(magic)+4:])
	rest := body[len(magic)+8:]
	for range lanes {
		size, n := binary.Uvarint(rest)
		if n <= 0 || size > uint64(len(rest)-n) {
			return nil, errors.New("the ledger is damaged: a lane is cut short")
		}
		lane, err := parseLane(rest[n : n+int(size)])
		if err != nil {
			return nil, err
		}
		l.Lanes = append(l.Lanes, lane)
		rest = rest[n+int(size):]
	}
	return l, nil
}

func parseLane(runs []byte) (*Lane, error) {
	lane := &Lane{runs: runs}
	for rest := runs; len(rest) > 0; {
		v, n := binary.Uvarint(rest)
		if n <= 0 || Outcome(v&3) >= outcomes {
			return nil, errors.New("the ledger is damaged: a run can not be read")
		}
		rest = rest[n:]
		lane.sent += v >> 2
		if Outcome(v&3) == Acked {
			lane.acked += v >> 2
		}
	}
	if lane.sent > SequenceMax {
		return nil, errors.New("the ledger is damaged: a lane is longer than its sequence numbers reach")
	}
	return lane, nil
}

package recordbatch

import (
	"encoding/binary"
	"math"
)

// Record is one record of a batch. Its slices are views; see Scanner. A nil Key or Value is null.
type Record struct {
	Offset      int64
	TimestampMs int64
	Key, Value  []byte
	Headers     []HeaderKV
}

// HeaderKV is one of a record's headers.
type HeaderKV struct{ Key, Value []byte }

// Scanner walks over the records of a batch:
//
//	err := s.Reset(batch, decompressedMax)
//	for s.Next() {
//		use(s.Record())
//	}
//	err = s.Err() // Reset's error too, so that one of the two checks will do
//
// A record's views are valid until the next Reset, and as long as the batch's bytes stay as they are. The scanner
// keeps the buffer it decompresses into.
type Scanner struct {
	header   Header
	rest     []byte
	scratch  []byte
	record   Record
	headers  []HeaderKV // of all records so far: a record's views its own part
	scanned  int32
	previous int32 // offset delta of the last record
	err      error
}

// Reset starts on the batch at the start of b. It checks framing, not the CRC: Verify does. A compressed batch is
// decompressed at once, into at most decompressedMax bytes; the error is ErrTooLarge when that is not enough.
func (s *Scanner) Reset(b []byte, decompressedMax int) error {
	*s = Scanner{scratch: s.scratch, headers: s.headers[:0], previous: -1}
	if s.header, s.err = ParseHeader(b); s.err != nil {
		return s.err
	}
	s.rest = b[HeaderBytes:s.header.Length]
	if codec := s.header.Codec(); codec != None {
		s.scratch, s.err = decompress(s.scratch[:0], s.rest, codec, decompressedMax)
		s.rest = s.scratch
	}
	return s.err
}

// Header is the header of the batch.
func (s *Scanner) Header() Header { return s.header }

// Record is the record that Next went to.
func (s *Scanner) Record() Record { return s.record }

// Err is the fault that ended the scan, nil at a sound end.
func (s *Scanner) Err() error { return s.err }

// Next goes to the next record. False at the end and at the first fault.
func (s *Scanner) Next() bool {
	if s.err != nil {
		return false
	}
	if s.scanned == s.header.Records {
		if len(s.rest) != 0 {
			s.err = corrupt("%d bytes behind the last record", len(s.rest))
		}
		return false
	}
	f := fields{rest: s.rest}
	record := f.bytes(f.length())
	if f.bad {
		s.err = corrupt("record %d of %d does not fit", s.scanned, s.header.Records)
		return false
	}
	s.rest = f.rest
	s.parse(fields{rest: record})
	s.scanned++
	return s.err == nil
}

// parse reads one record, whose bytes f holds.
func (s *Scanner) parse(f fields) {
	f.bytes(1) // attributes: none are defined
	timestampDelta, offsetDelta := f.varint(), f.varint()
	s.record = Record{TimestampMs: s.header.BaseTimestamp + timestampDelta, Key: f.field(), Value: f.field()}
	count := f.length()
	if count > len(f.rest)/2 { // a header is two lengths at least
		f.bad = true
	}
	first := len(s.headers)
	for range count {
		if f.bad {
			break
		}
		s.headers = append(s.headers, HeaderKV{Key: f.field(), Value: f.field()})
	}
	if f.bad || len(f.rest) != 0 {
		s.err = corrupt("record %d is malformed", s.scanned)
		return
	}
	if offsetDelta <= int64(s.previous) || offsetDelta > int64(s.header.LastOffsetDelta) {
		s.err = corrupt("record %d has offset delta %d after %d, the last is %d",
			s.scanned, offsetDelta, s.previous, s.header.LastOffsetDelta)
		return
	}
	s.previous = int32(offsetDelta)
	s.record.Offset = s.header.BaseOffset + offsetDelta
	if end := len(s.headers); end > first {
		s.record.Headers = s.headers[first:end:end]
	}
	if s.header.Attributes&attrLogAppendTime != 0 {
		s.record.TimestampMs = s.header.MaxTimestamp
	}
}

// fields reads a record's fields one after the other; bad stays set once one did not fit, and every read after it
// gives nothing.
type fields struct {
	rest []byte
	bad  bool
}

func (f *fields) varint() int64 {
	v, n := binary.Varint(f.rest)
	if n <= 0 || f.bad {
		f.bad = true
		return 0
	}
	f.rest = f.rest[n:]
	return v
}

// length reads a length or count that can not be null.
func (f *fields) length() int {
	v := f.varint()
	if v < 0 || v > math.MaxInt32 {
		f.bad = true
		return 0
	}
	return int(v)
}

// field reads a length and as many bytes; nil for a null.
func (f *fields) field() []byte {
	v := f.varint()
	if v == -1 {
		return nil
	}
	if v < 0 || v > int64(len(f.rest)) {
		f.bad = true
		return nil
	}
	return f.bytes(int(v))
}

func (f *fields) bytes(n int) []byte {
	if f.bad || n > len(f.rest) {
		f.bad = true
		return nil
	}
	b := f.rest[:n:n]
	f.rest = f.rest[n:]
	return b
}

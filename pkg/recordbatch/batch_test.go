package recordbatch

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
)

// sample is one record to build.
type sample struct {
	timestamp  int64
	key, value []byte
}

// samples makes records of all kinds of lengths, nulls and timestamps that go back and forth.
func samples(seed uint64, n int) []sample {
	dice := rand.New(rand.NewPCG(seed, 0))
	field := func() []byte {
		switch dice.IntN(8) {
		case 0:
			return nil
		case 1:
			return []byte{}
		case 2:
			return bytes.Repeat([]byte{byte(dice.Uint32())}, 60+dice.IntN(10)) // around one varint byte
		}
		b := make([]byte, dice.IntN(300))
		for i := range b {
			b[i] = byte(dice.IntN(5)) // compressible
		}
		return b
	}
	records := make([]sample, n)
	for i := range records {
		records[i] = sample{1_700_000_000_000 + dice.Int64N(1<<uint(dice.IntN(40))) - 1<<20, field(), field()}
	}
	return records
}

func build(records []sample) []byte {
	var b Builder
	b.Reset(nil)
	for _, r := range records {
		b.Append(r.timestamp, AppendBody(nil, r.key, r.value))
	}
	batch := b.Seal()
	Stamp(batch, NoProducer)
	return batch
}

// scan returns a batch's records, copied.
func scan(batch []byte, decompressedMax int) (records []Record, err error) {
	var s Scanner
	_ = s.Reset(batch, decompressedMax)
	for s.Next() {
		records = append(records, s.Record())
	}
	return records, s.Err()
}

func wantRecords(t testing.TB, got []Record, want []sample, base int64) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%d records, want %d", len(got), len(want))
	}
	for i, w := range want {
		g := got[i]
		same := bytes.Equal(g.Key, w.key) && bytes.Equal(g.Value, w.value) && (g.Key == nil) == (w.key == nil) && (g.Value == nil) == (w.value == nil)
		if !same || g.TimestampMs != w.timestamp || g.Offset != base+int64(i) || g.Headers != nil {
			t.Fatalf("record %d: %+v, want %+v", i, g, w)
		}
	}
}

func TestWhatIsBuiltIsScanned(t *testing.T) {
	for seed := range uint64(300) {
		want := samples(seed, 1+int(seed))
		batch := build(want)
		for _, codec := range []Codec{None, LZ4, Zstd} {
			compressed, err := Compress(nil, batch, codec)
			if err != nil {
				t.Fatal(err)
			}
			Stamp(compressed, Producer{ID: 7, Epoch: 1, Sequence: 3})
			SetBase(compressed, 1000, 5)
			h, err := Verify(compressed)
			if err != nil {
				t.Fatalf("seed %d, %v: %v", seed, codec, err)
			}
			wantHeader(t, h, want, codec, len(compressed))
			got, err := scan(compressed, 1<<20)
			if err != nil {
				t.Fatalf("seed %d, %v: %v", seed, codec, err)
			}
			wantRecords(t, got, want, 1000)
		}
	}
}

func wantHeader(t *testing.T, h Header, want []sample, codec Codec, length int) {
	t.Helper()
	latest := int64(math.MinInt64)
	for _, r := range want {
		latest = max(latest, r.timestamp)
	}
	n := int32(len(want))
	if h.Length != int32(length) || h.Records != n || h.LastOffsetDelta != n-1 || h.NextOffset() != 1000+int64(n) ||
		h.BaseTimestamp != want[0].timestamp || h.MaxTimestamp != latest || h.Codec() != codec || h.LeaderEpoch != 5 ||
		h.Producer != (Producer{7, 1, 3}) || h.Control() {
		t.Fatalf("header %+v of %d records, %d bytes", h, n, length)
	}
}

func TestRecordBytesMaxIsABound(t *testing.T) {
	var b Builder
	b.Reset(nil)
	for i, timestamp := range []int64{0, 1, -1, math.MaxInt64 / 2, math.MinInt64 / 2, 0} {
		body := AppendBody(nil, nil, bytes.Repeat([]byte("x"), i*i*100))
		before := b.Len()
		b.Append(timestamp, body)
		if grown := b.Len() - before; grown > RecordBytesMax(len(body)) {
			t.Errorf("a body of %d bytes at %d took %d, more than %d", len(body), timestamp, grown, RecordBytesMax(len(body)))
		}
	}
}

// A flip outside the CRC's region is framing, which ParseHeader may or may not notice; inside, Verify must.
func TestVerifyNoticesEachFlippedBitThatTheCRCCovers(t *testing.T) {
	pristine := build(samples(4, 20))
	for bit := posCRC * 8; bit < len(pristine)*8; bit++ {
		b := bytes.Clone(pristine)
		b[bit/8] ^= 1 << (bit % 8)
		if _, err := Verify(b); err == nil {
			t.Fatalf("bit %d of byte %d flipped, and nothing noticed", bit%8, bit/8)
		}
	}
}

func TestEachPrefixOfABatchIsShort(t *testing.T) {
	batch := build(samples(5, 3))
	for n := range len(batch) {
		h, err := ParseHeader(batch[:n])
		if !errors.Is(err, ErrShort) {
			t.Fatalf("%d of %d bytes: %v", n, len(batch), err)
		}
		if known := n >= HeaderBytes; known != (h.Length == int32(len(batch))) {
			t.Fatalf("%d of %d bytes: length %d", n, len(batch), h.Length)
		}
	}
	if _, err := Verify(append(batch, "and more"...)); err != nil {
		t.Fatal(err)
	}
}

func TestHeadersThatContradictThemselvesAreCorrupt(t *testing.T) {
	f := func(name string, change func(b []byte)) {
		t.Helper()
		b := build(samples(6, 3))
		change(b)
		corrupt := new(CorruptError)
		if _, err := ParseHeader(b); !errors.As(err, &corrupt) {
			t.Errorf("%s: %v", name, err)
		}
	}
	put32 := binary.BigEndian.PutUint32
	f("magic 1", func(b []byte) { b[posMagic] = 1 })
	f("negative length", func(b []byte) { put32(b[posLength:], 1<<31) })
	f("length below a header", func(b []byte) { put32(b[posLength:], HeaderBytes-lengthBehind-1) })
	f("length beyond int32", func(b []byte) { put32(b[posLength:], math.MaxInt32) })
	f("negative base offset", func(b []byte) { b[posBaseOffset] = 0x80 })
	f("base offset at the end of the numbers", func(b []byte) { SetBase(b, math.MaxInt64, 0) })
	f("negative last offset delta", func(b []byte) { put32(b[posLastDelta:], 1<<31) })
	f("negative records", func(b []byte) { put32(b[posRecords:], 1<<31) })
	f("more records than offsets", func(b []byte) { put32(b[posRecords:], 4) })
	f("more records than bytes", func(b []byte) { put32(b[posRecords:], 1<<20); put32(b[posLastDelta:], 1<<20) })
	f("codec 5", func(b []byte) { b[posAttributes+1] = 5 })
}

func TestRecordsThatDoNotFitAreCorrupt(t *testing.T) {
	f := func(name, record string, records uint32) {
		t.Helper()
		b := append(build(samples(7, 1))[:HeaderBytes], record...)
		binary.BigEndian.PutUint32(b[posLength:], uint32(len(b)-lengthBehind))
		binary.BigEndian.PutUint32(b[posRecords:], records)
		binary.BigEndian.PutUint32(b[posLastDelta:], max(records, 1)-1)
		corrupt := new(CorruptError)
		if _, err := scan(b, 1<<20); !errors.As(err, &corrupt) {
			t.Errorf("%s: %v", name, err)
		}
	}
	const sound = "\x0c\x00\x00\x00\x01\x01\x00" // 6 bytes: attributes, +0 ms, +0, null, null, no headers
	f("longer than the batch", "\x0e\x00\x00\x00\x01\x01\x00", 1)
	f("negative length", "\x0b\x00\x00\x00\x01\x01\x00", 1)
	f("bytes behind the last", sound+"x", 1)
	f("the same offset twice", sound+sound, 2)
	f("an offset beyond the last", "\x0c\x00\x00\x02\x01\x01\x00", 1)
	f("a key longer than the record", "\x0c\x00\x00\x00\x08\x01\x00", 1)
	f("a key of length -2", "\x0c\x00\x00\x00\x03\x01\x00", 1)
	f("bytes behind the headers", "\x0e\x00\x00\x00\x01\x01\x00\x00", 1)
	f("more headers than bytes", "\x0c\x00\x00\x00\x01\x01\x7e", 1)
	f("a varint without end", "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", 1)
}

func TestABombIsRefusedBeforeItExpands(t *testing.T) {
	var b Builder
	b.Reset(nil)
	zeros := make([]byte, 1<<20)
	for range 64 {
		b.Append(0, AppendBody(nil, nil, zeros))
	}
	plain := b.Seal()
	for _, codec := range []Codec{LZ4, Zstd} {
		bomb, err := Compress(nil, plain, codec)
		if err != nil {
			t.Fatal(err)
		}
		const most = 1 << 20
		var s Scanner
		if err := s.Reset(bomb, most); !errors.Is(err, ErrTooLarge) || s.Next() {
			t.Errorf("%v: %d bytes expand: %v", codec, len(bomb), err)
		}
		if cap(s.scratch) > most+1 {
			t.Errorf("%v: %d bytes of memory for a cap of %d", codec, cap(s.scratch), most)
		}
		if err := s.Reset(bomb, len(plain)); err != nil || !s.Next() {
			t.Errorf("%v: a cap that is just enough: %v", codec, err)
		}
		if err := s.Reset(bomb, len(plain)-HeaderBytes-1); !errors.Is(err, ErrTooLarge) {
			t.Errorf("%v: a cap that is one too small: %v", codec, err)
		}
	}
}

func TestWhatDoesNotShrinkStaysReadable(t *testing.T) {
	noise := make([]byte, 200_000)
	dice := rand.New(rand.NewPCG(1, 1))
	for i := range noise {
		noise[i] = byte(dice.Uint32())
	}
	want := []sample{{1, nil, noise}}
	for _, codec := range []Codec{LZ4, Zstd} {
		batch, err := Compress(nil, build(want), codec)
		if err != nil {
			t.Fatal(err)
		}
		got, err := scan(batch, 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		wantRecords(t, got, want, 0)
	}
}

func TestCompressRefusesWhatItCanNotDo(t *testing.T) {
	batch := build(samples(8, 2))
	for _, codec := range []Codec{1, 2, 5} {
		if _, err := Compress(nil, batch, codec); err == nil {
			t.Errorf("%v: no error", codec)
		}
	}
	zipped, err := Compress(nil, batch, LZ4)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Compress(nil, zipped, LZ4); err == nil {
		t.Error("compressed twice")
	}
	if _, err := Compress(nil, batch[:10], None); err == nil {
		t.Error("not a batch")
	}
}

func TestCodecNames(t *testing.T) {
	for _, name := range []string{"none", "lz4", "zstd"} {
		if c, err := ParseCodec(name); err != nil || c.String() != name {
			t.Errorf("%q: %v, %v", name, c, err)
		}
	}
	for _, name := range []string{"", "gzip", "snappy", "LZ4"} {
		if _, err := ParseCodec(name); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("%q", name)) {
			t.Errorf("%q: %v", name, err)
		}
	}
	if got := Codec(9).String(); got != "codec 9" {
		t.Error(got)
	}
}

func TestAGapTakesThePlaceOfOffsets(t *testing.T) {
	gap := Gap(100, 50)
	h, err := Verify(gap)
	if err != nil || h.BaseOffset != 100 || h.NextOffset() != 150 || h.Records != 0 {
		t.Fatalf("%+v, %v", h, err)
	}
	if got, err := scan(gap, 0); len(got) != 0 || err != nil {
		t.Fatalf("%v, %v", got, err)
	}
}

func TestMisuseOfABuilderPanics(t *testing.T) {
	f := func(name string, misuse func(b *Builder)) {
		t.Helper()
		defer func() {
			if text := fmt.Sprint(recover()); !strings.HasPrefix(text, "BUG: ") {
				t.Errorf("%s: %s", name, text)
			}
		}()
		misuse(new(Builder))
	}
	f("no reset", func(b *Builder) { b.Append(0, nil) })
	f("empty", func(b *Builder) { b.Reset(nil); b.Seal() })
	f("after seal", func(b *Builder) { b.Reset(nil); b.Append(0, []byte{1, 1, 0}); b.Seal(); b.Append(0, nil) })
}

func TestSteadyStateAllocatesNothing(t *testing.T) {
	body := AppendBody(nil, []byte("acct/test/requests"), bytes.Repeat([]byte("v"), 150))
	buf, zipped := make([]byte, 0, 256<<10), make([]byte, 0, 256<<10)
	var b Builder
	var s Scanner
	round := func(codec Codec) {
		b.Reset(buf)
		for i := range 1000 {
			b.Append(int64(i), body)
		}
		batch := b.Seal()
		if codec != None {
			var err error
			if batch, err = Compress(zipped, batch, codec); err != nil {
				t.Fatal(err)
			}
		}
		Stamp(batch, NoProducer)
		SetBase(batch, 7, 0)
		if codec == None {
			_ = s.Reset(batch, 1<<20)
			for s.Next() {
				_ = s.Record()
			}
			if s.Err() != nil {
				t.Fatal(s.Err())
			}
		}
	}
	for _, codec := range []Codec{None, LZ4, Zstd} {
		if n := testing.AllocsPerRun(50, func() { round(codec) }); n > 0.5 { // a pool may be emptied by the collector
			t.Errorf("%v: %v allocations a batch", codec, n)
		}
	}
}

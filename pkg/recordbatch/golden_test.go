package recordbatch

import (
	"bytes"
	"encoding/hex"
	"strings"
	"testing"
)

// goldenBatch is a batch of two records, written by hand field by field and checked against Kafka's DumpLogSegments.
const goldenBatch = `
	00000000 00000000   base offset 0
	00000042            batch length 66
	ffffffff            leader epoch -1
	02                  magic
	........            CRC, see the test
	0000                attributes
	00000001            last offset delta
	00000000 000003e8   base timestamp 1000
	00000000 000003ed   max timestamp 1005
	ffffffff ffffffff   producer id -1
	ffff                producer epoch -1
	ffffffff            sequence -1
	00000002            records
	12 00 00 00  02 6b  04 7631  00   9 bytes: attributes, +0 ms, +0, "k", "v1", no headers
	0c 00 0a 02  01  00  00           6 bytes: attributes, +5 ms, +1, null, "", no headers
`

// golden turns the drawing above into bytes: the hex digits at the start of each line.
func golden(t *testing.T, drawing, crc string) []byte {
	t.Helper()
	var digits strings.Builder
	for line := range strings.Lines(drawing) {
		line, _, _ = strings.Cut(strings.TrimSpace(line), "   ")
		digits.WriteString(strings.ReplaceAll(line, " ", ""))
	}
	b, err := hex.DecodeString(strings.Replace(digits.String(), "........", crc, 1))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestBuilderWritesTheGoldenBatch(t *testing.T) {
	var b Builder
	b.Reset(nil)
	b.Append(1000, AppendBody(nil, []byte("k"), []byte("v1")))
	b.Append(1005, AppendBody(nil, nil, []byte{}))
	got := b.Seal()
	Stamp(got, NoProducer)
	want := golden(t, goldenBatch, "00000000")
	copy(want[posCRC:], got[posCRC:posAttributes])
	if !bytes.Equal(got, want) {
		t.Errorf("built\n%x, want\n%x", got, want)
	}
}

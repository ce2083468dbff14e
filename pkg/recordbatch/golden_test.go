package recordbatch

import (
	"bytes"
	"encoding/hex"
	"strings"
	"testing"
)

// goldenBatch is a batch of two records, written by hand, field by field.
const goldenBatch = `
	00000000 00000000   base offset 0
	00000042            batch length 66
	ffffffff            leader epoch -1
	02                  magic
	930f5a0d            CRC32C of what follows
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

// golden turns a drawing into bytes: the hex digits at the start of each line.
func golden(t *testing.T, drawing string) []byte {
	t.Helper()
	var digits strings.Builder
	for line := range strings.Lines(drawing) {
		line, _, _ = strings.Cut(strings.TrimSpace(line), "   ")
		digits.WriteString(strings.ReplaceAll(line, " ", ""))
	}
	b, err := hex.DecodeString(digits.String())
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestTheGoldenBatchIsBuiltAndScanned(t *testing.T) {
	records := []sample{{1000, []byte("k"), []byte("v1")}, {1005, nil, []byte{}}}
	want := golden(t, goldenBatch)
	if got := build(records); !bytes.Equal(got, want) {
		t.Errorf("built\n%x, want\n%x", got, want)
	}
	if _, err := Verify(want); err != nil {
		t.Error(err)
	}
	got, err := scan(want, 0)
	if err != nil {
		t.Fatal(err)
	}
	wantRecords(t, got, records, 0)
}

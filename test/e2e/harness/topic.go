package harness

import (
	"bufio"
	"encoding/json"
	"strings"
	"testing"
)

// Record is a record of any topic.
type Record struct {
	Offset int64           `json:"offset"`
	Key    string          `json:"key"`
	Value  json.RawMessage `json:"value"` // null: the key is over
}

// DumpTopic reads the records of a topic from a gateway's journal with `gateway journal dump`; the gateway may run.
func DumpTopic(tb testing.TB, dataDir, topic string) (records []Record) {
	tb.Helper()
	out, errs, code := Command(tb, "journal", "dump", "--data-dir", dataDir, "--topic", topic)
	if code != 0 {
		tb.Fatalf("journal dump: exit %d\n%s", code, tail(errs))
	}
	lines := bufio.NewScanner(strings.NewReader(out))
	lines.Buffer(nil, 4<<20)
	for lines.Scan() {
		var r Record
		if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
			tb.Fatalf("journal dump prints %q: %v", lines.Text(), err)
		}
		records = append(records, r)
	}
	return records
}

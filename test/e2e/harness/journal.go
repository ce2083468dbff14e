package harness

import (
	"bufio"
	"encoding/json"
	"strings"
	"testing"
	"time"
)

// DumpJournal reads the usage records of a stopped gateway's journal with `gateway journal dump`.
func DumpJournal(tb testing.TB, dataDir string) []Event {
	tb.Helper()
	out, errs, code := Command(tb, "journal", "dump", "--data-dir", dataDir, "--topic", "tollgate.usage")
	if code != 0 {
		tb.Fatalf("journal dump: exit %d\n%s", code, tail(errs))
	}
	var events []Event
	lines := bufio.NewScanner(strings.NewReader(out))
	lines.Buffer(nil, 4<<20)
	for lines.Scan() {
		var line struct {
			Partition int             `json:"partition"`
			Offset    int64           `json:"offset"`
			Time      time.Time       `json:"time"`
			Key       string          `json:"key"`
			Value     json.RawMessage `json:"value"`
		}
		if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
			tb.Fatalf("journal dump prints %q: %v", lines.Text(), err)
		}
		e := Event{Partition: line.Partition, Offset: line.Offset, Key: line.Key, RecordMs: line.Time.UnixMilli(), Value: string(line.Value)}
		if err := json.Unmarshal(line.Value, &e); err != nil {
			tb.Fatalf("a usage record is %q: %v", line.Value, err)
		}
		events = append(events, e)
	}
	return events
}

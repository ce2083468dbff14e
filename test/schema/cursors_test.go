package schema

import (
	"os"
	"testing"
)

// pkg/fleet holds the first golden against what it writes.
func TestTheCursorsSchemaAcceptsTheGoldenRecordsAndNoOthers(t *testing.T) {
	text, err := os.ReadFile("../../docs/schema/cursors.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	s, err := Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	each(t, "testdata/cursors_valid.jsonl", func(n int, line []byte) {
		if err := s.Validate(line); err != nil {
			t.Errorf("cursors_valid.jsonl:%d: %v", n, err)
		}
	})
	each(t, "testdata/cursors_invalid.jsonl", func(n int, line []byte) {
		if s.Validate(line) == nil {
			t.Errorf("cursors_invalid.jsonl:%d is accepted: %s", n, line)
		}
	})
}

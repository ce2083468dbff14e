package schema

import (
	"os"
	"testing"
)

func TestTheSchemaOfDeadLettersAcceptsTheGoldenRecordsAndNoOthers(t *testing.T) {
	text, err := os.ReadFile("../../docs/schema/forward_dead.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	s, err := Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	each(t, "testdata/forward_dead_valid.jsonl", func(n int, line []byte) {
		if err := s.Validate(line); err != nil {
			t.Errorf("forward_dead_valid.jsonl:%d: %v", n, err)
		}
	})
	each(t, "testdata/forward_dead_invalid.jsonl", func(n int, line []byte) {
		if s.Validate(line) == nil {
			t.Errorf("forward_dead_invalid.jsonl:%d is accepted: %s", n, line)
		}
	})
}

package schema

import "testing"

// pkg/opened holds the golden against what it writes.
func TestTheSessionsSchemaAcceptsTheGoldenRecordAndNoOthers(t *testing.T) {
	s := published(t, "sessions")
	each(t, "testdata/sessions_valid.jsonl", func(n int, line []byte) {
		if err := s.Validate(line); err != nil {
			t.Errorf("sessions_valid.jsonl:%d: %v", n, err)
		}
	})
	each(t, "testdata/sessions_invalid.jsonl", func(n int, line []byte) {
		if s.Validate(line) == nil {
			t.Errorf("sessions_invalid.jsonl:%d is accepted: %s", n, line)
		}
	})
}

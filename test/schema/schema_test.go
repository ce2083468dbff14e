package schema

import (
	"bytes"
	"encoding/json"
	"os"
	"testing"
)

func usage(t *testing.T) *Schema { return published(t, "usage") }

func published(t *testing.T, topic string) *Schema {
	t.Helper()
	text, err := os.ReadFile("../../docs/schema/" + topic + ".schema.json")
	if err != nil {
		t.Fatal(err)
	}
	s, err := Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func each(t *testing.T, file string, f func(number int, line []byte)) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for line := range bytes.Lines(text) {
		n++
		f(n, line)
	}
}

func TestTheUsageSchemaAcceptsTheGoldenRecords(t *testing.T) {
	s := usage(t)
	each(t, "testdata/valid.jsonl", func(n int, line []byte) {
		if err := s.Validate(line); err != nil {
			t.Errorf("valid.jsonl:%d: %v", n, err)
		}
	})
}

func TestTheUsageSchemaRefusesWhatNoRecordMayBe(t *testing.T) {
	s := usage(t)
	each(t, "testdata/invalid.jsonl", func(n int, line []byte) {
		if s.Validate(line) == nil {
			t.Errorf("invalid.jsonl:%d is accepted: %s", n, line)
		}
	})
}

// The room's own test holds its golden records against what it writes.
func TestTheControlSchemaAcceptsTheGoldenRecords(t *testing.T) {
	s := published(t, "control")
	seen := make(map[string]bool)
	each(t, "../../pkg/control/testdata/records.tsv", func(n int, line []byte) {
		_, value, _ := bytes.Cut(line, []byte("\t"))
		if err := s.Validate(value); err != nil {
			t.Errorf("records.tsv:%d: %v", n, err)
		}
		var record struct{ Object string }
		_ = json.Unmarshal(value, &record)
		seen[record.Object] = true
	})
	if len(seen) != 11 {
		t.Errorf("the golden records are %v", seen)
	}
}

func TestTheControlSchemaRefusesWhatNoRecordMayBe(t *testing.T) {
	s := published(t, "control")
	each(t, "testdata/control_invalid.jsonl", func(n int, line []byte) {
		if s.Validate(line) == nil {
			t.Errorf("control_invalid.jsonl:%d is accepted: %s", n, line)
		}
	})
}

func TestASchemaWithAnUnknownWordIsRefused(t *testing.T) {
	for _, text := range []string{
		`{"format":"date-time"}`,
		`{"$defs":{"a":{"minimum":1}}}`,
		`{"properties":{"a":{"additionalProperties":{"enum":[1]}}}}`,
		`{"oneOf":[{"not":{}}]}`,
		`{"items":{"enum":[1]}}`,
		`[]`,
	} {
		if _, err := Parse([]byte(text)); err == nil {
			t.Errorf("%s is accepted", text)
		}
	}
}

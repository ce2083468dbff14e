package schema

import (
	"bytes"
	"os"
	"testing"
)

func usage(t *testing.T) *Schema {
	t.Helper()
	text, err := os.ReadFile("../../docs/schema/usage.schema.json")
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

func TestASchemaWithAnUnknownWordIsRefused(t *testing.T) {
	for _, text := range []string{
		`{"format":"date-time"}`,
		`{"$defs":{"a":{"minimum":1}}}`,
		`{"properties":{"a":{"additionalProperties":{"enum":[1]}}}}`,
		`{"oneOf":[{"not":{}}]}`,
		`[]`,
	} {
		if _, err := Parse([]byte(text)); err == nil {
			t.Errorf("%s is accepted", text)
		}
	}
}

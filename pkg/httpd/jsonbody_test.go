package httpd

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"

	"tollgate/pkg/stripe"
)

func TestTwoBodiesHaveOneSpellingExactlyWhenTheySayTheSame(t *testing.T) {
	canonical := func(body string) string {
		t.Helper()
		v, err := parseJSON([]byte(body))
		if err != nil {
			t.Fatalf("%s: %v", body, err)
		}
		return string(v.appendCanonical(nil))
	}
	for _, same := range [][2]string{
		{`{}`, ``}, {`{"a":"b","c":["d"]}`, ` { "c" : [ "d" ] , "\u0061" : "b" } `}, {`{"a":{"x":1,"y":null}}`, `{"a":{"y":null,"x":1}}`},
	} {
		if canonical(same[0]) != canonical(same[1]) {
			t.Errorf("%s and %s differ", same[0], same[1])
		}
	}
	seen := map[string]string{}
	for _, body := range []string{
		`{}`, `{"a":{}}`, `{"a":[]}`, `{"a":null}`, `{"a":"null"}`, `{"a":true}`, `{"a":"true"}`, `{"a":1}`, `{"a":"1"}`, `{"a":["1"]}`, `{"a":[["1"]]}`,
		`{"a":["1","2"]}`, `{"a":["2","1"]}`, `{"a":["12"]}`, `{"a":"","b":""}`, `{"a":{"b":""}}`, `{"ab":""}`, `{"b":"a"}`, `{"":"ab"}`, `{"a":[{},{}]}`, `{"a":[{}]}`,
	} {
		text := canonical(body)
		if other, there := seen[text]; there {
			t.Errorf("%s and %s are the same", body, other)
		}
		seen[text] = body
	}
}

func TestAHostileBodyIsRefusedSoon(t *testing.T) {
	for name, body := range map[string]string{
		"deep":     strings.Repeat(`{"a":`, 13_000),
		"deep, ok": `{"a":` + strings.Repeat("[", 9_000) + strings.Repeat("]", 9_000) + "}",
		"wide":     `{"a":[` + strings.Repeat("1,", 32_000) + `1]}`,
		"members":  `{` + strings.Repeat(`"":1,`, 13_000) + `"":1}`,
		"large":    `{"a":"` + strings.Repeat("a", jsonBodyBytesMax) + `"}`,
	} {
		n := testing.AllocsPerRun(1, func() {
			if _, err := parseJSON([]byte(body)); err == nil {
				t.Errorf("%s was taken", name)
			}
		})
		if n > 2000 {
			t.Errorf("%s took %v allocations", name, n)
		}
	}
}

// FuzzJSONBody: what is taken for an object, encoding/json takes too, and what two spellings say is written in one.
func FuzzJSONBody(f *testing.F) {
	for _, seed := range []string{
		`{}`, ``, ` {"a":null,"b":[1,2.5e3,"x",true],"c":{"d":"é\u00e9\ud83d\ude00"}}`, `{"a":1,"a":2}`, `{"a":"\ud800"}`, `[]`, `{"a":1,}`, `{"a":[1 2]}`, `{"a":{]}`, `{"":""}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		v, err := parseJSON(body)
		if err != nil {
			var r *stripe.Error
			if !errors.As(err, &r) || r.Status < 400 || r.Message == "" {
				t.Fatalf("%q is refused by %v", body, err)
			}
			return
		}
		var members map[string]any
		if len(bytes.Trim(body, " \t\r\n")) == 0 {
			body = []byte("{}")
		}
		d := json.NewDecoder(bytes.NewReader(body))
		d.UseNumber()
		if err := d.Decode(&members); err != nil || len(members) != len(v.members) {
			t.Fatalf("%q has %d members and not %d: %v", body, len(v.members), len(members), err)
		}
		if _, err := d.Token(); !errors.Is(err, io.EOF) {
			t.Fatalf("%q has more behind it", body)
		}
		respelt, err := json.Marshal(members)
		if err != nil {
			t.Fatal(err)
		}
		again, err := parseJSON(respelt)
		if err != nil {
			t.Fatalf("%q, from %q: %v", respelt, body, err)
		}
		for name := range members {
			if again.find(name) == nil || again.find(name).value.kind != v.find(name).value.kind {
				t.Fatalf("%q, from %q, has another %q", respelt, body, name)
			}
		}
	})
}

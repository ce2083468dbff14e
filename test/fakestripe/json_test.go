package fakestripe

import (
	"encoding/json"
	"testing"
)

// What is no object by encoding/json is none here, and the other way round but for what is refused on purpose.
func FuzzParseObject(f *testing.F) {
	for _, seed := range []string{
		`{}`, `{"a":"b","c":[1,-2.5e3,true,null,{"d":""}]}`, `{"a":"\u00e9\n\"x"}`, `{"a":1,"a":2}`, `[1]`, `{"a":01}`, `{"a":"b",}`, `{"a" "b"}`,
		`{,}`, `{"a":[1,]}`, `{"a":nul}`, "{\"a\":\"\n\"}", `{"a":"\`, `{"a":"\x"}`, ` { } `, `{} {}`, "{\"a\":\"\xff\"}", `{"a":[[[[[[[[[1]]]]]]]]]}`, ``, `{"a":+1}`, "{}\x00",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		o, err := parseObject(body)
		var want map[string]any
		wantErr := json.Unmarshal(body, &want)
		if err == nil && (wantErr != nil || want == nil) {
			t.Fatalf("%q is taken, and encoding/json says %v", body, wantErr)
		}
		if err != nil {
			return
		}
		if len(o) != len(want) {
			t.Fatalf("%q has %d members, and by encoding/json %d", body, len(o), len(want))
		}
		for _, m := range o {
			if text, ok := m.value.(string); ok && text != want[m.name] {
				t.Fatalf("%q has %q, and by encoding/json %q", body, text, want[m.name])
			}
		}
	})
}

func TestParseObjectTakesWhatItShould(t *testing.T) {
	for text, members := range map[string]int{`{}`: 0, " {\n\"a\" : \"\\u00e9\" , \"b\":[ ] }\t": 2, `{"a":{"b":{}},"c":-1.5e3,"d":null,"e":false}`: 4} {
		if o, err := parseObject([]byte(text)); err != nil || len(o) != members {
			t.Errorf("%s: %v, %v", text, o, err)
		}
	}
	for _, text := range []string{`{"a":1,"a":1}`, `{"a":[[[[[[[[1]]]]]]]]}`, `{"a":"` + "\xff" + `"}`, `[]`, `{}x`} {
		if o, err := parseObject([]byte(text)); err == nil {
			t.Errorf("%s is taken as %v", text, o)
		}
	}
}

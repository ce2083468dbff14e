package tables

import (
	"bytes"
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"
)

func TestRegionsAreReplacedAndTheRestIsKept(t *testing.T) {
	const doc = "# A\r\n<!-- table: one from docs/results/a.json -->\nold\n\nold\n<!-- /table -->\ntext\n" +
		"<!-- table: two from docs/results/b-2.json -->\n<!-- /table -->\nend"
	render := func(name, file string) (string, error) { return "| " + name + " of " + file + " |\n\n", nil }
	got, err := Rewrite([]byte(doc), render)
	const want = "# A\r\n<!-- table: one from docs/results/a.json -->\n| one of docs/results/a.json |\n<!-- /table -->\ntext\n" +
		"<!-- table: two from docs/results/b-2.json -->\n| two of docs/results/b-2.json |\n<!-- /table -->\nend"
	if err != nil || string(got) != want {
		t.Errorf("%q, %v", got, err)
	}
	again, err := Rewrite(got, render)
	if err != nil || !bytes.Equal(again, got) {
		t.Errorf("the second time it is %q, %v", again, err)
	}
	if same, err := Rewrite([]byte("no marks\n"), render); err != nil || string(same) != "no marks\n" {
		t.Errorf("%q, %v", same, err)
	}
}

func TestMarksThatDoNotFitAreErrors(t *testing.T) {
	const begin, end = "<!-- table: one from docs/results/a.json -->\n", "<!-- /table -->\n"
	for _, doc := range []string{
		begin, end, begin + begin + end, begin + end + end,
		"<!-- table: one from ../a.json -->\n" + end, "<!-- table: One -->\n" + end, "<!--table: one from docs/results/a.json -->\n" + end,
	} {
		if got, err := Rewrite([]byte(doc), func(string, string) (string, error) { return "", nil }); err == nil {
			t.Errorf("%q becomes %q", doc, got)
		}
	}
	fault := errors.New("no such file")
	_, err := Rewrite([]byte(begin+end), func(string, string) (string, error) { return "", fault })
	if !errors.Is(err, fault) {
		t.Errorf("%v", err)
	}
}

func TestATableIsMarkdownAndText(t *testing.T) {
	table := Table{Title: "T", Columns: []string{"a", "µs"}, Rows: [][]string{{"x|y", "1"}, {"zzzzz", "22"}}}
	if got := table.Markdown(); got != "| a | µs |\n|---|---|\n| x\\|y | 1 |\n| zzzzz | 22 |\n" {
		t.Errorf("%q", got)
	}
	if got := table.Text(); got != "-- T\na      µs\nx|y    1\nzzzzz  22\n" {
		t.Errorf("%q", got)
	}
}

func TestFiguresHaveThreeDigitsThatCount(t *testing.T) {
	for v, want := range map[float64]string{
		0: "0.00", 0.01234: "0.0123", 0.00001234: "0.0000", 1.234: "1.23", 12.34: "12.3", 99.96: "100", 123.4: "123",
		123456.7: "123,457", -1234: "-1,234", 1000: "1,000",
	} {
		if got := Figure(v); got != want {
			t.Errorf("%v is written %s and not %s", v, got, want)
		}
	}
}

const scenario = `{"scenario":{"name":"small","phases":[{"name":"one","loads":[{"name":"a"},{"name":"b"}]}]},"log":"journal",
"loads":{"one":{"a":{"events_per_second":1234.5,"latency_ms":{"p50":1,"p99":2.5,"p999":30,"max":400},
"server":{"cpu_us_per_event":0.5,"rss_max_mib":99.6},"timeline":[{"t":1},{"t":2}]}}},
"verdict":{"acknowledged":1000000,"found":1000000,"missing":0,"duplicated":0}}`

func TestAScenariosResultIsTold(t *testing.T) {
	all, err := OfScenario([]byte(scenario))
	if err != nil || len(all) != 2 || len(all[0].Rows) != 1 {
		t.Fatalf("%+v, %v", all, err)
	}
	if got := strings.Join(all[0].Rows[0], " "); got != "one, a 1,234 1.00 2.50 30.0 400 0.500 – 100 0 0" {
		t.Error(got)
	}
	if got := strings.Join(all[1].Rows[0], " "); got != "1,000,000 1,000,000 0 0" {
		t.Error(got)
	}
	if all, err := OfScenario([]byte(`{"report":{}}`)); all != nil || err != nil {
		t.Errorf("%+v, %v", all, err)
	}
}

func TestACompactResultIsTheSameWithoutTimelines(t *testing.T) {
	for _, text := range []string{scenario, `{"a":[],"b":{},"c":"{\"[,:]}","d":[1,2.50,{"e":[3]}],"n":12345678901234567890}`} {
		got, err := Compact([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		var before, after any
		if err := json.Unmarshal(got, &after); err != nil {
			t.Fatalf("%v in %s", err, got)
		}
		json.Unmarshal([]byte(text), &before)
		drop(before)
		if !reflect.DeepEqual(before, after) || bytes.Contains(got, []byte("timeline")) || bytes.Count(got, []byte("\n")) < 4 {
			t.Errorf("%s", got)
		}
	}
}

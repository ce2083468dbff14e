package page

import (
	"bytes"
	"encoding/xml"
	"io"
	"math"
	"strings"
	"testing"
)

func TestAPageIsWholeAndNeedsNoNetwork(t *testing.T) {
	var b bytes.Buffer
	err := Write(&b, Page{
		Title: "a <title>", Facts: []Fact{{Name: "limit", Text: "<b>", Bad: true}},
		Sections: []Section{{Title: "one", Table: Table{Columns: []string{"<column>"}, Rows: [][]string{{"<cell>"}}}, Charts: []Chart{
			{Title: "rate", Unit: "events/s", Lines: []Line{{Name: "<acked>", X: []float64{1, 2, 3}, Y: []float64{5, math.NaN(), 7}}}},
			{Title: "nothing", Unit: "ms", Labels: []string{"p50"}, Lines: []Line{{Name: "none"}}},
		}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	text := b.String()
	for _, no := range []string{"http", "src=", "<title>a <title>", "<acked>", "<b>", "<column>", "<cell>", "NaN", "Inf"} {
		if strings.Contains(text, no) {
			t.Errorf("the page contains %q", no)
		}
	}
	if strings.Count(text, "<svg") != 2 || !strings.Contains(text, "<td>&lt;cell&gt;</td>") || !strings.Contains(text, `class="bad"`) {
		t.Errorf("%s", text)
	}
	drawing := text[strings.Index(text, "<svg") : strings.Index(text, "</svg>")+6]
	d := xml.NewDecoder(strings.NewReader(drawing))
	for {
		if _, err := d.Token(); err == io.EOF {
			break
		} else if err != nil {
			t.Fatalf("%v in %s", err, drawing)
		}
	}
}

func TestNumbersAreShort(t *testing.T) {
	for v, want := range map[float64]string{0: "0", 0.03: "0.03", 1.5: "1.5", 5000: "5000", 15_000: "15 k", 2.5e5: "250 k", 1.5e6: "1.5 M"} {
		if got := number(v); got != want {
			t.Errorf("%v is %q and not %q", v, got, want)
		}
	}
}

func TestTimesAreAtRoundNumbers(t *testing.T) {
	for v, want := range map[float64]string{0.9: "0.5 s", 3: "0.5 s", 22: "5 s", 29: "5 s", 63: "15 s", 600: "2 min", 1810: "10 min", 3e4: "120 min"} {
		if got := seconds(timeStep(v)); got != want {
			t.Errorf("an axis of %v s has a label every %v and not every %v", v, got, want)
		}
	}
	if got := seconds(90); got != "90 s" {
		t.Error(got)
	}
}

func TestAxesEndAtShortNumbers(t *testing.T) {
	for v, want := range map[float64]float64{0: 1, 0.3: 0.4, 1: 1, 1.1: 2, 7: 8, 9: 10, 99_797: 100_000, 823_259: 1_000_000} {
		if got := roundUp(v); math.Abs(got-want) > want*1e-9 {
			t.Errorf("an axis for %v ends at %v", v, got)
		}
	}
}

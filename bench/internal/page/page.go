// Package page writes results as one HTML file that opens without a network: tables, and plots as inline SVG.
//
// It knows nothing of loads: its callers say what to draw. A Chart's lines share their axes; times are in seconds.
//
//	err := page.Write(w, page.Page{Title: "saturate", Sections: []page.Section{{Title: "batch-100", Charts: …}}})
package page

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"math"
	"strings"
)

// Page is a whole file.
type Page struct {
	Title    string
	Facts    []Fact
	Sections []Section
}

// A Fact is a line of a table: a name and what there is to say.
type Fact struct {
	Name, Text string
	Bad        bool // marked as a failure
}

// Section is a part with a heading.
type Section struct {
	Title  string
	Facts  []Fact
	Table  Table
	Charts []Chart
}

// Table has rows as long as its columns.
type Table struct {
	Columns []string
	Rows    [][]string
}

// Chart is one plot.
type Chart struct {
	Title, Unit string
	Labels      []string // of the places along x; none: x are seconds
	Lines       []Line
}

// Line is one curve. Not-a-number leaves a gap.
type Line struct {
	Name string
	X, Y []float64
}

//go:embed page.html
var source string

var tmpl = template.Must(template.New("page").Funcs(template.FuncMap{"svg": svg}).Parse(source))

// Write writes the file.
func Write(w io.Writer, p Page) error { return tmpl.Execute(w, p) }

// A plot's size and margins, in SVG's units.
const (
	width, height            = 560.0, 240.0
	left, right, top, bottom = 62.0, 24.0, 12.0, 30.0
	ticks                    = 4
)

var colours = []string{"#0b6bcb", "#c4401c", "#2e7d32", "#7b3fa0"}

// svg draws a chart. All text in it is escaped here, as the template takes it for safe.
func svg(c Chart) template.HTML {
	xMax, yMax := bounds(c)
	px := func(x float64) float64 { return left + x/xMax*(width-left-right) }
	py := func(y float64) float64 { return height - bottom - y/yMax*(height-top-bottom) }
	var b strings.Builder
	fmt.Fprintf(&b, `<svg viewBox="0 0 %g %g" role="img" aria-label="%s">`, width, height, template.HTMLEscapeString(c.Title))
	for i := range ticks + 1 {
		y := yMax * float64(i) / ticks
		fmt.Fprintf(&b, `<line class="grid" x1="%g" x2="%g" y1="%.1f" y2="%.1f"/><text class="y" x="%g" y="%.1f">%s</text>`,
			left, width-right, py(y), py(y), left-6, py(y)+4, number(y))
	}
	if len(c.Labels) == 0 {
		step := timeStep(xMax)
		for i := range int(xMax/step) + 1 {
			x := float64(i) * step
			fmt.Fprintf(&b, `<text class="x" x="%.1f" y="%g">%s</text>`, px(x), height-10, seconds(x))
		}
	}
	for i, l := range c.Labels {
		fmt.Fprintf(&b, `<text class="x" x="%.1f" y="%g">%s</text>`, px(float64(i)), height-10, template.HTMLEscapeString(l))
	}
	for i, l := range c.Lines {
		fmt.Fprintf(&b, `<path d="%s" stroke="%s"/>`, path(l, px, py), colours[i%len(colours)])
	}
	b.WriteString(`</svg><p class="legend">`)
	for i, l := range c.Lines {
		fmt.Fprintf(&b, `<span style="color:%s">● %s</span> `, colours[i%len(colours)], template.HTMLEscapeString(l.Name))
	}
	b.WriteString("</p>")
	return template.HTML(b.String())
}

// bounds are where the axes end, above zero also when there is nothing to draw.
func bounds(c Chart) (xMax, yMax float64) {
	for _, l := range c.Lines {
		for i, y := range l.Y {
			if !math.IsNaN(y) {
				xMax, yMax = max(xMax, l.X[i]), max(yMax, y)
			}
		}
	}
	if xMax == 0 {
		xMax = 1
	}
	return xMax, roundUp(yMax)
}

// roundUp is the next 1, 2, 4 or 8 times a power of ten, so that a quarter of it is a short number.
func roundUp(v float64) float64 {
	if v <= 0 {
		return 1
	}
	power := math.Pow(10, math.Floor(math.Log10(v)))
	for _, m := range []float64{1, 2, 4, 8} {
		if v <= m*power {
			return m * power
		}
	}
	return 10 * power
}

// timeStep is how far the labels of a time axis are apart: as clocks have it, and at most six of them behind the first.
func timeStep(xMax float64) float64 {
	steps := []float64{0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600}
	for _, s := range steps {
		if xMax/s <= 6 {
			return s
		}
	}
	return math.Ceil(xMax/6/3600) * 3600
}

// seconds are minutes from a minute on, when they are whole.
func seconds(v float64) string {
	if v >= 60 && math.Mod(v, 60) == 0 {
		return fmt.Sprintf("%.0f min", v/60)
	}
	return fmt.Sprintf("%.3g s", v)
}

func path(l Line, px, py func(float64) float64) string {
	var b strings.Builder
	pen := "M"
	for i, y := range l.Y {
		if math.IsNaN(y) {
			pen = "M"
			continue
		}
		fmt.Fprintf(&b, "%s%.1f %.1f", pen, px(l.X[i]), py(y))
		pen = "L"
	}
	return b.String()
}

// number is short: 250 k, 1.5 M.
func number(v float64) string {
	switch {
	case v >= 1e6:
		return fmt.Sprintf("%.3g M", v/1e6)
	case v >= 1e4:
		return fmt.Sprintf("%.3g k", v/1e3)
	}
	return fmt.Sprintf("%.4g", v)
}

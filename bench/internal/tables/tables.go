// Package tables puts tables into documents: between two marks in a Markdown file stands what a kept result says, and
// nothing that was typed.
//
//	<!-- table: NAME from docs/results/FILE -->
//	…
//	<!-- /table -->
//
// It knows marks, Markdown, and the results of scenarios; what other results say is their packages' to tell, as Tables.
// It reads and returns bytes: files are its callers'.
//
//	text, err := tables.Rewrite(text, func(name, file string) (string, error) { … })
package tables

import (
	"bytes"
	"fmt"
	"regexp"
	"strings"
	"unicode/utf8"
)

// Table is a heading and rows of the same length.
type Table struct {
	Name    string // in marks
	Title   string
	Columns []string
	Rows    [][]string
}

// Markdown writes it as a table of GitHub's Markdown.
func (t Table) Markdown() string {
	var b strings.Builder
	row := func(cells []string) {
		for _, c := range cells {
			b.WriteString("| " + strings.ReplaceAll(c, "|", `\|`) + " ")
		}
		b.WriteString("|\n")
	}
	row(t.Columns)
	b.WriteString(strings.Repeat("|---", len(t.Columns)) + "|\n")
	for _, r := range t.Rows {
		row(r)
	}
	return b.String()
}

// Text writes it for a terminal, with columns as wide as their widest cell.
func (t Table) Text() string {
	widths := make([]int, len(t.Columns))
	for _, r := range append([][]string{t.Columns}, t.Rows...) {
		for i, c := range r {
			widths[i] = max(widths[i], utf8.RuneCountInString(c))
		}
	}
	var b strings.Builder
	b.WriteString("-- " + t.Title + "\n")
	for _, r := range append([][]string{t.Columns}, t.Rows...) {
		line := ""
		for i, c := range r {
			line += c + strings.Repeat(" ", widths[i]-utf8.RuneCountInString(c)+2)
		}
		b.WriteString(strings.TrimRight(line, " ") + "\n")
	}
	return b.String()
}

var (
	begin = regexp.MustCompile(`^<!-- table: ([a-z0-9-]+) from (docs/results/[\w.-]+\.json) -->$`)
	end   = []byte("<!-- /table -->")
	like  = regexp.MustCompile(`^<!--\s*/?table\b`)
)

// Rewrite returns the document with each region between marks replaced by what render says for its name and file.
func Rewrite(document []byte, render func(name, file string) (string, error)) ([]byte, error) {
	var out []byte
	n, open := 0, 0 // the line, and the one on which a region began
	for line := range bytes.Lines(document) {
		n++
		text := bytes.TrimRight(line, "\r\n")
		mark := begin.FindSubmatch(text)
		switch {
		case mark != nil && open == 0:
			rendered, err := render(string(mark[1]), string(mark[2]))
			if err != nil {
				return nil, fmt.Errorf("line %d: %w", n, err)
			}
			out = append(append(out, line...), strings.TrimRight(rendered, "\n")+"\n"...)
			open = n
		case bytes.Equal(text, end) && open > 0:
			out = append(out, line...)
			open = 0
		case like.Match(text):
			return nil, fmt.Errorf("line %d: %s is no mark, or not in its place", n, text)
		case open == 0:
			out = append(out, line...)
		}
	}
	if open > 0 {
		return nil, fmt.Errorf("line %d: the table has no end", open)
	}
	return out, nil
}

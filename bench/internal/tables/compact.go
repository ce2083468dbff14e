package tables

import (
	"bytes"
	"encoding/json"
)

// timelines are what makes a result large and what no table tells.
const timelines = "timeline"

// KeptBytesMax bounds a result that is kept beside the documents.
const KeptBytesMax = 200 << 10

// Compact returns a result without its timelines, an entry of each list on a line of its own, so that it is small and a
// difference between two can be read.
func Compact(text []byte) ([]byte, error) {
	var all any
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	if err := d.Decode(&all); err != nil {
		return nil, err
	}
	drop(all)
	small, err := json.Marshal(all)
	if err != nil {
		return nil, err
	}
	return Shallow(small), nil
}

func drop(v any) {
	switch v := v.(type) {
	case map[string]any:
		delete(v, timelines)
		for _, inner := range v {
			drop(inner)
		}
	case []any:
		for _, inner := range v {
			drop(inner)
		}
	}
}

// Shallow breaks lines in JSON without any, down to the entries of lists and objects in the outermost object.
func Shallow(small []byte) []byte {
	const deepest = 2
	var out []byte
	depth, quoted := 0, false
	newLine := func() {
		out = append(append(out, '\n'), bytes.Repeat([]byte("  "), depth)...)
	}
	for i := 0; i < len(small); i++ {
		c := small[i]
		switch {
		case quoted && c == '\\':
			out = append(out, c, small[i+1])
			i++
			continue
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '{' || c == '[':
			depth++
			out = append(out, c)
			if depth <= deepest && i+1 < len(small) && small[i+1] != '}' && small[i+1] != ']' {
				newLine()
			}
			continue
		case c == '}' || c == ']':
			depth--
			if depth < deepest && small[i-1] != '{' && small[i-1] != '[' {
				newLine()
			}
		case c == ',' && depth <= deepest:
			out = append(out, c)
			newLine()
			continue
		case c == ':' && depth <= deepest:
			out = append(out, c, ' ')
			continue
		}
		out = append(out, c)
	}
	return append(out, '\n')
}

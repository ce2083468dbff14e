package httpd

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"tollgate/pkg/stripe"
)

// Bounds of a JSON body that is not events. The largest legitimate one has 50 entries of metadata and 100 names of events.
const (
	jsonBodyBytesMax = 64 << 10
	jsonDepthMax     = 4   // of objects and arrays within each other; what is deepest has 2
	jsonEntriesMax   = 128 // of one object or array, which looking for names twice depends on
)

// A jsonValue is a value of a JSON body. Other than the decoder of events, which is made for speed, this one is for bodies
// that come a few times a day: it makes a tree, which is bounded by the body's size, and is as strict.
type jsonValue struct {
	kind    jsonKind
	text    string // of a string, a number as it was written, or the word
	members []jsonMember
	items   []jsonValue
}

type jsonMember struct {
	name  string
	value jsonValue
	used  bool
}

type jsonKind string

const (
	jsonNull   jsonKind = "null"
	jsonBool   jsonKind = "a boolean"
	jsonNumber jsonKind = "a number"
	jsonString jsonKind = "a string"
	jsonArray  jsonKind = "an array"
	jsonObject jsonKind = "an object"
)

// parseJSON reads a body that is one object; an empty body is an empty one. The error is always an *Error.
func parseJSON(body []byte) (*jsonValue, error) {
	if len(body) > jsonBodyBytesMax {
		return nil, inflatedTooLarge(jsonBodyBytesMax)
	}
	if len(bytes.Trim(body, " \t\r\n")) == 0 {
		return &jsonValue{kind: jsonObject}, nil
	}
	if !utf8.Valid(body) || !json.Valid(body) {
		return nil, stripe.InvalidFields("", "The request body is not valid JSON in UTF-8, or it ends too early")
	}
	p := jsonParser{json.NewDecoder(bytes.NewReader(body))}
	p.UseNumber()
	v, err := p.value("", 0)
	if err != nil {
		return nil, err
	}
	if v.kind != jsonObject {
		return nil, stripe.InvalidFields("", "The request body must be a JSON object, got "+string(v.kind))
	}
	return &v, nil
}

// jsonParser walks through JSON that is known to be valid.

type jsonParser struct{ *json.Decoder }

// value reads the next value, which stands at a path.
func (p jsonParser) value(path string, depth int) (v jsonValue, err error) {
	token, err := p.Token()
	if err != nil {
		return v, err
	}
	switch t := token.(type) {
	case nil:
		return jsonValue{kind: jsonNull, text: "null"}, nil
	case bool:
		return jsonValue{kind: jsonBool, text: strconv.FormatBool(t)}, nil
	case json.Number:
		return jsonValue{kind: jsonNumber, text: t.String()}, nil
	case string:
		return jsonValue{kind: jsonString, text: t}, whole(path, t)
	}
	if depth == jsonDepthMax {
		return v, stripe.InvalidFields(path, "is nested too deeply")
	}
	if token == json.Delim('[') {
		v.kind = jsonArray
		for p.More() {
			item, err := p.value(path+"["+strconv.Itoa(len(v.items))+"]", depth+1)
			if err != nil {
				return v, err
			}
			if v.items = append(v.items, item); len(v.items) > jsonEntriesMax {
				return v, tooManyEntries(path)
			}
		}
	} else {
		v.kind = jsonObject
		for p.More() {
			if err := p.member(&v, path, depth); err != nil {
				return v, err
			}
		}
	}
	_, err = p.Token() // what closes it: the decoder would not take another
	return v, err
}

// member reads the next member of an object.
func (p jsonParser) member(v *jsonValue, path string, depth int) error {
	token, err := p.Token()
	if err != nil {
		return err
	}
	name := token.(string) // the decoder takes nothing else for a name
	at := inside(path, name)
	if err := whole(at, name); err != nil {
		return err
	}
	if v.find(name) != nil {
		return stripe.InvalidFields(at, "is given more than once")
	}
	value, err := p.value(at, depth+1)
	if v.members = append(v.members, jsonMember{name: name, value: value}); len(v.members) > jsonEntriesMax {
		return tooManyEntries(path)
	}
	return err
}

func tooManyEntries(path string) error {
	reason := "has more than " + strconv.Itoa(jsonEntriesMax) + " entries"
	if path == "" {
		reason = "The request body " + reason
	}
	return stripe.InvalidFields(path, reason)
}

// whole refuses text that the decoder had to mend: half of a surrogate pair is no text, and another reader would mend it
// in another way.
func whole(path, text string) error {
	if strings.ContainsRune(text, utf8.RuneError) {
		return stripe.InvalidFields(path, "is not valid Unicode text")
	}
	return nil
}

// inside is the path of an object's member.
func inside(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

func (v *jsonValue) find(name string) *jsonMember {
	i := slices.IndexFunc(v.members, func(m jsonMember) bool { return m.name == name })
	if i < 0 {
		return nil
	}
	return &v.members[i]
}

// get is the member of that name, nil when there is none, and marks it as known.
func (v *jsonValue) get(name string) *jsonValue {
	m := v.find(name)
	if m == nil {
		return nil
	}
	m.used = true
	return &m.value
}

// unknown refuses the first member that nothing has asked for. Dropping it silently would be worse.
func (v *jsonValue) unknown(path string) error {
	for i := range v.members {
		if !v.members[i].used {
			return stripe.InvalidFields(inside(path, v.members[i].name), "is not a field of this request")
		}
	}
	return nil
}

// is refuses a value of another kind.
func (v *jsonValue) is(path string, want jsonKind) error {
	if v.kind != want {
		return stripe.InvalidFields(path, "must be "+string(want)+", got "+string(v.kind))
	}
	return nil
}

// str is a string of at most charsMax characters, and at least one unless it may be empty.
func (v *jsonValue) str(path string, charsMin, charsMax int) (string, error) {
	if err := v.is(path, jsonString); err != nil {
		return "", err
	}
	if n := utf8.RuneCountInString(v.text); n < charsMin {
		return "", stripe.InvalidFields(path, "must not be empty")
	} else if n > charsMax {
		return "", stripe.InvalidFields(path, "must be at most "+strconv.Itoa(charsMax)+" characters long")
	}
	if strings.ContainsRune(v.text, 0) {
		return "", stripe.InvalidFields(path, "must not contain NUL")
	}
	return v.text, nil
}

// strs is an array of strings.
func (v *jsonValue) strs(path string) ([]string, error) {
	if err := v.is(path, jsonArray); err != nil {
		return nil, err
	}
	texts := make([]string, len(v.items))
	for i := range v.items {
		if err := v.items[i].is(path+"["+strconv.Itoa(i)+"]", jsonString); err != nil {
			return nil, err
		}
		texts[i] = v.items[i].text
	}
	return texts, nil
}

// appendCanonical appends the value in one spelling: what two bodies have in common exactly when they say the same.
func (v *jsonValue) appendCanonical(dst []byte) []byte {
	dst = appendText(appendText(dst, []byte(v.kind)), []byte(v.text))
	members := slices.Clone(v.members)
	slices.SortFunc(members, func(a, b jsonMember) int { return strings.Compare(a.name, b.name) })
	dst = binary.AppendUvarint(dst, uint64(len(members)))
	for i := range members {
		dst = members[i].value.appendCanonical(appendText(dst, []byte(members[i].name)))
	}
	dst = binary.AppendUvarint(dst, uint64(len(v.items)))
	for i := range v.items {
		dst = v.items[i].appendCanonical(dst)
	}
	return dst
}

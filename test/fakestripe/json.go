package fakestripe

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// object is a JSON object in the order it was written. A name that stands in it twice is refused, since nobody can say
// which of the two counts. encoding/json does not see that, and its tokens would be most of what the fake costs a
// measurement that shares its machine.
type object []member

type member struct {
	name  string
	value any // object, []any, string, json.Number, bool or nil
}

func (o object) get(name string) any {
	for i := range o {
		if o[i].name == name {
			return o[i].value
		}
	}
	return nil
}

const (
	depthMax   = 8
	membersMax = 1000 // of one object: each name is compared with all before it
)

var words = map[string]any{"true": true, "false": false, "null": nil}

var errCut = errors.New("it ends too early")

// parseObject reads a body. The strings are views into a copy of it.
func parseObject(body []byte) (object, error) {
	if !utf8.Valid(body) {
		return nil, errors.New("the body is not UTF-8")
	}
	s := scanner{text: string(body)}
	v, err := s.value(depthMax)
	if err != nil {
		return nil, fmt.Errorf("at byte %d: %w", s.at, err)
	}
	if s.peek() != 0 || s.at < len(s.text) {
		return nil, errors.New("there is more than one value")
	}
	o, ok := v.(object)
	if !ok {
		return nil, errors.New("the top level is not an object")
	}
	return o, nil
}

type scanner struct {
	text string
	at   int
}

// peek skips white space and returns the byte behind it, or 0 at the end.
func (s *scanner) peek() byte {
	for s.at < len(s.text) {
		switch c := s.text[s.at]; c {
		case ' ', '\t', '\n', '\r':
			s.at++
		default:
			return c
		}
	}
	return 0
}

func (s *scanner) value(depth int) (any, error) {
	switch c := s.peek(); {
	case c == '"':
		return s.str()
	case c == '{' || c == '[':
		if depth == 0 {
			return nil, errors.New("it is nested too deeply")
		}
		s.at++
		if c == '{' {
			return s.object(depth - 1)
		}
		return s.array(depth - 1)
	}
	for word, v := range words {
		if strings.HasPrefix(s.text[s.at:], word) {
			s.at += len(word)
			return v, nil
		}
	}
	n := 0
	for n < len(s.text)-s.at && strings.IndexByte("+-.0123456789eE", s.text[s.at+n]) >= 0 {
		n++
	}
	number := s.text[s.at : s.at+n]
	if n == 0 || !json.Valid([]byte(number)) {
		return nil, errors.New("there is no value")
	}
	s.at += n
	return json.Number(number), nil
}

func (s *scanner) str() (string, error) {
	begin, plain := s.at, true
	for i := begin + 1; i < len(s.text); i++ {
		switch c := s.text[i]; {
		case c == '\\':
			plain = false
			i++
		case c < ' ':
			return "", errors.New("there is a control character in a string")
		case c == '"':
			s.at = i + 1
			if plain {
				return s.text[begin+1 : i], nil
			}
			var v string
			err := json.Unmarshal([]byte(s.text[begin:s.at]), &v)
			return v, err
		}
	}
	return "", errCut
}

// next takes a comma or the end of an object or array, of which the first element has no comma before it.
func (s *scanner) next(end byte, first bool) (more bool, err error) {
	switch c := s.peek(); {
	case c == end:
		s.at++
		return false, nil
	case first:
		return true, nil
	case c == ',':
		s.at++
		if s.peek() != end {
			return true, nil
		}
	}
	return false, fmt.Errorf("there is no comma and no %c, or one too many", end)
}

func (s *scanner) array(depth int) (any, error) {
	list := []any{}
	for {
		if more, err := s.next(']', len(list) == 0); !more {
			return list, err
		}
		v, err := s.value(depth)
		if err != nil {
			return nil, err
		}
		list = append(list, v)
	}
}

func (s *scanner) object(depth int) (any, error) {
	o := make(object, 0, 4)
	for {
		if more, err := s.next('}', len(o) == 0); !more {
			return o, err
		}
		if s.peek() != '"' || len(o) == membersMax {
			return nil, errors.New("there is no name, or there are too many")
		}
		name, err := s.str()
		if err != nil {
			return nil, err
		}
		if s.peek() != ':' {
			return nil, errors.New("there is no colon behind a name")
		}
		s.at++
		for i := range o {
			if o[i].name == name {
				return nil, fmt.Errorf("the name %q stands twice in an object", name)
			}
		}
		v, err := s.value(depth)
		if err != nil {
			return nil, err
		}
		o = append(o, member{name, v})
	}
}

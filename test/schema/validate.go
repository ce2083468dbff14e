// Package schema holds the published form of the topics' records, docs/schema, against records: goldens in testdata and
// those of package control, and what a real gateway wrote into its journal.
//
// It has a validator of its own for the few words of JSON Schema that our schema uses. A word that it does not know is
// an error and not ignored, so that the schema can not say what nobody checks. A Schema is immutable after Parse.
//
//	s, err := schema.Parse(text)
//	err = s.Validate(record)
//
// It will not resolve references to other files, and it is not a general validator.
package schema

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"
)

// Schema is a parsed JSON Schema.
type Schema struct {
	root map[string]any
}

// annotations are the words that say nothing about validity.
var annotations = []string{"$schema", "$defs", "title", "description"}

// rule returns what a word of a schema asks of a value, or nil when the word is unknown. It is not a table: a table
// of functions that look into it would be initialised in a circle.
func (s *Schema) rule(word string) func(arg, value any) error {
	switch word {
	case "$ref":
		return s.ref
	case "oneOf":
		return s.oneOf
	case "const":
		return s.constant
	case "type":
		return s.kind
	case "minLength":
		return s.minLength
	case "maxLength":
		return s.maxLength
	case "pattern":
		return s.pattern
	case "required":
		return s.required
	case "minItems":
		return s.minItems
	case "maxItems":
		return s.maxItems
	case "items":
		return s.items
	case "maxProperties":
		return s.maxProperties
	case "propertyNames":
		return s.propertyNames
	case "properties", "additionalProperties": // one rule, applied by check
		return func(any, any) error { return nil }
	}
	return nil
}

// Parse reads a schema and refuses words that this package does not know.
func Parse(text []byte) (*Schema, error) {
	s := &Schema{}
	if err := json.Unmarshal(text, &s.root); err != nil {
		return nil, fmt.Errorf("schema: %w", err)
	}
	return s, s.known(s.root, "#")
}

// known walks every schema within a schema.
func (s *Schema) known(schema map[string]any, at string) error {
	for word, arg := range schema {
		if s.rule(word) == nil && !slices.Contains(annotations, word) {
			return fmt.Errorf("schema: %s: this validator does not know %q", at, word)
		}
		var within []any
		switch word {
		case "properties", "$defs":
			within = slices.Collect(maps.Values(arg.(map[string]any)))
		case "oneOf":
			within = arg.([]any)
		case "propertyNames", "additionalProperties", "items":
			within = []any{arg}
		}
		for _, w := range within {
			if w, ok := w.(map[string]any); ok {
				if err := s.known(w, at+"/"+word); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// Validate says what is wrong with a JSON text, or nil.
func (s *Schema) Validate(text []byte) error {
	var value any
	if err := json.Unmarshal(text, &value); err != nil {
		return err
	}
	return s.check(s.root, value)
}

func (s *Schema) check(schema map[string]any, value any) error {
	for _, word := range slices.Sorted(maps.Keys(schema)) {
		if f := s.rule(word); f != nil {
			if err := f(schema[word], value); err != nil {
				return err
			}
		}
	}
	return s.properties(schema, value)
}

func (s *Schema) properties(schema map[string]any, value any) error {
	object, ok := value.(map[string]any)
	if !ok {
		return nil
	}
	named, _ := schema["properties"].(map[string]any)
	for name, v := range object {
		var err error
		if p, ok := named[name].(map[string]any); ok {
			err = s.check(p, v)
		} else if more, ok := schema["additionalProperties"].(map[string]any); ok {
			err = s.check(more, v)
		} else if schema["additionalProperties"] == false {
			err = errors.New("is not a property of this object")
		}
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

func (s *Schema) ref(arg, value any) error {
	name := strings.TrimPrefix(arg.(string), "#/$defs/")
	def, ok := s.root["$defs"].(map[string]any)[name].(map[string]any)
	if !ok {
		return fmt.Errorf("the schema has no %v", arg)
	}
	return s.check(def, value)
}

func (s *Schema) oneOf(arg, value any) error {
	var errs []error
	matches := 0
	for _, alternative := range arg.([]any) {
		if err := s.check(alternative.(map[string]any), value); err != nil {
			errs = append(errs, err)
		} else {
			matches++
		}
	}
	if matches == 1 {
		return nil
	}
	return fmt.Errorf("matches %d of the alternatives: %w", matches, errors.Join(errs...))
}

func (s *Schema) constant(arg, value any) error {
	if !reflect.DeepEqual(arg, value) {
		return fmt.Errorf("is %v and not %v", value, arg)
	}
	return nil
}

func (s *Schema) kind(arg, value any) error {
	var got string
	switch value := value.(type) {
	case map[string]any:
		got = "object"
	case []any:
		got = "array"
	case string:
		got = "string"
	case bool:
		got = "boolean"
	case float64:
		got = "number"
		if value == math.Trunc(value) {
			got = "integer"
		}
	default:
		got = fmt.Sprintf("%T", value)
	}
	if got != arg {
		return fmt.Errorf("is a %s and not a %v", got, arg)
	}
	return nil
}

func (s *Schema) minLength(arg, value any) error {
	if v, ok := value.(string); ok && utf8.RuneCountInString(v) < int(arg.(float64)) {
		return fmt.Errorf("is shorter than %v characters", arg)
	}
	return nil
}

func (s *Schema) maxLength(arg, value any) error {
	if v, ok := value.(string); ok && utf8.RuneCountInString(v) > int(arg.(float64)) {
		return fmt.Errorf("is longer than %v characters", arg)
	}
	return nil
}

func (s *Schema) pattern(arg, value any) error {
	re, err := regexp.Compile(arg.(string))
	if err != nil {
		return err
	}
	if v, ok := value.(string); ok && !re.MatchString(v) {
		return fmt.Errorf("%q does not match %v", v, arg)
	}
	return nil
}

func (s *Schema) required(arg, value any) error {
	object, ok := value.(map[string]any)
	if !ok {
		return nil
	}
	for _, name := range arg.([]any) {
		if _, ok := object[name.(string)]; !ok {
			return fmt.Errorf("%v is missing", name)
		}
	}
	return nil
}

func (s *Schema) minItems(arg, value any) error {
	if list, ok := value.([]any); ok && len(list) < int(arg.(float64)) {
		return fmt.Errorf("has fewer than %v items", arg)
	}
	return nil
}

func (s *Schema) maxItems(arg, value any) error {
	if list, ok := value.([]any); ok && len(list) > int(arg.(float64)) {
		return fmt.Errorf("has more than %v items", arg)
	}
	return nil
}

func (s *Schema) items(arg, value any) error {
	list, _ := value.([]any)
	for i, item := range list {
		if err := s.check(arg.(map[string]any), item); err != nil {
			return fmt.Errorf("item %d: %w", i, err)
		}
	}
	return nil
}

func (s *Schema) maxProperties(arg, value any) error {
	if object, ok := value.(map[string]any); ok && len(object) > int(arg.(float64)) {
		return fmt.Errorf("has more than %v properties", arg)
	}
	return nil
}

func (s *Schema) propertyNames(arg, value any) error {
	object, _ := value.(map[string]any)
	for name := range object {
		if err := s.check(arg.(map[string]any), name); err != nil {
			return fmt.Errorf("name %q: %w", name, err)
		}
	}
	return nil
}

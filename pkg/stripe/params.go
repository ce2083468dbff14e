package stripe

import (
	"bytes"
	"encoding/binary"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Required returns the one value of a parameter that must be there and must not be empty. name may have brackets:
// "cancel[identifier]". The error is always an *Error, as in all methods here.
func (f *Form) Required(name string) ([]byte, error) {
	value, present, err := f.Optional(name)
	if err == nil && !present {
		err = ParamMissing(name)
	}
	return value, err
}

// Optional returns the one value of a parameter that may be absent, but not empty: Stripe takes an empty value for an
// attempt to unset something, and there is nothing to unset here.
func (f *Form) Optional(name string) (value []byte, present bool, err error) {
	for i := range f.pairs {
		p := &f.pairs[i]
		found := f.view(p.name)
		switch {
		case string(found) == name:
			if present {
				return nil, false, paramRefused("", name, "The param "+name+" is given more than once.")
			}
			p.used = true
			value, present = f.view(p.value), true
		case isInside(found, name):
			return nil, false, paramRefused("", name, "Invalid string: "+name+" must be a single value, without brackets behind it.")
		case isInside(name, string(found)):
			return nil, false, paramRefused("", string(found), "Invalid object: "+clip(found)+" must be given by its fields, as "+name+".")
		}
	}
	if present && len(value) == 0 {
		return nil, false, paramRefused("parameter_invalid_empty", name, "The param "+name+" is empty. Give it a value, or leave it out.")
	}
	return value, present, nil
}

// OptionalInteger returns the one value of a parameter as a decimal integer.
func (f *Form) OptionalInteger(name string) (n int64, present bool, err error) {
	value, present, err := f.Optional(name)
	if err != nil || !present {
		return 0, false, err
	}
	n, parseErr := strconv.ParseInt(string(value), 10, 64)
	if parseErr != nil || value[0] == '+' {
		return 0, false, paramRefused("parameter_invalid_integer", name, "Invalid integer: "+clip(value)+". The param "+name+" must be a whole number in digits.")
	}
	return n, true, nil
}

// Text returns the one value of a parameter of at most charsMax characters; empty when it is absent.
func (f *Form) Text(name string, charsMax int) (string, error) {
	value, _, err := f.Optional(name)
	if err == nil && utf8.RuneCount(value) > charsMax {
		err = ParamTooLong(name, charsMax, "characters")
	}
	return string(value), err
}

// Enum returns the one value of a parameter that may be absent, then empty, and otherwise is one of those allowed.
func (f *Form) Enum(name string, allowed ...string) (string, error) {
	value, present, err := f.Optional(name)
	if err != nil || !present {
		return "", err
	}
	if i := slices.Index(allowed, string(value)); i >= 0 {
		return allowed[i], nil
	}
	last := len(allowed) - 1
	words := allowed[last]
	if last > 0 {
		words = strings.Join(allowed[:last], ", ") + " or " + words
	}
	return "", ParamNotOneOf(name, value, words)
}

// Has says whether the form has a parameter of that name, or a field of one.
func (f *Form) Has(name string) bool {
	return slices.ContainsFunc(f.pairs, func(p formPair) bool {
		found := f.view(p.name)
		return string(found) == name || isInside(found, name)
	})
}

// AppendCanonical appends all parameters in one spelling, whatever their order and percent escapes were: what two
// requests have in common exactly when their parameters are the same.
func (f *Form) AppendCanonical(dst []byte) []byte {
	order := make([]int, len(f.pairs))
	for i := range order {
		order[i] = i
	}
	// Parameters of one name keep their order: those of an array mean something by it.
	slices.SortStableFunc(order, func(a, b int) int { return bytes.Compare(f.view(f.pairs[a].name), f.view(f.pairs[b].name)) })
	for _, i := range order {
		for _, at := range [...][2]int32{f.pairs[i].name, f.pairs[i].value} {
			dst = binary.AppendUvarint(dst, uint64(at[1]-at[0]))
			dst = append(dst, f.view(at)...)
		}
	}
	return dst
}

// Pair is one entry of an object parameter: "payload[value]=25" is {"value", "25"}.
type Pair struct{ Key, Value []byte }

// AppendObject appends the entries of name[…] to dst, in the order of the body. An object that is absent has none;
// the values may be empty. An entry that is given twice, or is itself an object or array, is refused.
func (f *Form) AppendObject(dst []Pair, name string) ([]Pair, error) {
	first := len(dst)
	for i := range f.pairs {
		p := &f.pairs[i]
		found := f.view(p.name)
		if string(found) == name {
			return dst[:first], paramRefused("", name, "Invalid object: "+name+" must be given by its entries, as "+name+"[key]=value.")
		}
		if !isInside(found, name) {
			continue
		}
		key := found[len(name)+1 : len(found)-1]
		if len(key) == 0 || bytes.IndexByte(key, ']') >= 0 {
			return dst[:first], paramRefused("", string(found), "The param "+clip(found)+" must be a string with a key, as "+name+"[key]=value.")
		}
		for _, earlier := range dst[first:] {
			if bytes.Equal(earlier.Key, key) {
				return dst[:first], paramRefused("", string(found), "The param "+clip(found)+" is given more than once.")
			}
		}
		p.used = true
		dst = append(dst, Pair{Key: key, Value: f.view(p.value)})
	}
	return dst, nil
}

// Ignore marks parameters as known, in whatever shape they come: "expand" is also expand[] and expand[0].
func (f *Form) Ignore(names ...string) {
	for i := range f.pairs {
		p := &f.pairs[i]
		found := f.view(p.name)
		if slices.ContainsFunc(names, func(name string) bool { return string(found) == name || isInside(found, name) }) {
			p.used = true
		}
	}
}

// Unknown refuses the first parameter that nothing has read. Dropping it silently would be worse: it may be a misspelt
// field of a bill.
func (f *Form) Unknown() error {
	for i := range f.pairs {
		if p := &f.pairs[i]; !p.used {
			name := clip(f.view(p.name))
			return paramRefused("parameter_unknown", name, "Received unknown parameter: "+name+".")
		}
	}
	return nil
}

// isInside says whether inner is a field of outer: "a[b]" is one of "a". Both have passed checkName.
func isInside[T, U string | []byte](inner T, outer U) bool {
	return len(inner) > len(outer) && inner[len(outer)] == '[' && string(inner[:len(outer)]) == string(outer)
}

// ParamMissing: the form lacks a parameter that must be there.
func ParamMissing(name string) *Error {
	return paramRefused("parameter_missing", name, "Missing required param: "+name+".")
}

func paramRefused(code, param, message string) *Error {
	return &Error{
		Status: statusBadRequest, Type: typeInvalidRequest, Code: code, CodeV2: "invalid_fields", Message: message, Param: clip(param),
	}
}

package stripe

import (
	"slices"
	"strconv"
	"time"
)

// What the lists of v2 take in their queries beside single values. SDKs of different years and people with curl spell
// them differently, and mean the same.

// Array returns the values of an array of at most valuesMax, nil when it is absent. It may be spelled name[0]=a&name[1]=b,
// as the reference has it, name=a&name=b, as the SDKs did before, or name[]=a&name[]=b. Two spellings in one query are
// refused, since nothing says in which order they would be read.
func (f *Form) Array(name string, valuesMax int) ([]string, error) {
	var items []arrayItem
	var first arraySpelling
	for i := range f.pairs {
		p := &f.pairs[i]
		found := f.view(p.name)
		spelling, index, err := arrayItemOf(found, name)
		if err != nil {
			return nil, err
		}
		if spelling == notInArray {
			continue
		}
		p.used = true
		if len(items) == 0 {
			first = spelling
		}
		switch value := f.view(p.value); {
		case spelling != first:
			return nil, paramRefused("", name, "Invalid array: "+name+" is spelled in two ways. Use "+name+"[0], "+name+"[1] and so on.")
		case len(value) == 0:
			return nil, paramRefused("parameter_invalid_empty", string(found), "The param "+clip(found)+" is empty. Give it a value, or leave it out.")
		case len(items) == valuesMax || index >= valuesMax:
			return nil, paramRefused("", name, "Invalid array: "+name+" must have at most "+strconv.Itoa(valuesMax)+" values.")
		case spelling == indexed && slices.ContainsFunc(items, func(other arrayItem) bool { return other.index == index }):
			return nil, paramRefused("", string(found), "The param "+clip(found)+" is given more than once.")
		default:
			items = append(items, arrayItem{index: index, value: value})
		}
	}
	if first == indexed { // the index says where a value belongs, not its place in the query
		slices.SortFunc(items, func(a, b arrayItem) int { return a.index - b.index })
	}
	var values []string
	for _, item := range items {
		values = append(values, string(item.value))
	}
	return values, nil
}

// arrayItem is a value of an array; index is 0 where the spelling has none.
type arrayItem struct {
	index int
	value []byte
}

// arraySpelling is how a parameter belongs to an array.
type arraySpelling int8

const (
	notInArray arraySpelling = iota
	repeated                 // name=a
	bracketed                // name[]=a
	indexed                  // name[0]=a
)

// arrayItemOf says how the parameter found belongs to the array called name.
func arrayItemOf(found []byte, name string) (spelling arraySpelling, index int, err error) {
	if string(found) == name {
		return repeated, 0, nil
	}
	if !isInside(found, name) {
		return notInArray, 0, nil
	}
	key := found[len(name)+1 : len(found)-1]
	if len(key) == 0 {
		return bracketed, 0, nil
	}
	// Three digits are more than any array has, and never overflow; a leading zero would be a second name of one index.
	isIndex := len(key) <= 3 && (key[0] != '0' || len(key) == 1)
	for _, c := range key {
		isIndex = isIndex && c >= '0' && c <= '9'
		index = index*10 + int(c-'0')
	}
	if !isIndex {
		return notInArray, 0, paramRefused("", string(found), "Invalid array: "+clip(found)+" must be a value with its index, as "+name+"[0].")
	}
	return indexed, index, nil
}

// Time returns the one value of a parameter that is a time, in Unix milliseconds, rounded down: an RFC 3339 time with any
// offset and up to nine decimals, or Unix seconds. The years 1970 to 9999 are taken.
func (f *Form) Time(name string) (ms int64, present bool, err error) {
	at, present, err := f.instant(name)
	return at.UnixMilli(), present, err
}

// TimeRange returns what name[gt], name[gte], name[lt] and name[lte], each a time as Time takes it, leave of all times, in
// whole milliseconds: those from fromMs on and before beforeMs. 0 is no bound; with both, beforeMs may be below fromMs.
//
// A bound between two milliseconds is rounded so that each time of whole milliseconds stays on its side of it.
func (f *Form) TimeRange(name string) (fromMs, beforeMs int64, err error) {
	for _, bound := range [...]struct {
		field string
		upper bool // it bounds beforeMs, not fromMs
		next  bool // the range begins or ends behind the bound's own millisecond
	}{
		{"[gt]", false, true}, {"[gte]", false, false}, {"[lt]", true, false}, {"[lte]", true, true},
	} {
		at, present, err := f.instant(name + bound.field)
		if err != nil {
			return 0, 0, err
		}
		if !present {
			continue
		}
		ms := at.UnixMilli()
		if bound.next || at.Nanosecond()%int(time.Millisecond) != 0 {
			ms++
		}
		switch {
		case !bound.upper:
			fromMs = max(fromMs, ms)
		case beforeMs == 0 || ms < beforeMs:
			beforeMs = max(ms, 1) // 0 would be no bound; nothing that is listed is of 1970
		}
	}
	return fromMs, beforeMs, nil
}

// instant returns the one value of a parameter that is a time.
func (f *Form) instant(name string) (at time.Time, present bool, err error) {
	value, present, err := f.Optional(name)
	if err != nil || !present {
		return time.Time{}, false, err
	}
	at, ok := parseInstant(value)
	if !ok || at.Unix() < 0 || at.Unix() >= beyondMax {
		return time.Time{}, false, ParamInvalid(name, "must be an RFC 3339 time with an offset, such as 2026-03-02T10:20:30Z, or Unix seconds, in the years 1970 to 9999")
	}
	return at, true, nil
}

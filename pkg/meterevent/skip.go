package meterevent

import "strconv"

// Bounds of what is skipped under Options.Lenient. They keep the comparison of names, which is linear, from
// becoming the most expensive thing a request can ask for.
const (
	skipDepthMax      = 100 // objects and arrays within each other
	skipPropertiesMax = 100 // of one object
)

// unknown deals with the property whose value begins at i and whose name we do not know; path is its object's, base where
// the object's names begin in d.names.
func (d *Decoder) unknown(i int, path string, base int, name []byte) int {
	switch {
	case !d.options.Lenient:
		return d.refuse(child(path, name), "is not a known property")
	case d.repeated(base, name):
		return d.refuse(child(path, name), "appears twice")
	case len(d.names)-base > skipPropertiesMax:
		return d.refuse(child(path, name), "is one unknown property too many")
	}
	return d.skip(i, 0)
}

// skip passes one value of any kind, as strictly as if it were read.
func (d *Decoder) skip(i, depth int) int {
	if depth == skipDepthMax {
		return d.refuse(PathBody, "has an unknown property that is nested deeper than "+strconv.Itoa(skipDepthMax)+" levels")
	}
	if i >= len(d.body) {
		return d.unexpected(i, "a value")
	}
	end := 0
	switch d.body[i] {
	case '{':
		return d.skipObject(i, depth)
	case '[':
		return d.skipArray(i, depth)
	case '"':
		end, form := scanText(d.body, i+1)
		if form == textBroken {
			return d.badText(end)
		}
		return end + 1
	case 'n':
		end = literalEnd(d.body, i, "null")
	case 't':
		end = literalEnd(d.body, i, "true")
	case 'f':
		end = literalEnd(d.body, i, "false")
	default:
		end, _ = scanNumber(d.body, i)
	}
	if end == 0 {
		return d.unexpected(i, "a value")
	}
	return end
}

func (d *Decoder) skipObject(i, depth int) int {
	base := len(d.names)
	i++
	var name []byte
	for first := true; i != failed; first = false {
		if name, i = d.member(i, first); name == nil {
			break
		}
		switch {
		case d.repeated(base, name):
			return d.refuse(PathBody, "has the name "+quoteForPeople(name)+" twice in one object, the second before byte "+
				strconv.Itoa(i))
		case len(d.names)-base > skipPropertiesMax:
			return d.refuse(PathBody, "has an unknown property that is an object of more than "+
				strconv.Itoa(skipPropertiesMax)+" properties")
		}
		i = d.skip(i, depth+1)
	}
	d.names = d.names[:base]
	return i
}

func (d *Decoder) skipArray(i, depth int) int {
	i = d.space(i + 1)
	if d.at(i) == ']' {
		return i + 1
	}
	for {
		if i = d.skip(i, depth+1); i == failed {
			return failed
		}
		var more bool
		if i, more = d.behind(i, "a value"); !more {
			return i
		}
	}
}

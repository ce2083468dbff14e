package meterevent

// The properties of an adjustment, as bits of what was seen.
const (
	seenAdjustmentName = 1 << iota
	seenType
	seenCancel
)

// adjustment reads the adjustment at the beginning of the body and returns the index behind it.
func (d *Decoder) adjustment(a *Adjustment) int {
	i := d.open(d.space(0), PathBody)
	seen := 0
	var name []byte
	for first := true; i != failed; first = false {
		if name, i = d.member(i, first); name == nil {
			break
		}
		bit := adjustmentProperty(name)
		if seen&bit != 0 {
			return d.refuse(string(name), "appears twice")
		}
		seen |= bit
		switch bit {
		case seenAdjustmentName:
			a.Name, i = d.eventName(i)
		case seenType:
			i = d.adjustmentType(i, a)
		case seenCancel:
			a.Identifier, i = d.cancel(i)
		default:
			i = d.unknown(i, "", 0, name)
		}
	}
	switch {
	case i == failed:
	case seen&seenAdjustmentName == 0:
		return d.refuse("event_name", "is required")
	case seen&seenType == 0:
		return d.refuse("type", "is required")
	case seen&seenCancel == 0:
		return d.refuse("cancel", "is required")
	}
	return i
}

func adjustmentProperty(name []byte) int {
	switch string(name) {
	case "event_name":
		return seenAdjustmentName
	case "type":
		return seenType
	case "cancel":
		return seenCancel
	}
	return 0
}

const badAdjustmentType = `must be "cancel"`

func (d *Decoder) adjustmentType(i int, a *Adjustment) int {
	if d.at(i) != '"' {
		return d.wrongType("type", i, "a string")
	}
	text, _, next := d.text(i)
	if next == failed {
		return failed
	}
	if string(text) != string(Cancel) {
		return d.refuse("type", badAdjustmentType)
	}
	a.Type = Cancel
	return next
}

// cancel reads {"identifier":…} at i.
func (d *Decoder) cancel(i int) (identifier []byte, next int) {
	base := len(d.names)
	i = d.open(i, "cancel")
	var name []byte
	for first := true; i != failed; first = false {
		if name, i = d.member(i, first); name == nil {
			break
		}
		switch {
		case string(name) != "identifier":
			i = d.unknown(i, "cancel", base, name)
		case identifier != nil:
			i = d.refuse("cancel.identifier", "appears twice")
		default:
			identifier, i = d.identifier(i, "cancel.identifier")
		}
	}
	if i != failed && identifier == nil {
		return nil, d.refuse("cancel.identifier", "is required")
	}
	d.names = d.names[:base]
	return identifier, i
}

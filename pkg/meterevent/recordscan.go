package meterevent

// PathRecord is the Path of a FieldError about a usage record as a whole.
const PathRecord = "record"

// The properties of a usage record, as bits of what was seen.
const (
	recordSeenBusiness = 1 << iota
	recordSeenLivemode
	recordSeenName
	recordSeenIdentifier
	recordSeenTimestamp
	recordSeenReceived
	recordSeenPayload
	recordSeenType
	recordSeenCancel
	recordSeenRequest

	recordEventNeeds      = recordSeenBusiness | recordSeenLivemode | recordSeenName | recordSeenIdentifier | recordSeenTimestamp | recordSeenReceived | recordSeenPayload
	recordAdjustmentNeeds = recordSeenBusiness | recordSeenLivemode | recordSeenName | recordSeenReceived | recordSeenType | recordSeenCancel
)

// recordNames are the names of the properties, in the order of their bits.
var recordNames = [...]string{"business", "livemode", "event_name", "identifier", "timestamp", "received", "payload", "type", "cancel", "request"}

// recordProperty is the bit of a property that a record of this kind has. An event's "cancel" and an adjustment's
// "payload" are names that we do not know, and what stands there is of no interest.
func recordProperty(name []byte, adjustment bool) int {
	for i, known := range recordNames {
		if string(name) == known {
			bit := 1 << i
			if adjustment {
				return bit & (recordAdjustmentNeeds | recordSeenRequest)
			}
			return bit & (recordEventNeeds | recordSeenRequest)
		}
	}
	return 0
}

// read reads a record of any layout. It passes it twice: what a property must be depends on the object's kind, and
// "object" may come last.
func (p *RecordReader) read(value []byte, r *Record) error {
	d := &p.general
	d.begin(value)
	p.members = p.members[:0]
	*r = Record{}
	if p.kind(r) != failed {
		p.properties(r)
	}
	if d.fault == nil {
		return nil
	}
	if d.fault.Path == PathBody {
		d.fault.Path = PathRecord
	}
	return d.fault
}

// kind passes the whole record, finds that no name is there twice and that nothing follows, and reads "object".
func (p *RecordReader) kind(r *Record) int {
	d := &p.general
	i := d.open(d.space(0), PathRecord)
	kind := ""
	var name []byte
	for first := true; i != failed; first = false {
		if name, i = d.member(i, first); name == nil {
			break
		}
		switch {
		case d.repeated(0, name):
			return d.refuse(child("", name), "appears twice")
		case len(d.names) > skipPropertiesMax:
			return d.refuse(PathRecord, "has too many properties")
		case string(name) == "object":
			if d.at(i) != '"' {
				return d.wrongType("object", i, "a string")
			}
			var text []byte
			text, _, i = d.text(i)
			kind = "unknown"
			switch string(text) {
			case "meter_event":
				kind = "event"
			case "meter_event_adjustment":
				kind, r.Adjustment = "adjustment", true
			}
		default:
			i = d.skip(i, 0)
		}
	}
	d.names = d.names[:0]
	if i != failed {
		d.end(i)
	}
	switch {
	case d.fault != nil:
		return failed
	case kind == "":
		return d.refuse("object", "is required")
	case kind == "unknown":
		return d.refuse("object", `must be "meter_event" or "meter_event_adjustment"`)
	}
	return i
}

// properties reads what kind passed.
func (p *RecordReader) properties(r *Record) int {
	d := &p.general
	i := d.open(d.space(0), PathRecord)
	seen := 0
	var name []byte
	for first := true; i != failed; first = false {
		if name, i = d.member(i, first); name == nil {
			break
		}
		bit := recordProperty(name, r.Adjustment)
		seen |= bit
		i = p.property(r, bit, i)
	}
	if i == failed {
		return failed
	}
	needed := recordEventNeeds
	if r.Adjustment {
		needed = recordAdjustmentNeeds
	}
	for k, name := range recordNames {
		if missing := needed &^ seen; missing&(1<<k) != 0 {
			return d.refuse(name, "is required")
		}
	}
	return i
}

// property reads the value that begins at i.
func (p *RecordReader) property(r *Record, bit, i int) int {
	d := &p.general
	switch bit {
	case recordSeenBusiness:
		r.Business, i = d.recordText(i, "business", checkBusiness)
	case recordSeenLivemode:
		return d.livemode(i, r)
	case recordSeenName:
		r.EventName, i = d.eventName(i)
	case recordSeenIdentifier:
		r.Identifier, i = d.identifier(i, "identifier")
	case recordSeenTimestamp:
		r.TimestampMs, i = d.recordTime(i, "timestamp", &p.timestamps)
	case recordSeenReceived:
		r.ReceivedMs, i = d.recordTime(i, "received", &p.receivedDates)
	case recordSeenPayload:
		if r.Payload, i = d.payload(i); i != failed {
			p.note(r.Payload)
		}
	case recordSeenType:
		return d.adjustmentType(i, &Adjustment{})
	case recordSeenCancel:
		r.Identifier, i = d.cancel(i)
	case recordSeenRequest:
		r.HasRequest = true
		_, i = d.recordText(i, "request", func(text []byte) string {
			var ok bool
			if r.Request, ok = parseRequest(text); !ok {
				return "must be 32 lowercase hexadecimal digits"
			}
			return ""
		})
	default:
		return d.skip(i, 0)
	}
	return i
}

// recordText reads the string at i, which check has nothing against.
func (d *Decoder) recordText(i int, property string, check func(text []byte) string) (text []byte, next int) {
	if d.at(i) != '"' {
		return nil, d.wrongType(property, i, "a string")
	}
	text, _, next = d.text(i)
	if next != failed {
		if why := check(text); why != "" {
			return nil, d.refuse(property, why)
		}
	}
	return text, next
}

func (d *Decoder) recordTime(i int, property string, dates *dateCache) (ms int64, next int) {
	_, next = d.recordText(i, property, func(text []byte) string {
		var ok bool
		if ms, ok = recordMs(dates, text); !ok {
			return "must be a time like 2026-11-21T12:00:00.000Z, in the years 1 to 9999"
		}
		return ""
	})
	return ms, next
}

func (d *Decoder) livemode(i int, r *Record) int {
	if end := literalEnd(d.body, i, "true"); end > 0 {
		r.Livemode = true
		return end
	}
	if end := literalEnd(d.body, i, "false"); end > 0 {
		return end
	}
	return d.wrongType("livemode", i, "a boolean")
}

// checkBusiness says what is wrong with the name of a business, or "": the schema's pattern, which leaves out what
// would make two keys one.
func checkBusiness(text []byte) string {
	for _, c := range text {
		if c|0x20 < 'a' || c|0x20 > 'z' {
			if !isDigit(c) && c != '_' && c != '.' && c != '-' {
				return "must consist of letters, digits, '_', '.' and '-'"
			}
		}
	}
	if len(text) == 0 || len(text) > businessBytesMax {
		return "must have 1 to 64 characters"
	}
	return ""
}

// note notes the members of a payload that was read without fault.
func (p *RecordReader) note(payload []byte) {
	p.forget(0)
	for i := 1; i < len(payload) && payload[i] == '"'; {
		nameEnd, nameForm := scanText(payload, i+1)
		valueStart := nameEnd + len(`":"`)
		valueEnd, valueForm := scanText(payload, valueStart)
		k := len(p.members)
		if k == cap(p.members) {
			p.members = append(p.members, payloadMember{})
		}
		p.members = p.members[:k+1]
		m := &p.members[k] // whose literal is empty, and keeps its memory
		m.name, m.value, m.escaped = p.decoded(payload[i+1:nameEnd:nameEnd], nameForm), payload[valueStart:valueEnd:valueEnd], valueForm == textEscaped
		i = valueEnd + len(`",`)
	}
}

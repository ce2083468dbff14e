package httpd

import (
	"bytes"
	"encoding/binary"

	"tollgate/pkg/stripe"
	"tollgate/pkg/thinevent"
)

// The pages of a v2 list are links, which a client follows as they are. What a link's page parameter says is sealed
// together with the list's account, mode and filters: it is good for the list that it was made for, on every gateway that
// has the same session keys, and can not be made elsewhere.
//
//	byte 0     which way: pageAfter or pageBefore
//	bytes 1–8  creation of the object that the page is next to, Unix ms
//	bytes 9–   of an event, its offset in 8 bytes; of a destination, its id
//
// A page is next to an object and not at a number, so that it stays where it is while new objects arrive.
type pageMark struct {
	before bool // the page ends before the object; otherwise it begins behind it
	at     thinevent.Position
	id     string
}

const (
	pageParam = "page"

	pageAfter  = 'a'
	pageBefore = 'b'

	pageHeadBytes = 1 + 8
)

// pagePurpose is what a page is bound to: the list that was asked for, whose filters the parts are.
func (x *exchange) pagePurpose(filters ...string) string {
	mode := byte('t')
	if x.livemode {
		mode = 'l'
	}
	text := append(append(x.answer[:0], "page of "...), x.route.name...)
	text = appendText(append(text, 0, mode), []byte(x.business))
	for _, filter := range filters {
		text = appendText(text, []byte(filter))
	}
	x.answer = text
	return string(text)
}

// link is the path of another page of the list that was asked for, with the request's other parameters.
func (s *Server) link(x *exchange, purpose string, m pageMark) string {
	mark := []byte{pageAfter}
	if m.before {
		mark[0] = pageBefore
	}
	mark = binary.BigEndian.AppendUint64(mark, uint64(m.at.CreatedMs))
	if m.id != "" {
		mark = append(mark, m.id...)
	} else {
		mark = binary.BigEndian.AppendUint64(mark, uint64(m.at.Offset))
	}
	url := append(append([]byte(nil), x.path()...), '?')
	url = appendOtherParams(url, queryOf(x.text(x.index.target)))
	url = append(url, pageParam+"="...)
	return string(append(url, s.cfg.Sessions.Seal(purpose, mark)...))
}

// pageMark reads the page parameter; nil when there is none.
func (s *Server) pageMark(x *exchange, purpose string) (*pageMark, error) {
	text, given, err := x.form.Optional(pageParam)
	if err != nil || !given {
		return nil, err
	}
	mark, err := s.cfg.Sessions.Unseal(purpose, string(text))
	if err != nil || len(mark) <= pageHeadBytes {
		return nil, stripe.PageInvalid()
	}
	m := &pageMark{before: mark[0] == pageBefore}
	m.at.CreatedMs = int64(binary.BigEndian.Uint64(mark[1:]))
	if rest := mark[pageHeadBytes:]; len(rest) == 8 {
		m.at.Offset = int64(binary.BigEndian.Uint64(rest))
	} else {
		m.id = string(rest)
	}
	return m, nil
}

// appendOtherParams appends the parameters of a query but for the page, as they were sent, with an ampersand behind each.
// Only what can not stand in a link is escaped, so that its other reader reads what we did.
func appendOtherParams(dst, query []byte) []byte {
	for pair := range bytes.SplitSeq(query, []byte{'&'}) {
		name, _, _ := bytes.Cut(pair, []byte{'='})
		if decoded, ok := stripe.AppendUnescaped(nil, name); len(pair) == 0 || ok && string(decoded) == pageParam {
			continue
		}
		for _, c := range pair {
			if isLinkByte[c] {
				dst = append(dst, c)
			} else {
				dst = append(dst, '%', upperHex[c>>4], upperHex[c&15])
			}
		}
		dst = append(dst, '&')
	}
	return dst
}

const upperHex = "0123456789ABCDEF"

// isLinkByte is what may stand in a query (RFC 3986, section 3.4), and the brackets, which SDKs send as they are.
var isLinkByte = tableOf("%=+-._~!$'()*,;:@/?[]" + alphanumeric)

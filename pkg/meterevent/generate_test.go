package meterevent_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"
)

// documentsDefault is how many generated bodies the property tests read; METEREVENT_DOCUMENTS sets another number.
const documentsDefault = 20_000

// TestGeneratedDocuments reads bodies that are nearly right: a generated one, then mutations of it. With
// GOEXPERIMENT=jsonv2 every verdict and every field is compared with encoding/json/v2's.
func TestGeneratedDocuments(t *testing.T) {
	documents := documentCount(t)
	seed := rand.Uint64()
	t.Logf("seed %d, %d documents", seed, documents)
	g := generator{rand.New(rand.NewPCG(seed, 0))}
	pairs := newDecoderPairs()
	accepted := 0
	for n := 0; n < documents; {
		body := g.body()
		accepted += checkStream(t, pairs, body)
		for n++; n < documents && g.IntN(5) > 0; n++ {
			body = g.mutate(body)
			accepted += checkStream(t, pairs, body)
		}
	}
	if accepted < documents/4 {
		t.Errorf("only %d events of %d documents were accepted: the generator makes nothing but rubbish", accepted, documents)
	}
}

func documentCount(t *testing.T) int {
	t.Helper()
	text := os.Getenv("METEREVENT_DOCUMENTS")
	if text == "" && testing.Short() {
		return documentsDefault / 10
	} else if text == "" {
		return documentsDefault
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

type generator struct{ *rand.Rand }

func (g generator) one(of ...string) string { return of[g.IntN(len(of))] }

func (g generator) chance(percent int) bool { return g.IntN(100) < percent }

// body writes a stream body. Most events of one body share a template, so that layouts are learned and fit.
func (g generator) body() []byte {
	space := ""
	if g.chance(30) {
		space = g.one(" ", "\n", "\t \r\n")
	}
	template := g.template()
	var events []string
	for range 1 + g.IntN(6) {
		if g.chance(15) {
			template = g.template()
		}
		events = append(events, g.fill(template, space))
	}
	members := []string{g.name("events") + space + ":" + space + "[" + space + strings.Join(events, space+","+space) + space + "]"}
	for g.chance(8) {
		members = append(members, g.name(g.one("x", "y", "events", "has_more"))+":"+g.value(3))
	}
	g.Shuffle(len(members), func(i, k int) { members[i], members[k] = members[k], members[i] })
	return []byte(space + "{" + space + strings.Join(members, ","+space) + "}" + space)
}

// template is an event's property names, payload keys after a dot.
func (g generator) template() (names []string) {
	names = append(names, "event_name")
	for range g.IntN(4) {
		names = append(names, "."+g.one("value", "stripe_customer_id", "k", "", "ключ", "Value", `a"b`))
	}
	if g.chance(90) {
		names = append(names, "payload")
	}
	for _, optional := range []string{"identifier", "timestamp"} {
		if g.chance(60) {
			names = append(names, optional)
		}
	}
	if g.chance(7) {
		names = append(names, g.one("x", "Event_name", "event_name", "livemode", "payload", ""))
	}
	g.Shuffle(len(names), func(i, k int) { names[i], names[k] = names[k], names[i] })
	return names
}

func (g generator) fill(template []string, space string) string {
	var members, payload []string
	for _, name := range template {
		if key, ok := strings.CutPrefix(name, "."); ok {
			value := g.text()
			if g.chance(3) {
				value = g.value(1)
			}
			payload = append(payload, g.name(key)+space+":"+space+value)
		}
	}
	for _, name := range template {
		value := ""
		switch name {
		case "event_name":
			value = g.one(`"api_requests"`, `"api_requests"`, `"a"`, g.text())
		case "identifier":
			value = g.one(`"req_1"`, `"`+strings.Repeat("i", 1+g.IntN(102))+`"`, g.text(), "null")
		case "timestamp":
			value = g.timestamp()
		case "payload":
			value = "{" + space + strings.Join(payload, space+","+space) + space + "}"
		default:
			if strings.HasPrefix(name, ".") {
				continue
			}
			value = g.value(2)
		}
		if g.chance(1) {
			value = g.value(2)
		}
		members = append(members, g.name(name)+space+":"+space+value)
	}
	return "{" + space + strings.Join(members, space+","+space) + space + "}"
}

func (g generator) name(name string) string {
	if name != "" && g.chance(3) {
		return fmt.Sprintf(`"\u%04x%s"`, name[0], strings.ReplaceAll(name[1:], `"`, `\"`))
	}
	return `"` + strings.ReplaceAll(name, `"`, `\"`) + `"`
}

// text is a JSON string, now and then not quite.
func (g generator) text() string {
	var b strings.Builder
	b.WriteByte('"')
	n := g.IntN(20)
	switch g.IntN(60) {
	case 0:
		n = 99 + g.IntN(4)
	case 1:
		n = 495 + g.IntN(10)
	}
	odd := g.chance(15)
	for range n {
		if odd && g.chance(30) {
			b.WriteString(g.one(`\n`, `\"`, `\\`, `\/`, `\u0041`, `\u0000`, `\u00e9`, `\uD83D\uDE00`, "é", "日", "😀", "\x7f", "\u2028", "\ufffd"))
		} else {
			b.WriteByte("abcdefghijklmnopqrstuvwxyz0123456789_-. {}[]:,"[g.IntN(46)])
		}
	}
	if g.chance(1) {
		b.WriteString(g.one(`\ud800`, `\udc00x`, `\x`, "\xff", "\xed\xa0\x80", "\x00", "\n", `\u12`, `\ud800\u0041`))
	}
	b.WriteByte('"')
	return b.String()
}

func (g generator) timestamp() string {
	switch g.IntN(10) {
	case 0:
		return strconv.FormatInt(g.Int64N(1<<uint(20+g.IntN(25)))-g.Int64N(1<<30), 10)
	case 1:
		return `"` + strconv.FormatInt(g.Int64N(1<<40), 10) + `"`
	case 2:
		return g.one("null", `""`, `"2026"`, "-0", "1e3", "01", `"2026-02-29T00:00:00Z"`, `"2024-02-29T23:59:60Z"`, `"0000-12-31T23:59:59Z"`, `"9999-12-31T23:59:59.999-00:01"`)
	}
	fraction := ""
	if n := g.IntN(12); n > 0 && g.chance(70) {
		fraction = fmt.Sprintf(".%0*d", n, g.IntN(1000))[:n+1]
	}
	offset := g.one("Z", "Z", "Z", "z", "+00:00", "-00:00", "+02:00", "-23:59", "+24:00", "", "+0200")
	return fmt.Sprintf(`"%s%02d-%02d-%02d%s%02d:%02d:%02d%s%s"`, g.one("20", "20", "19", "00", "99"), g.IntN(100), 1+g.IntN(12), 1+g.IntN(31),
		g.one("T", "T", "T", "t", " "), g.IntN(25), g.IntN(61), g.IntN(61), fraction, offset)
}

// value is any JSON.
func (g generator) value(depth int) string {
	if depth == 0 {
		return g.one("1", "-0.5e+7", "0", "true", "false", "null", `""`, "01", "1.", "-", "nul", g.text())
	}
	switch g.IntN(6) {
	case 0:
		return "[" + g.value(depth-1) + "," + g.value(depth-1) + "]"
	case 1:
		return "{" + g.name(g.one("a", "b")) + ":" + g.value(depth-1) + "," + g.name(g.one("a", "c")) + ":" + g.value(depth-1) + "}"
	case 2:
		return g.one("{}", "[]", "[ ]", "{ }", "[,]", "{,}", "[1,]", `{"a"}`)
	}
	return g.value(0)
}

// mutate changes a body a little: what an attacker, a broken proxy or a bit flip does.
func (g generator) mutate(body []byte) []byte {
	b := append([]byte(nil), body...)
	at := g.IntN(len(b) + 1)
	switch end := min(len(b), at+1+g.IntN(12)); g.IntN(8) {
	case 0: // cut out
		b = append(b[:at], b[end:]...)
	case 1: // repeat
		b = append(b[:end:end], append(append([]byte(nil), b[at:end]...), b[end:]...)...)
	case 2: // flip a bit
		if at < len(b) {
			b[at] ^= 1 << g.IntN(8)
		}
	case 3, 4: // insert a token
		token := g.one(`"`, `\`, "{", "}", "[", "]", ",", ":", " ", "\n", "0", "-", "e", "null", `\u`, `\ud83d`, "\x00", "\xff", "\xef\xbb\xbf", "é")
		b = append(b[:at:at], append([]byte(token), b[at:]...)...)
	case 5: // cut off
		if g.chance(30) {
			b = b[:at]
		}
	case 6: // a letter or digit for another
		if at < len(b) && (b[at]|0x20 >= 'a' && b[at]|0x20 <= 'z' || b[at] >= '0' && b[at] <= '9') {
			b[at] = "0123456789abcxyzABC"[g.IntN(19)]
		}
	case 7: // names for each other
		b = []byte(strings.Replace(string(b), g.one("value", "event_name", "identifier", "k", "timestamp"), g.one("value", "event_name", "identifier", "k", "payload"), 1))
	}
	if len(b) == 0 {
		return []byte("{")
	}
	return b
}

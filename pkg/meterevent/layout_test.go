package meterevent_test

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"tollgate/pkg/meterevent"
)

func TestEventsWrittenAlikeAreScannedOnce(t *testing.T) {
	f := func(name string, event func(i int) string, wantMisses int) {
		t.Helper()
		var events []string
		for i := range 100 {
			events = append(events, event(i))
		}
		body := []byte(`{"events":[` + strings.Join(events, ", ") + `]}`)
		d := meterevent.NewDecoder(meterevent.Options{})
		for _, want := range []int{wantMisses, wantMisses - 1} { // the second request begins with what the first one left
			if _, err := d.Stream(body); err != nil {
				t.Fatal(err)
			}
			if d.Misses() > want {
				t.Errorf("%s: %d events were scanned, want %d", name, d.Misses(), want)
			}
		}
	}
	f("go", func(i int) string {
		return fmt.Sprintf(`{"event_name":"m%d","identifier":"id-%d","payload":{"value":"%d"},"timestamp":"2026-11-2%dT12:00:00Z"}`, i%3, i*i, i*i*i, i%10)
	}, 1)
	f("python", func(i int) string {
		return fmt.Sprintf(`{"event_name": "m", "identifier": null, "payload": {"a\u00e9": "é \n", "value": "%d"}, "timestamp": 17953%05d}`, i, i)
	}, 1)
	f("no timestamp, no identifier", func(i int) string {
		return fmt.Sprintf(`{"payload":{},"event_name":"m%d"}`, i)
	}, 1)
	f("one escape in a hundred", func(i int) string {
		if i == 50 {
			return `{"event_name":"\u0061","payload":{}}`
		}
		return `{"event_name":"a","payload":{}}`
	}, 2)
}

// What a layout is learned from is the text of a sender. Here a first event sets a trap, and the second one must be read as
// if there had been no first.
func TestALayoutNeverChangesWhatAnEventMeans(t *testing.T) {
	f := func(o meterevent.Options, first, second string) {
		t.Helper()
		body := []byte(`{"events":[` + first + `,` + second + `]}`)
		pair := decoderPair{meterevent.NewDecoder(o), meterevent.NewDecoder(o).ScanOnly()}
		want, wantErr := pair.scan.Stream(body)
		if _, err := pair.guess.Stream([]byte(`{"events":[` + first + `]}`)); err != nil {
			t.Fatalf("the first event: %v", err)
		}
		checkGuess(t, pair.guess, body, want, wantErr)
	}
	strict, lenient, coerce := meterevent.Options{}, meterevent.Options{Lenient: true}, meterevent.Options{CoerceNumbers: true}
	const alike = `{"event_name":"a","identifier":"i","payload":{"k":"v"},"timestamp":"2026-11-21T12:00:00Z"}`
	for _, second := range []string{
		alike,
		`{"event_name":"a","identifier":"i","payload":{"k":"v"},"timestamp":"2026-11-21T12:00:00Z"`,
		`{"event_name":"a","identifier":"i","payload":{"k":"v"},"timestamp":"2026-11-21T12:00:0`,
		`{"event_name":"a","identifier":"i","payload":{"k":"v"},"timestamp":"2026-11-21T12:00:00Z"}}`,
		`{"event_name":"a","identifier":"i","payload":{"k":"v","k":"v"},"timestamp":"2026-11-21T12:00:00Z"}`,
		`{"event_name":"a","identifier":"i","payload":{"k":"` + strings.Repeat("v", 500) + `"},"timestamp":"2026-11-21T12:00:00Z"}`,
		`{"event_name":"a","identifier":"i","payload":{"k":"` + strings.Repeat("v", 501) + `"},"timestamp":"2026-11-21T12:00:00Z"}`,
		`{"event_name":"","identifier":"i","payload":{"k":"v"},"timestamp":"2026-11-21T12:00:00Z"}`,
		`{"event_name":"` + strings.Repeat("n", 101) + `","identifier":"i","payload":{"k":"v"},"timestamp":"2026-11-21T12:00:00Z"}`,
		`{"event_name":"a","identifier":"","payload":{"k":"v"},"timestamp":"2026-11-21T12:00:00Z"}`,
		`{"event_name":"a","identifier":"` + strings.Repeat("i", 101) + `","payload":{"k":"v"},"timestamp":"2026-11-21T12:00:00Z"}`,
		`{"event_name":"a\n","identifier":"i","payload":{"k":"v"},"timestamp":"2026-11-21T12:00:00Z"}`,
		`{"event_name":"a","identifier":"i","payload":{"k":"\ud800"},"timestamp":"2026-11-21T12:00:00Z"}`,
		`{"event_name":"a","identifier":"i","payload":{"k":"` + "\xff" + `"},"timestamp":"2026-11-21T12:00:00Z"}`,
		`{"event_name":"a","identifier":"i","payload":{"k":"v"},"timestamp":"2026-11-21T12:00:0\u005a"}`,
		`{"event_name":"a","identifier":"i","payload":{"k":"v"},"timestamp":"2026-02-29T12:00:00Z"}`,
		`{"event_name":"a","identifier":"i","payload":{"k":"v"},"timestamp":"12345678901234567890"}`,
		`{"event_name":"a","identifier":"i","payload":{"k":"v"},"timestamp":"1795294370"}`,
	} {
		f(strict, alike, second)
	}
	// Numbers end where the next literal begins, and JSON has none with a zero in front.
	const number = `{"event_name":"a","payload":{},"timestamp":1795294370}`
	for _, text := range []string{"1795294371", "17952943711", "0795294370", "-795294370", "179529437", "1795294.70", "17952943e1", `"79529437"`, "null", "000000000"} {
		f(strict, number, strings.Replace(number, "1795294370", text, 1))
	}
	// null stays null, and a property that was absent may come.
	f(strict, `{"event_name":"a","identifier":null,"payload":{}}`, `{"event_name":"a","identifier":"i","payload":{}}`)
	f(strict, `{"event_name":"a","payload":{}}`, `{"event_name":"a","payload":{},"identifier":"i"}`)
	f(strict, `{"event_name":"a","payload":{}}`, `{"event_name":"a","payload":{"k":"v"}}`)
	// White space in the payload, and names with escapes.
	f(strict, `{ "event_name" : "a" , "payload" : { "k" : "v" } }`, `{ "event_name" : "b" , "payload" : { "k" : "w w" } }`)
	f(strict, `{"event_n\u0061me":"a","payload":{}}`, `{"event_n\u0061me":"b","payload":{}}`)
	f(strict, `{"event_name":"a","payload":{"\u006b":"v"}}`, `{"event_name":"b","payload":{"\u006b":"w"}}`)
	// What is skipped must not be taken for the payload or a time.
	f(lenient, `{"x":{"y":"z"},"event_name":"a","payload":{"k":"v"}}`, `{"x":{"y":"\\"},"event_name":"b","payload":{"k":"w"}}`)
	f(lenient, `{"event_name":"a","payload":{"k":"v"},"x":{"y":"z"}}`, `{"event_name":"b","payload":{"k":"w"},"x":{"y":"zz"}}`)
	f(lenient, `{"event_name":"a","payload":{},"x":1}`, `{"event_name":"b","payload":{},"x":2}`)
	f(lenient, `{"event_name":"a","payload":{},"x":null,"z":[1]}`, `{"event_name":"b","payload":{},"x":null,"z":[1]}`)
	f(lenient, `{"event_name":"a","payload":{},"x":"1"}`, `{"event_name":"b","payload":{},"x":"2"}`)
	f(coerce, `{"event_name":"a","payload":{"k":5}}`, `{"event_name":"b","payload":{"k":6}}`)
	f(coerce, `{"event_name":"a","payload":{"k":"5"}}`, `{"event_name":"b","payload":{"k":6}}`)
	f(strict, `{"event_name":"a","payload":{"k":"`+strings.Repeat("v", 500)+`"}}`, `{"event_name":"b","payload":{"k":""}}`)
}

// Literals are compared as words, and the shortest ones are shorter than a word; a literal of more than sixteen bytes is cut.
// Each length must still be compared to its last byte, wherever the byte is that differs.
func TestEachByteOfALiteralIsCompared(t *testing.T) {
	pairs := newDecoderPairs()
	for n := range 40 {
		key := strings.Repeat("k", n)
		event := `{"event_name":"a","payload":{"` + key + `":"v","x":"w"},"timestamp":"2026-11-21T12:00:00Z"}`
		for at := range event {
			for _, c := range []byte("\x00 \"\\,:}{kz\x80") {
				other := []byte(event)
				other[at] = c
				checkStream(t, pairs, []byte(`{"events":[`+event+`,`+string(other)+`,`+event+`]}`))
			}
			checkStream(t, pairs, []byte(`{"events":[`+event+`,`+event[:at]+event[at+1:]+`,`+event+`]}`))
		}
	}
}

// A value of each length, with each byte that means something in a string, or nearly, at each place.
func TestEachByteOfAValueIsLookedAt(t *testing.T) {
	pairs := newDecoderPairs()
	for _, format := range []string{
		`{"event_name":"%s","payload":{}}`,
		`{"event_name":"a","identifier":"%s","payload":{}}`,
		`{"event_name":"a","payload":{"value":"%s"}}`,
	} {
		for n := range 36 {
			value := strings.Repeat("v", n)
			alike := strings.Replace(format, "%s", "learned", 1) + "," + strings.Replace(format, "%s", value, 1)
			checkStream(t, pairs, []byte(`{"events":[`+alike+`]}`))
			for at := range value {
				for _, odd := range []string{`"`, `\`, `\"`, `\n`, `\u0041`, "\x00", "\x1f", " ", "!", "#", "[", "]", "\x7f", "\x80", "\xa2", "\xdc", "é", "\xff", `"#`, `"!`, `\]`, "\x1f "} {
					other := strings.Replace(format, "%s", value[:at]+odd+value[at+1:], 1)
					checkStream(t, pairs, []byte(`{"events":[`+alike+`,`+other+`]}`))
				}
			}
		}
	}
}

// A word is wider than what is left at a body's end. Neither may a word reach out of the body, nor may what happens to lie
// behind it in memory be taken for a part of it.
func TestWhatLiesBehindTheBodyIsNotRead(t *testing.T) {
	for _, event := range []string{
		`{"event_name":"a","identifier":"i","payload":{"k":"v"},"timestamp":"2026-11-21T12:00:00Z"}`,
		`{"event_name":"a","identifier":"` + strings.Repeat("i", 40) + `","payload":{"stripe_customer_id":"cus_1","value":"1"}}`,
		`{"payload":{"k":"v"},"timestamp":1795294370,"event_name":"a"}`,
		`{"payload":{},"event_name":"a","timestamp":1795294370}`,
		`{"event_name":"a","payload":{"k":""}}`,
	} {
		body := []byte(`{"events":[` + event + `,` + event + `]}`)
		pairs := newDecoderPairs()
		if checkStream(t, pairs, slices.Clip(body)) == 0 {
			t.Fatalf("%s is refused: this test tests nothing", event)
		}
		d := meterevent.NewDecoder(meterevent.Options{})
		for n := range len(body) {
			if n > 0 {
				checkStream(t, pairs, body[:n]) // the rest lies behind it
				checkStream(t, pairs, slices.Clip(bytes.Clone(body[:n])))
			}
			if n > len(event) {
				continue
			}
			one := []byte(event)
			for range 2 {
				if ev, err := d.One(one); err != nil || !bytes.Equal(ev.Raw, one) {
					t.Fatalf("%q: got %q, %v", one, ev.Raw, err)
				}
			}
			if _, err := d.One(one[:n]); (err == nil) != (n == len(one)) {
				t.Fatalf("%q: %v", one[:n], err)
			}
		}
	}
}

// An event's fields are written over those of the last request. Nothing of it may be left, whoever reads the event.
func TestNothingIsLeftOfTheRequestBefore(t *testing.T) {
	pairs := newDecoderPairs()
	full := `{"event_name":"full","identifier":"i","payload":{"k":"v"},"timestamp":"2026-11-21T12:00:00Z"}`
	bare := `{"event_name":"bare","payload":{}}`
	for _, events := range [][]string{
		{full, full, full, full},
		{bare, bare, bare, bare},
		{full, bare, full, bare},
		{bare, `{"event_name":"bare","identifier":null,"timestamp":null,"payload":{}}`, bare, full},
	} {
		checkStream(t, pairs, []byte(`{"events":[`+strings.Join(events, ",")+`]}`))
	}
}

func TestAPlainStringEndsAtItsFirstSpecialByte(t *testing.T) {
	text := bytes.Repeat([]byte("v"), 20)
	for at := range 9 {
		for first := range 256 {
			for second := range 256 {
				text[at], text[at+1] = byte(first), byte(second)
				want := slices.IndexFunc(text, func(c byte) bool { return c < ' ' || c == '"' || c == '\\' || c >= 0x80 })
				if want < 0 {
					want = len(text)
				}
				if got := meterevent.PlainEnd(text, 0); got != want {
					t.Fatalf("%q: %d, want %d", text, got, want)
				}
			}
		}
		text[at] = 'v'
	}
}

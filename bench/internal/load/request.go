package load

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strconv"
	"time"

	"tollgate/bench/internal/ledger"
)

// draws is a table of meters and customers, drawn once and walked through by every connection from a place of its own:
// drawing for each event would cost more than sending it.
type draws struct {
	meters    []byte // 4 digits each
	customers []byte // 8 digits each
}

const (
	drawn          = 1 << 16
	meterDigits    = 4
	customerDigits = 8
	zipfExponent   = 1.1
)

func newDraws(c Config) *draws {
	dice := rand.New(rand.NewPCG(c.Seed, 0x746f6c6c67617465))
	draw := func(n int) func() uint64 {
		if c.Zipf && n > 1 {
			return rand.NewZipf(dice, zipfExponent, 1, uint64(n-1)).Uint64
		}
		return func() uint64 { return dice.Uint64N(uint64(n)) }
	}
	meter, customer := draw(c.Meters), draw(c.Customers)
	if c.HotMeterShare > 0 {
		meter = drawHot(dice, c.HotMeterShare, draw(c.Meters-1))
	}
	d := &draws{}
	for range drawn {
		d.meters = fmt.Appendf(d.meters, "%0*d", meterDigits, meter())
		d.customers = fmt.Appendf(d.customers, "%0*d", customerDigits, customer())
	}
	return d
}

// drawHot gives the first meter its share, and the rest to those behind it.
func drawHot(dice *rand.Rand, share float64, others func() uint64) func() uint64 {
	return func() uint64 {
		if dice.Float64() < share {
			return 0
		}
		return 1 + others()
	}
}

// A request is one connection's HTTP request, head and body in one buffer of fixed length. Between two sends only
// digits change: sequence numbers, meters, customers, the time.
type request struct {
	bytes  []byte
	batch  int
	draws  *draws
	drawAt int
	sample event // offsets within an event, the same for all
	first  int   // where the first event begins
	stride int   // from one event to the next
	key    int   // where the idempotency key is
	stamp  []byte
	nanos  []byte
	second int64
}

// event says where in an event the parts that change are; -1: not there.
type event struct{ meter, customer, identifier, timestamp, nanos int }

const (
	timeForm  = "2006-01-02T15:04:05.000Z"
	nanosForm = "0000000000000000000" // since 1970: 19 digits until the year 2286
)

// newRequest builds it for one lane and one session token.
func newRequest(c *Config, d *draws, lane int, token string) *request {
	q := &request{batch: c.Batch, draws: d, drawAt: lane * 997 % drawn, stamp: []byte(timeForm), nanos: []byte(nanosForm)}
	begin, end, path := `{"events":[`, "]}", "/v2/billing/meter_event_stream"
	newEvent := newMeterEvent
	if c.Dialect == OTLPLogs {
		begin, end, path = `{"resourceLogs":[{"scopeLogs":[{"logRecords":[`, "]}]}]}", "/v1/logs"
		newEvent = newLogRecord
	}
	one, at := newEvent(c, lane)
	q.sample, q.stride = at, len(one)+1
	body := []byte(begin)
	for range c.Batch {
		body = append(append(body, one...), ',')
	}
	body = append(body[:len(body)-1], end...)

	u, _ := parseTarget(c.Target)
	q.bytes = fmt.Appendf(nil, "POST %s%s HTTP/1.1\r\nHost: %s\r\n", trimSlash(u.Path), path, u.Host)
	if token != "" {
		q.bytes = fmt.Appendf(q.bytes, "Authorization: Bearer %s\r\nStripe-Version: %s\r\n", token, apiVersion)
	}
	q.bytes = fmt.Appendf(q.bytes, "Content-Type: application/json\r\nContent-Length: %d\r\nUser-Agent: tollgate-bench\r\nIdempotency-Key: ", len(body))
	q.key = len(q.bytes)
	q.bytes = ledger.AppendIdentifier(q.bytes, c.Run, lane, 0)
	q.bytes = append(q.bytes, "\r\n\r\n"...)
	q.first = len(q.bytes) + len(begin)
	q.bytes = append(q.bytes, body...)
	return q
}

// apiVersion is the version that the SDKs of this API's latest release send.
const apiVersion = "2026-10-28.endive"

// newMeterEvent is an event of a stream's body.
func newMeterEvent(c *Config, lane int) (one []byte, at event) {
	at = event{identifier: -1, nanos: -1}
	one = append(one, `{"event_name":"meter_`...)
	at.meter = len(one)
	one = append(one, `0000",`...)
	if !c.Anonymous {
		one = append(one, `"identifier":"`...)
		at.identifier = len(one)
		one = append(ledger.AppendIdentifier(one, c.Run, lane, 0), `",`...)
	}
	one = append(one, `"timestamp":"`...)
	at.timestamp = len(one)
	one = append(append(one, timeForm...), `","payload":`...)
	payload := len(one)
	one = append(one, `{"stripe_customer_id":"cus_`...)
	at.customer = len(one)
	one = append(one, `00000000","value":"25"`...)
	const before, behind = `,"pad":"`, `"`
	if missing := c.PayloadBytes - (len(one) - payload) - len(before+behind+"}"); missing >= 0 {
		one = appendPad(one, before, missing, behind)
	}
	return append(one, "}}"...), at
}

// newLogRecord is an event as a log record of OTLP: its time, and a body with the fields of a meter event.
func newLogRecord(c *Config, lane int) (one []byte, at event) {
	at = event{identifier: -1}
	one = append(one, `{"timeUnixNano":"`...)
	at.nanos = len(one)
	one = append(append(one, nanosForm...), `","body":{"kvlistValue":{"values":[{"key":"event_name","value":{"stringValue":"meter_`...)
	at.meter = len(one)
	one = append(one, `0000"}},`...)
	if !c.Anonymous {
		one = append(one, `{"key":"identifier","value":{"stringValue":"`...)
		at.identifier = len(one)
		one = append(ledger.AppendIdentifier(one, c.Run, lane, 0), `"}},`...)
	}
	one = append(one, `{"key":"timestamp","value":{"stringValue":"`...)
	at.timestamp = len(one)
	one = append(append(one, timeForm...), `"}},{"key":"payload","value":{"kvlistValue":{"values":[`...)
	payload := len(one)
	one = append(one, `{"key":"stripe_customer_id","value":{"stringValue":"cus_`...)
	at.customer = len(one)
	one = append(one, `00000000"}},{"key":"value","value":{"stringValue":"25"}}`...)
	const before, behind = `,{"key":"pad","value":{"stringValue":"`, `"}}`
	if missing := c.PayloadBytes - (len(one) - payload) - len(before+behind); missing >= 0 {
		one = appendPad(one, before, missing, behind)
	}
	return append(one, `]}}}]}}}`...), at
}

func appendPad(one []byte, before string, n int, behind string) []byte {
	return append(append(append(one, before...), bytes.Repeat([]byte{'x'}, n)...), behind...)
}

func trimSlash(path string) string { return string(bytes.TrimSuffix([]byte(path), []byte("/"))) }

// patch makes it the request whose events begin at a sequence number, and returns what to write.
func (q *request) patch(sequence uint64, now time.Time) []byte {
	q.stampTime(now)
	ledger.PutSequence(q.bytes[q.key:], sequence)
	at := q.sample
	for i := range q.batch {
		e := q.bytes[q.first+i*q.stride:][:q.stride-1]
		d := q.drawAt
		q.drawAt = (d + 1) % drawn
		copy(e[at.meter:], q.draws.meters[d*meterDigits:][:meterDigits])
		copy(e[at.customer:], q.draws.customers[d*customerDigits:][:customerDigits])
		copy(e[at.timestamp:], q.stamp)
		if at.nanos >= 0 {
			copy(e[at.nanos:], q.nanos)
		}
		if at.identifier >= 0 {
			ledger.PutSequence(e[at.identifier:], sequence+uint64(i))
		}
	}
	return q.bytes
}

// stampTime formats the second once and the milliseconds each time.
func (q *request) stampTime(now time.Time) {
	ms := now.UnixMilli()
	if second := ms / 1000; second != q.second {
		q.second = second
		q.stamp = time.Unix(second, 0).UTC().AppendFormat(q.stamp[:0], timeForm)
		q.nanos = append(strconv.AppendInt(q.nanos[:0], second, 10), "000000000"...)
	}
	rest := int(ms % 1000)
	digits := [3]byte{byte('0' + rest/100), byte('0' + rest/10%10), byte('0' + rest%10)}
	copy(q.stamp[len(timeForm)-len("000Z"):], digits[:])
	copy(q.nanos[len(nanosForm)-len("000000000"):], digits[:])
}

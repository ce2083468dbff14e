package load

import (
	"bytes"
	"fmt"
	"math/rand/v2"
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
	second int64
}

// event says where in an event the parts that change are; -1: not there.
type event struct{ meter, customer, identifier, timestamp int }

const timeForm = "2006-01-02T15:04:05.000Z"

// newRequest builds it for one lane and one session token.
func newRequest(c *Config, d *draws, lane int, token string) *request {
	q := &request{batch: c.Batch, draws: d, drawAt: lane * 997 % drawn, stamp: []byte(timeForm)}
	one, at := newEvent(c, lane)
	q.sample, q.stride = at, len(one)+1
	body := []byte(`{"events":[`)
	first := len(body)
	for range c.Batch {
		body = append(append(body, one...), ',')
	}
	body = append(body[:len(body)-1], "]}"...)

	u, _ := parseTarget(c.Target)
	q.bytes = fmt.Appendf(nil, "POST %s/v2/billing/meter_event_stream HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\n"+
		"Content-Type: application/json\r\nContent-Length: %d\r\nStripe-Version: %s\r\nUser-Agent: tollgate-bench\r\nIdempotency-Key: ",
		trimSlash(u.Path), u.Host, token, len(body), apiVersion)
	q.key = len(q.bytes)
	q.bytes = ledger.AppendIdentifier(q.bytes, c.Run, lane, 0)
	q.bytes = append(q.bytes, "\r\n\r\n"...)
	q.first = len(q.bytes) + first
	q.bytes = append(q.bytes, body...)
	return q
}

// apiVersion is the version that the SDKs of this API's latest release send.
const apiVersion = "2026-10-28.endive"

func newEvent(c *Config, lane int) (one []byte, at event) {
	at = event{identifier: -1}
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
	const pad = `,"pad":""}`
	if missing := c.PayloadBytes - (len(one) - payload) - len(pad); missing >= 0 {
		one = append(append(one, `,"pad":"`...), bytes.Repeat([]byte{'x'}, missing)...)
		one = append(one, '"')
	}
	return append(one, "}}"...), at
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
		if at.identifier >= 0 {
			ledger.PutSequence(e[at.identifier:], sequence+uint64(i))
		}
	}
	return q.bytes
}

// stampTime formats the date once a second and the milliseconds each time.
func (q *request) stampTime(now time.Time) {
	ms := now.UnixMilli()
	if second := ms / 1000; second != q.second {
		q.second = second
		q.stamp = time.Unix(second, 0).UTC().AppendFormat(q.stamp[:0], timeForm)
	}
	rest := int(ms % 1000)
	q.stamp[20], q.stamp[21], q.stamp[22] = byte('0'+rest/100), byte('0'+rest/10%10), byte('0'+rest%10)
}

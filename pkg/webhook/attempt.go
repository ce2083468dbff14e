package webhook

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"time"

	"tollgate/pkg/commitlog"
	"tollgate/pkg/control"
	"tollgate/pkg/stripe"
	"tollgate/pkg/thinevent"
)

const (
	answerBytesMax  = 64 << 10    // of a body that is read, so that the connection can be used again
	headersBytesMax = 64 << 10    // of an answer's head
	answerMax       = time.Second // for reading that body, which says nothing
	connectMax      = 5 * time.Second
	idleMax         = 60 * time.Second
	idleTotalMax    = 256
	userAgent       = "tollgate/1 (+webhooks)"
)

// kind is how a try ended, for metrics.
type kind string

const (
	delivered kind = "delivered"
	refused   kind = "refused_address" // what it leads to may not be connected to
	answered  kind = "status"          // an answer other than 2xx
	timedOut  kind = "timeout"
	noConn    kind = "connection" // DNS, refused, reset
	badTLS    kind = "tls"
	badHTTP   kind = "http" // what came is no HTTP
	noTopic   kind = "topic"
)

// outcome is what came of one try.
type outcome struct {
	kind       kind
	reason     string // of a failure, short and the same each time
	retryAfter time.Duration
}

// attempts makes tries. Its methods may be called by any number of goroutines.
type attempts struct {
	cfg        *Config
	live, test *http.Transport
}

func newAttempts(cfg *Config) *attempts {
	return &attempts{cfg: cfg, live: newTransport(cfg, true), test: newTransport(cfg, false)}
}

// newTransport is without proxy, cookies and redirects: a Transport alone has none of them. Connections that are busy
// have no bound but that of tries, since a bound by host would let one destination wait for another.
func newTransport(cfg *Config, livemode bool) *http.Transport {
	g := &guard{allow: cfg.AllowNetworks, loopback: !livemode}
	t := &http.Transport{
		DialContext:            g.dial(cfg.Dial),
		TLSHandshakeTimeout:    connectMax,
		ForceAttemptHTTP2:      true,
		MaxIdleConns:           idleTotalMax,
		MaxIdleConnsPerHost:    triesMax,
		IdleConnTimeout:        idleMax,
		MaxResponseHeaderBytes: headersBytesMax,
		DisableCompression:     true, // a body is thrown away, not inflated
		HTTP2:                  &http.HTTP2Config{SendPingTimeout: connectMax, PingTimeout: connectMax},
	}
	if cfg.TLS != nil {
		t.TLSClientConfig = cfg.TLS.Clone()
	}
	return t
}

func (a *attempts) close() {
	a.live.CloseIdleConnections()
	a.test.CloseIdleConnections()
}

// try sends an event to a destination, once.
func (a *attempts) try(ctx context.Context, d *control.Destination, e *thinevent.Event) outcome {
	ctx, cancel := context.WithTimeout(ctx, a.cfg.AttemptMax)
	defer cancel()
	body := stripe.AppendNotification(nil, &e.Event)
	if d.Type == control.KafkaTopic {
		return a.produce(ctx, d, e, body)
	}
	return a.post(ctx, cancel, d, body)
}

func (a *attempts) post(ctx context.Context, cancel func(), d *control.Destination, body []byte) outcome {
	if err := CheckURL(d.Livemode, d.URL, a.cfg.AllowNetworks); err != nil {
		return outcome{kind: refused, reason: short("the url " + err.Error())}
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, d.URL, bytes.NewReader(body))
	if err != nil {
		return outcome{kind: refused, reason: "the url can not be requested"}
	}
	now := a.cfg.Now()
	req.Header = http.Header{
		"Content-Type":     {"application/json"},
		"User-Agent":       {userAgent},
		"Stripe-Signature": {string(stripe.AppendSignature(nil, now.Unix(), body, secrets(d, now.UnixMilli())...))},
	}
	transport := a.test
	if d.Livemode {
		transport = a.live
	}
	res, err := transport.RoundTrip(req)
	if err != nil {
		return a.failed(err)
	}
	// The head decides. The body is read for the connection's sake alone, and not for long. Behind a 101 the body is the
	// connection itself, and no context ends reading that: an endpoint could hold the try, and with it the shift, for ever.
	if res.StatusCode != http.StatusSwitchingProtocols {
		drain := time.AfterFunc(answerMax, cancel)
		_, _ = io.CopyN(io.Discard, res.Body, answerBytesMax)
		drain.Stop()
	}
	_ = res.Body.Close()
	return a.judge(res, now)
}

// secrets are those that sign now, the newest first.
func secrets(d *control.Destination, nowMs int64) []string {
	if d.OldSecret != "" && nowMs < d.OldUntilMs {
		return []string{d.Secret, d.OldSecret}
	}
	return []string{d.Secret}
}

func (a *attempts) judge(res *http.Response, now time.Time) outcome {
	code := res.StatusCode
	switch {
	case code/100 == 2:
		return outcome{kind: delivered}
	case code/100 == 3:
		return outcome{kind: answered, reason: fmt.Sprintf("HTTP %d: redirects are not followed", code)}
	case code == http.StatusTooManyRequests || code == http.StatusServiceUnavailable:
		return outcome{kind: answered, reason: fmt.Sprintf("HTTP %d", code), retryAfter: retryAfter(res.Header, now)}
	}
	return outcome{kind: answered, reason: fmt.Sprintf("HTTP %d", code)}
}

// failed says in few words what went wrong: the same ones for the same fault, without ports and counters that differ each
// time.
func (a *attempts) failed(err error) outcome {
	var (
		no     *refusedError
		dns    *net.DNSError
		record tls.RecordHeaderError
		cert   *tls.CertificateVerificationError
		alert  tls.AlertError
		asNet  net.Error
	)
	switch {
	case errors.As(err, &no):
		return outcome{kind: refused, reason: short(no.Error())}
	case errors.As(err, &cert):
		return outcome{kind: badTLS, reason: short("TLS: " + cert.Err.Error())}
	case errors.As(err, &record):
		return outcome{kind: badTLS, reason: "TLS: the answer is not TLS"}
	case errors.As(err, &alert):
		return outcome{kind: badTLS, reason: short("TLS: " + alert.Error())}
	case errors.As(err, &dns) && !dns.IsTimeout:
		return outcome{kind: noConn, reason: short("DNS: " + dns.Err)}
	case errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) || errors.As(err, &asNet) && asNet.Timeout():
		return outcome{kind: timedOut, reason: fmt.Sprintf("no answer within %v", a.cfg.AttemptMax)}
	case errors.Is(err, syscall.ECONNREFUSED):
		return outcome{kind: noConn, reason: "connection refused"}
	case errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE):
		return outcome{kind: noConn, reason: "connection reset"}
	case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || strings.Contains(err.Error(), "server closed"):
		return outcome{kind: noConn, reason: "the connection was closed before an answer"}
	case strings.Contains(err.Error(), "tls: "):
		return outcome{kind: badTLS, reason: "TLS: the handshake failed"}
	}
	if op := (*net.OpError)(nil); errors.As(err, &op) {
		return outcome{kind: noConn, reason: short("connection: " + op.Err.Error())}
	}
	return outcome{kind: badHTTP, reason: "the answer is no HTTP"}
}

// produce writes the notification to a topic, for those who would rather read than listen.
func (a *attempts) produce(ctx context.Context, d *control.Destination, e *thinevent.Event, body []byte) outcome {
	partitions := a.cfg.Log.Partitions(d.Topic)
	if partitions == 0 {
		return outcome{kind: noTopic, reason: "no such topic"}
	}
	key := topicKey(d, e)
	batch := commitlog.OneRecord(d.Topic, commitlog.PartitionFor(key, partitions), a.cfg.Now().UnixMilli(), key, body)
	err := commitlog.AppendWait(ctx, a.cfg.Log, batch)
	switch {
	case err == nil:
		return outcome{kind: delivered}
	case errors.Is(err, commitlog.ErrRefused):
		return outcome{kind: noTopic, reason: "the topic refuses the record"}
	case errors.Is(err, commitlog.ErrUnknown):
		return outcome{kind: timedOut, reason: "the log did not say whether the record is in the topic"}
	}
	return outcome{kind: noTopic, reason: "the log can not take records now"}
}

// topicKey is <business>/<mode>/<what the event is about>.
func topicKey(d *control.Destination, e *thinevent.Event) []byte {
	about := e.Type
	if e.Related != nil {
		about = e.Related.ID
	}
	return []byte(place{business: d.Business, livemode: d.Livemode, id: about}.String())
}

// short bounds a text and keeps its runes whole.
func short(s string) string {
	if len(s) > errorBytesMax {
		s = s[:errorBytesMax]
	}
	return strings.ToValidUTF8(s, "")
}

package httpd

import (
	"crypto/sha256"
	"strings"
	"sync"

	"tollgate/pkg/control"
	"tollgate/pkg/stripe"
)

// headerReplayed says that an answer is the one of an earlier request with the same Idempotency-Key.
const headerReplayed = "Idempotent-Replayed"

func (x *exchange) replayed() { x.ctx.Response.Header.Set(headerReplayed, "true") }

// keyHash is a hash of the request's Idempotency-Key with all that one is unique in, business, mode and API, for one use. It
// stands in records of the sessions topic and in ids of pings: one that is computed otherwise knows none of them.
func (x *exchange) keyHash(use string) [16]byte {
	mode := byte('t')
	if x.livemode {
		mode = 'l'
	}
	text := append(append(x.answer[:0], use...), byte(x.version), mode)
	text = append(appendText(text, []byte(x.business)), x.header(hIdempotencyKey)...)
	x.answer = text
	sum := sha256.Sum256(text)
	return [16]byte(sum[:16])
}

// idempotency is the request's Idempotency-Key with what it is used for: method, path and the parameters, which append
// writes in one spelling. It is nil when there is no key.
func (x *exchange) idempotency(appendParams func(dst []byte) []byte) (*control.Idempotency, *stripe.Error) {
	key := x.header(hIdempotencyKey)
	if len(key) == 0 {
		return nil, nil
	}
	// A key that is kept is text: two that differ in other bytes might become one on the way.
	if !visible(key, idempotencyKeyBytesMax) {
		return nil, stripe.IdempotencyKeyUnreadable()
	}
	text := append(x.answer[:0], x.route.method...)
	text = append(append(text, ' '), x.route.path...)
	text = append(append(text, 0), x.param...)
	text = append(text, 0)
	text = appendParams(text)
	x.answer = text
	sum := sha256.Sum256(text)
	return &control.Idempotency{API: x.version.String(), Key: string(key), Fingerprint: [16]byte(sum[:16])}, nil
}

// usedForChange says whether the request's Idempotency-Key has changed a meter or a destination, as far as this gateway has
// read. It is asked about requests that do neither, so that the key was used for something else, whatever its fingerprint.
func (s *Server) usedForChange(x *exchange) bool {
	key := x.header(hIdempotencyKey)
	if len(key) == 0 {
		return false
	}
	_, used := s.cfg.Control.Replay(x.business, x.livemode, &control.Idempotency{API: x.version.String(), Key: string(key)})
	return used
}

func (v apiVersion) String() string {
	if v == v1 {
		return "v1"
	}
	return "v2"
}

// inFlight holds the Idempotency-Keys of the v1 requests that are not answered yet. A connection has one request under
// way, so Config.ConnsMax bounds it.
type inFlight struct {
	mu   sync.Mutex
	keys map[string]struct{} // guarded by mu
}

// hold refuses a request whose key is that of another one under way. A caller that was not refused calls release when
// the request is decided.
func (f *inFlight) hold(x *exchange) (release func(), r *stripe.Error) {
	key := x.header(hIdempotencyKey)
	if len(key) == 0 {
		return func() {}, nil
	}
	var b strings.Builder
	b.WriteString(x.business)
	if x.livemode {
		b.WriteByte('/')
	} else {
		b.WriteByte(' ')
	}
	b.Write(key)
	name := b.String()
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, there := f.keys[name]; there {
		return nil, stripe.IdempotencyKeyInUse()
	}
	f.keys[name] = struct{}{}
	return func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		delete(f.keys, name)
	}, nil
}

package harness

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"
)

// Hook is an HTTP endpoint to which thin events are delivered. It may be used from several goroutines.
type Hook struct {
	URL string

	mu       sync.Mutex
	received []Delivery          // guarded by mu
	answer   func(id string) int // guarded by mu
}

// Delivery is one POST that an endpoint got.
type Delivery struct {
	ID        string // of the event
	Body      []byte
	Signature string
	At        time.Time
	Status    int // what it was answered
}

// NewHook listens. It answers 200 until Answer says otherwise.
func NewHook(tb testing.TB) *Hook {
	tb.Helper()
	h := &Hook{answer: func(string) int { return http.StatusOK }}
	s := httptest.NewServer(h)
	tb.Cleanup(s.Close)
	h.URL = s.URL + "/hook"
	return h
}

// Answer sets the status of later deliveries.
func (h *Hook) Answer(f func(id string) int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.answer = f
}

// ServeHTTP notes a delivery and answers it.
func (h *Hook) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
	if err != nil { // the sender was killed in the middle
		return
	}
	var v struct{ ID string }
	_ = json.Unmarshal(body, &v)
	h.mu.Lock()
	defer h.mu.Unlock()
	status := h.answer(v.ID)
	h.received = append(h.received, Delivery{v.ID, body, r.Header.Get("Stripe-Signature"), time.Now(), status})
	w.WriteHeader(status)
}

// Received is all deliveries so far.
func (h *Hook) Received() []Delivery {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([]Delivery(nil), h.received...)
}

// Times is how often each event was delivered.
func (h *Hook) Times() map[string]int {
	times := map[string]int{}
	for _, d := range h.Received() {
		times[d.ID]++
	}
	return times
}

package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/segmentio/kafka-go"
)

const (
	sessionAge   = 15 * time.Minute
	bodyBytesMax = 1 << 20
)

// producer is what a server needs of a kafka.Writer: WriteMessages returns when all messages are acknowledged.
type producer interface {
	WriteMessages(context.Context, ...kafka.Message) error
}

type server struct {
	key, business string
	producer      producer

	mu       sync.Mutex
	sessions map[string]time.Time // token -> when it expires
}

func newServer(key, business string, p producer) *server {
	return &server{key: key, business: business, producer: p, sessions: make(map[string]time.Time)}
}

func (s *server) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) })
	mux.HandleFunc("POST /v2/billing/meter_event_session", s.openSession)
	mux.HandleFunc("POST /v2/billing/meter_event_stream", s.takeEvents)
	return mux
}

func (s *server) openSession(w http.ResponseWriter, r *http.Request) {
	if bearer(r) != s.key {
		refuse(w, http.StatusUnauthorized, "invalid_api_key", "there is no such key")
		return
	}
	now := time.Now().UTC()
	token, expires := rand.Text()+rand.Text(), now.Add(sessionAge)
	s.mu.Lock()
	for t, e := range s.sessions { // no more are kept than were opened in a session's age
		if e.Before(now) {
			delete(s.sessions, t)
		}
	}
	s.sessions[token] = expires
	s.mu.Unlock()
	answer(w, http.StatusOK, map[string]any{
		"object":               "v2.billing.meter_event_session",
		"id":                   "mtes_test_" + rand.Text(),
		"authentication_token": token,
		"created":              now.Format(timeForm),
		"expires_at":           expires.Format(timeForm),
		"livemode":             false,
	})
}

func (s *server) takeEvents(w http.ResponseWriter, r *http.Request) {
	now := time.Now()
	s.mu.Lock()
	expires := s.sessions[bearer(r)]
	s.mu.Unlock()
	if expires.Before(now) {
		refuse(w, http.StatusUnauthorized, "billing_meter_event_session_expired", "the session has expired or never was")
		return
	}
	events, err := decode(http.MaxBytesReader(w, r.Body, bodyBytesMax))
	if err != nil {
		refuse(w, http.StatusBadRequest, "invalid_fields", err.Error())
		return
	}
	list, err := messages(s.business, events, now)
	if err != nil {
		refuse(w, http.StatusBadRequest, "invalid_fields", err.Error())
		return
	}
	if err := s.producer.WriteMessages(r.Context(), list...); err != nil {
		refuse(w, http.StatusServiceUnavailable, "not_stored", "not all events could be stored: "+err.Error())
		return
	}
	answer(w, http.StatusOK, struct{}{})
}

func bearer(r *http.Request) string {
	token, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	return token
}

func answer(w http.ResponseWriter, status int, body any) {
	text, err := json.Marshal(body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(text) // who has gone does not want it
}

func refuse(w http.ResponseWriter, status int, code, message string) {
	kind := "invalid_request_error"
	if status >= http.StatusInternalServerError {
		kind = "api_error"
	}
	answer(w, status, map[string]any{"error": map[string]string{"code": code, "message": message, "type": kind}})
}

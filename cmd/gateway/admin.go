package main

import (
	"context"
	"encoding/json"
	"net"
	"net/http"
	"net/http/pprof"
	"time"
)

// admin is the listener for operators: health, metrics, profiles. It is plain net/http: a scrape a few times a minute
// needs no speed, and it must answer when the public listener does not.
type admin struct {
	http *http.Server
	ln   net.Listener
	done chan error
}

// notReady is the body of /readyz when it answers 503.
type notReady struct {
	Ready   bool     `json:"ready"`
	Reasons []string `json:"reasons"`
}

// openAdmin listens and serves. ready returns what stands in the way of acknowledging an event now, nothing if nothing
// does; it is called for each /readyz. status is a text for a person, for /statusz. more adds what operators' commands ask.
func openAdmin(addr string, metrics http.Handler, ready func() []string, status func() string, more func(*http.ServeMux)) (*admin, error) {
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		_, _ = w.Write([]byte("ok\n"))
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) { writeReady(w, ready()) })
	mux.HandleFunc("GET /statusz", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		_, _ = w.Write([]byte(status()))
	})
	mux.Handle("GET /metrics", metrics)
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	more(mux)
	a := &admin{
		// No write timeout: a profile of 60 s takes 60 s.
		http: &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second, IdleTimeout: time.Minute, MaxHeaderBytes: 16 << 10},
		ln:   ln,
		done: make(chan error, 1),
	}
	go func() { a.done <- a.http.Serve(ln) }()
	return a, nil
}

func writeJSON(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body)
}

func writeReady(w http.ResponseWriter, reasons []string) {
	w.Header().Set("Cache-Control", "no-store")
	if len(reasons) > 0 {
		writeJSON(w, http.StatusServiceUnavailable, notReady{Reasons: reasons})
		return
	}
	writeJSON(w, http.StatusOK, notReady{Ready: true, Reasons: []string{}})
}

// adminCloseMax is for a scrape to end. A profile that runs for a minute must not hold up the exit.
const adminCloseMax = 200 * time.Millisecond

func (a *admin) close(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, adminCloseMax)
	defer cancel()
	if a.http.Shutdown(ctx) != nil {
		a.http.Close()
	}
	<-a.done
}

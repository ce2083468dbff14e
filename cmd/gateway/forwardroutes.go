package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"time"

	"tollgate/pkg/forward"
)

// What the admin listener answers about forwarding. The shapes are for this program's own commands; docs/OPERATIONS.md
// names the commands, not these.
const (
	pathDead  = "/forward/dead"
	pathRetry = "/forward/dead/retry"
	pathDrain = "/forward/drain"
)

const (
	deadListMax = 10_000
	// retryMax bounds the ids of a request, and retryBytesMax its body.
	retryMax      = 1000
	retryBytesMax = 256 << 10
)

// forwardRoutes adds them. Without a forwarder they say that there is none.
func (g *gateway) forwardRoutes(mux *http.ServeMux) {
	route := func(pattern string, do func(f *forward.Forwarder, w http.ResponseWriter, r *http.Request)) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			if g.forwarder == nil {
				writeFault(w, http.StatusNotFound, errors.New("this gateway forwards nothing: its configuration names no forward.businesses"))
				return
			}
			do(g.forwarder, w, r)
		})
	}
	route("GET "+pathDead, listDead)
	route("POST "+pathRetry, retryDead)
	route("POST "+pathDrain, g.waitForDrain)
	route("POST "+pathReconcile, g.reconcile)
}

// adminFault is the body of an answer that is not 200.
type adminFault struct {
	Error string `json:"error"`
}

func writeFault(w http.ResponseWriter, status int, err error) {
	writeJSON(w, status, adminFault{err.Error()})
}

// deadLetter is a letter with the id that names it.
type deadLetter struct {
	ID string `json:"id"`
	forward.Dead
}

func lettersOf(list []forward.Dead) []deadLetter {
	letters := make([]deadLetter, len(list))
	for i := range list {
		letters[i] = deadLetter{list[i].ID(), list[i]}
	}
	return letters
}

// deadPage is the oldest letters that are open. HasMore: there are others behind them.
type deadPage struct {
	Data    []deadLetter `json:"data"`
	HasMore bool         `json:"has_more"`
}

func listDead(f *forward.Forwarder, w http.ResponseWriter, r *http.Request) {
	limit, err := strconv.Atoi(r.URL.Query().Get("limit"))
	if err != nil || limit < 1 || limit > deadListMax {
		writeFault(w, http.StatusBadRequest, errors.New("limit must be a number from 1 to "+strconv.Itoa(deadListMax)))
		return
	}
	list, err := f.DeadList(r.Context(), r.URL.Query().Get("business"))
	if err != nil {
		writeFault(w, http.StatusServiceUnavailable, err)
		return
	}
	if r.URL.Query().Get("refused") == "true" {
		list = slices.DeleteFunc(list, func(d forward.Dead) bool { return d.Answer == nil })
	}
	page := deadPage{HasMore: len(list) > limit}
	page.Data = lettersOf(list[:min(limit, len(list))])
	writeJSON(w, http.StatusOK, page)
}

// retryRequest names letters of a business.
type retryRequest struct {
	Business string   `json:"business"`
	IDs      []string `json:"ids"`
}

// retryAnswer is what became of them. Error: why the rest was not tried.
type retryAnswer struct {
	Settled int          `json:"settled"`
	Left    []deadLetter `json:"left"`
	Error   string       `json:"error,omitempty"`
}

func retryDead(f *forward.Forwarder, w http.ResponseWriter, r *http.Request) {
	var q retryRequest
	d := json.NewDecoder(io.LimitReader(r.Body, retryBytesMax))
	d.DisallowUnknownFields()
	if err := d.Decode(&q); err != nil || len(q.IDs) == 0 || len(q.IDs) > retryMax {
		writeFault(w, http.StatusBadRequest, errors.New("the body must name 1 to "+strconv.Itoa(retryMax)+" ids"))
		return
	}
	settled, left, err := f.Retry(r.Context(), q.Business, q.IDs...)
	a := retryAnswer{Settled: settled, Left: lettersOf(left)}
	status := http.StatusOK
	if err != nil {
		a.Error = err.Error()
		if status = http.StatusServiceUnavailable; errors.Is(err, forward.ErrNoSuchDead) {
			status = http.StatusNotFound
		}
	}
	writeJSON(w, status, a)
}

// drainLine is a line of the answer of pathDrain: what is lacking, or at last that nothing is.
type drainLine struct {
	Drained bool   `json:"drained"`
	Lacking string `json:"lacking,omitempty"`
	Error   string `json:"error,omitempty"`
}

// waitForDrain answers line by line, until there is nothing lacking or the client has gone.
func (g *gateway) waitForDrain(f *forward.Forwarder, w http.ResponseWriter, r *http.Request) {
	before, err := time.Parse(time.RFC3339Nano, r.URL.Query().Get("before"))
	if err != nil {
		writeFault(w, http.StatusBadRequest, errors.New("before must be a time as RFC 3339"))
		return
	}
	say := linesTo[drainLine](w)
	if err := f.Drain(r.Context(), before, func(lacking string) { _ = say(drainLine{Lacking: lacking}) }); err != nil {
		_ = say(drainLine{Error: g.untilStopped(err).Error()})
		return
	}
	_ = say(drainLine{Drained: true})
}

// linesTo writes an answer line by line, each as soon as it is there.
func linesTo[L any](w http.ResponseWriter) (say func(L) error) {
	w.Header().Set("Content-Type", "application/x-ndjson")
	lines, flush := json.NewEncoder(w), http.NewResponseController(w).Flush
	return func(line L) error {
		if err := lines.Encode(line); err != nil {
			return err
		}
		return flush()
	}
}

// untilStopped is an error of something that ends with the gateway.
func (g *gateway) untilStopped(err error) error {
	if g.draining.Load() {
		return fmt.Errorf("this gateway was told to stop; ask another one, or again when it is back: %w", err)
	}
	return err
}

package fleet

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"tollgate/pkg/usage"
)

const (
	bearer = "Bearer "
	// answersMax bounds the questions that are answered at once, of all other gateways together.
	answersMax = 512
	// answerMax is longer than an asker waits by default: it ends the work of one that has gone without a word.
	answerMax      = 10 * time.Second
	headerBytesMax = 8 << 10
)

// serve answers other gateways on the Listener.
func (f *Fleet) serve() {
	f.secret = sha256.Sum256([]byte(f.cfg.Secret))
	f.slots = make(chan struct{}, answersMax)
	mux := http.NewServeMux()
	mux.HandleFunc("POST "+pathTotals, answer(f, totals))
	mux.HandleFunc("POST "+pathFate, answer(f, fates))
	mux.HandleFunc("POST "+pathVerdict, answer(f, verdicts))
	mux.HandleFunc("POST "+pathAmounts, answer(f, amounts))
	f.server = &http.Server{
		Handler:           f.known(mux),
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      answerMax + 10*time.Second,
		IdleTimeout:       2 * idleMax,
		MaxHeaderBytes:    headerBytesMax,
	}
	// It ends with ErrServerClosed after Close, or with a fault of the listener: then this gateway's partitions are away
	// for the others, which the others notice.
	f.wg.Go(func() {
		if err := f.server.Serve(f.cfg.Listener); !errors.Is(err, http.ErrServerClosed) {
			f.counts.listenFaults.Add(1)
		}
	})
}

// known lets through who has the secret, as many at once as there are slots. The hashes are compared, so that the time
// it takes tells neither the secret's bytes nor its length.
func (f *Fleet) known(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		given, ok := strings.CutPrefix(r.Header.Get("Authorization"), bearer)
		hash := sha256.Sum256([]byte(given))
		if subtle.ConstantTimeCompare(hash[:], f.secret[:]) != 1 || !ok {
			f.counts.strangers.Add(1)
			write(w, http.StatusUnauthorized, refusal{Error: codeUnauthorized, Message: "the secret is not the one of this gateway: internal_secret must be the same on all"})
			return
		}
		select {
		case f.slots <- struct{}{}:
			defer func() { <-f.slots }()
		default:
			f.counts.busy.Add(1)
			write(w, http.StatusServiceUnavailable, refusal{Error: codeBusy, Message: fmt.Sprintf("%d questions are being answered", answersMax)})
			return
		}
		ctx, cancel := context.WithTimeout(r.Context(), answerMax)
		defer cancel()
		next.ServeHTTP(w, r.WithContext(ctx))
	})
}

// answer handles one kind of question.
func answer[Q, A any](f *Fleet, what question[Q, A]) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var ask request[Q]
		if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, requestBytesMax)).Decode(&ask); err != nil {
			write(w, http.StatusBadRequest, refusal{Error: codeMalformed, Message: err.Error()})
			return
		}
		if err := f.ascending(ask.Partitions); err != nil {
			write(w, http.StatusBadRequest, refusal{Error: codeMalformed, Message: err.Error()})
			return
		}
		s, err := answerHere(r.Context(), f.cfg.Worker, what, ask.Partitions, ask.Query)
		if err == nil && len(s.partitions) == 0 {
			err = usage.ErrNotOwned
		}
		if err != nil {
			status, body := refusalOf(err)
			write(w, status, body)
			return
		}
		write(w, http.StatusOK, response[A]{s.partitions, s.answer})
	}
}

// ascending refuses a list in which a partition stands twice: it would be counted twice.
func (f *Fleet) ascending(partitions []int32) error {
	for i, p := range partitions {
		if p < 0 || int(p) >= f.partitions() || i > 0 && p <= partitions[i-1] {
			return fmt.Errorf("partition %d is not one of %s or stands out of order", p, f.cfg.UsageTopic)
		}
	}
	return nil
}

func write(w http.ResponseWriter, status int, body any) {
	text, err := json.Marshal(body)
	if err != nil {
		panic(fmt.Sprintf("BUG: fleet: an answer that is no JSON: %v", err))
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(text)))
	w.WriteHeader(status)
	_, _ = w.Write(text) // the asker has gone, or not: it is the one who cares
}

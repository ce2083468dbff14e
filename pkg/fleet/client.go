package fleet

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"
)

const (
	// dialMax is for one network: a machine that is gone answers nothing at all.
	dialMax = time.Second
	// connsMax bounds the connections to one gateway. A synchronous request occupies one until its verdict is there.
	connsMax = 256
	idleMax  = 30 * time.Second
)

func newClient(cfg Config) *http.Client {
	return &http.Client{
		Transport: &http.Transport{
			DialContext:         cfg.Dial,
			MaxConnsPerHost:     connsMax,
			MaxIdleConnsPerHost: connsMax,
			IdleConnTimeout:     idleMax,
			DisableCompression:  true,
		},
		// An owner answers itself. A redirect would carry the secret to whomever it names.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// post asks another gateway. An error that is not the other worker's own wraps ErrOwnerAway: whatever happened on the
// way, there is no answer.
func post[A, Q any](ctx context.Context, f *Fleet, path string, o owner, ask request[Q]) (share[A], error) {
	var none share[A]
	body, err := json.Marshal(ask)
	if err != nil {
		return none, err
	}
	ctx, cancel := context.WithTimeout(ctx, f.cfg.AskMax)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+o.address+path, bytes.NewReader(body))
	if err != nil {
		return none, away(o, err)
	}
	req.Header.Set("Authorization", bearer+f.cfg.Secret)
	req.Header.Set("Content-Type", "application/json")
	// A question changes nothing, so that the transport may ask it again on a connection that is not a closed one. An
	// empty value says so to the transport and is not sent.
	req.Header["Idempotency-Key"] = nil
	res, err := f.client.Do(req)
	if err != nil {
		var dial *net.OpError
		if errors.As(err, &dial) && dial.Op == "dial" && ctx.Err() == nil {
			f.board.miss(o.gateway, f.cfg.Now())
		}
		return none, away(o, err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(io.LimitReader(res.Body, answerBytesMax+1))
	switch {
	case err != nil:
		return none, away(o, err)
	case len(text) > answerBytesMax:
		return none, fmt.Errorf("the answer of the gateway at %s has more than %d bytes: ask for less at once", o.address, answerBytesMax)
	}
	if res.StatusCode != http.StatusOK {
		var r refusal
		if err := json.Unmarshal(text, &r); err != nil || r.Error == "" {
			return none, away(o, fmt.Errorf("it answered %s, and not as a gateway does", res.Status))
		}
		return none, r.err(o)
	}
	var answer response[A]
	if err := json.Unmarshal(text, &answer); err != nil {
		return none, away(o, err)
	}
	return share[A]{answer.Partitions, answer.Answer}, nil
}

func away(o owner, err error) error {
	if errors.Is(err, context.DeadlineExceeded) {
		err = errors.New("it did not answer in time")
	}
	return fmt.Errorf("%w: the gateway at %s: %w", ErrOwnerAway, o.address, err)
}

package load

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// A session is a meter event session that is opened again before it expires and when the target refuses its token, as
// a program with an SDK does. Connections share it. In a dialect without sessions it is a share of the rate and no more.
type session struct {
	c        *Config
	business Business
	schedule *schedule

	current atomic.Pointer[token]
	mu      sync.Mutex // one opens, the others wait for it; guards nothing but that
}

type token struct {
	text    string
	expires time.Time
}

// refreshBefore is how long before its end a session is replaced: longer than a request may take.
const refreshBefore = 10 * time.Second

const sessionMax = 10 * time.Second

var sessionClient = &http.Client{Timeout: sessionMax}

// noToken is every session's in a dialect without sessions.
var noToken token

// token returns a token that can be used now.
func (s *session) token(ctx context.Context, now time.Time) (*token, error) {
	if s.c.Dialect == OTLPLogs {
		return &noToken, nil
	}
	if t := s.current.Load(); t != nil && now.Before(t.expires) {
		return t, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if t := s.current.Load(); t != nil && now.Before(t.expires) {
		return t, nil
	}
	t, err := s.open(ctx)
	if err == nil {
		s.current.Store(t)
	}
	return t, err
}

// refused drops a token that the target did not take, unless it was replaced meanwhile.
func (s *session) refused(t *token) { s.current.CompareAndSwap(t, nil) }

func (s *session) open(ctx context.Context) (*token, error) {
	url := strings.TrimSuffix(s.c.SessionTarget, "/") + "/v2/billing/meter_event_session"
	q, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader("{}"))
	if err != nil {
		return nil, err
	}
	q.Header.Set("Authorization", "Bearer "+s.business.Key)
	q.Header.Set("Content-Type", "application/json")
	q.Header.Set("Stripe-Version", apiVersion)
	res, err := sessionClient.Do(q)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, answerBytesMax))
	if err != nil {
		return nil, err
	}
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("status %d: %s", res.StatusCode, body)
	}
	var opened struct {
		Token   string    `json:"authentication_token"`
		Expires time.Time `json:"expires_at"`
	}
	if err := json.Unmarshal(body, &opened); err != nil {
		return nil, err
	}
	if opened.Token == "" {
		return nil, errors.New("the session has no authentication_token")
	}
	// A session that is shorter than the margin is used to its half.
	left := time.Until(opened.Expires)
	return &token{text: opened.Token, expires: time.Now().Add(max(left-refreshBefore, left/2))}, nil
}

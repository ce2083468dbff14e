package opened

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"
	"unicode/utf8"

	"tollgate/pkg/stripe"
)

const object = "meter_event_session"

const (
	businessCharsMax = 64
	lifeMsMax        = 24 * 60 * 60 * 1000 // the longest that a session may live
)

// record is the value of a record, as JSON.
type record struct {
	Object         string `json:"object"`
	Business       string `json:"business"`
	Livemode       *bool  `json:"livemode"`
	IdempotencyKey string `json:"idempotency_key"`
	APIKey         string `json:"api_key"`
	Session        string `json:"session"`
	SigningKey     string `json:"signing_key"`
	Created        string `json:"created"`
	Expires        string `json:"expires"`
}

// encode returns a record's value. The session has passed check.
func encode(s *Session) []byte {
	value, err := json.Marshal(record{
		Object: object, Business: s.Business, Livemode: &s.Livemode,
		IdempotencyKey: hex.EncodeToString(s.Key[:]), APIKey: hex.EncodeToString(s.APIKey[:]),
		Session: hex.EncodeToString(s.ID[:]), SigningKey: hex.EncodeToString(s.SigningKey[:]),
		Created: formatTime(s.CreatedMs), Expires: formatTime(s.ExpiresMs),
	})
	if err != nil {
		panic(fmt.Sprintf("BUG: opened: a record of texts can not be written as JSON: %v", err))
	}
	return value
}

func formatTime(ms int64) string { return time.UnixMilli(ms).UTC().Format(stripe.TimeLayout) }

// decode is the reverse of encode. It refuses what no Open writes.
func decode(value []byte) (*Session, error) {
	var r record
	if err := json.Unmarshal(value, &r); err != nil {
		return nil, err
	}
	if r.Object != object {
		return nil, fmt.Errorf("the record is of a kind that this version does not know: object %.40q", r.Object)
	}
	if r.Livemode == nil {
		return nil, errors.New("livemode is missing")
	}
	s := &Session{Business: r.Business, Livemode: *r.Livemode}
	for _, f := range []struct {
		name, text string
		to         []byte
	}{
		{"idempotency_key", r.IdempotencyKey, s.Key[:]},
		{"api_key", r.APIKey, s.APIKey[:]},
		{"session", r.Session, s.ID[:]},
		{"signing_key", r.SigningKey, s.SigningKey[:]},
	} {
		if len(f.text) != 2*len(f.to) {
			return nil, fmt.Errorf("%s is not %d hexadecimal digits", f.name, 2*len(f.to))
		}
		if _, err := hex.Decode(f.to, []byte(f.text)); err != nil {
			return nil, fmt.Errorf("%s: %w", f.name, err)
		}
	}
	for _, f := range []struct {
		text string
		to   *int64
	}{{r.Created, &s.CreatedMs}, {r.Expires, &s.ExpiresMs}} {
		at, err := time.Parse(stripe.TimeLayout, f.text)
		if err != nil {
			return nil, err
		}
		*f.to = at.UnixMilli()
	}
	return s, s.check()
}

// check says why a session can not be a record.
func (s *Session) check() error {
	if n := utf8.RuneCountInString(s.Business); n == 0 || n > businessCharsMax || !utf8.ValidString(s.Business) {
		return fmt.Errorf("business is not from 1 to %d characters of UTF-8", businessCharsMax)
	}
	if life := s.ExpiresMs - s.CreatedMs; life < 1 || life > lifeMsMax {
		return fmt.Errorf("the session lives for %d ms, not for 1 to %d", life, lifeMsMax)
	}
	return nil
}

package forward

import (
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/stripe/stripe-go/v85"
)

// endpoint is whom an answer is from.
type endpoint uint8

const (
	toStream endpoint = iota
	toV1
	toAdjustments
)

// answer is what came back. err: nothing whole did.
type answer struct {
	status     int
	code, kind string // error.code, error.type
	message    string
	header     http.Header
	valid      bool // the body is a JSON object, of an error when the status says so
	err        error
}

// meaning is what an answer says about what was sent.
type meaning uint8

const (
	delivered    meaning = iota // it is at Stripe
	refused                     // at least one of the events never will be
	tooLarge                    // the request as a whole
	again                       // nothing was done: the same again, later
	slowDown                    // nothing was done: all of the business later and slower
	expired                     // nothing was done: a new session first
	blocked                     // nothing was done, nor will be before a person does something
	undetermined                // it may have been done, wholly or in part, now or later
)

const sessionExpired = "temporary_session_expired"

// mean reads an answer. It is pure. What it is not sure about, it calls undetermined: identifiers make a repetition
// harmless, and a loss is one.
func mean(to endpoint, a *answer) meaning {
	switch {
	case a.err != nil:
		return undetermined
	case a.status == http.StatusOK && a.valid:
		return delivered
	case a.status == http.StatusTooManyRequests:
		return slowDown
	case a.status >= 400 && a.status < 500 && a.kind == sessionExpired:
		return expired // whatever the status: 401 by the reference, 400 in the tests of the official clients
	case !a.valid && a.status != http.StatusRequestEntityTooLarge:
		return undetermined
	case a.status == http.StatusRequestEntityTooLarge:
		return tooLarge
	case a.status == http.StatusConflict && a.header.Get("Stripe-Should-Retry") == "false":
		return refused
	case a.status == http.StatusConflict, a.kind == "idempotency_error", a.code == "idempotency_error":
		return again
	case a.status == http.StatusBadRequest && a.header.Get("Stripe-Should-Retry") == "true":
		return again
	case a.status == http.StatusBadRequest:
		if to == toV1 && isDuplicate(a) {
			return delivered
		}
		return refused
	case a.status == http.StatusNotFound && to == toAdjustments && a.code == string(stripe.ErrorCodeResourceMissing):
		return refused
	case a.status >= 400 && a.status < 500:
		return blocked
	}
	return undetermined
}

// isDuplicate knows Stripe's sentence: older versions of the API have no code for it.
func isDuplicate(a *answer) bool {
	return a.code == "duplicate_meter_event" || strings.HasPrefix(a.message, "An event already exists with identifier")
}

// retryAfter is the pause that an answer asks for.
func (a *answer) retryAfter() time.Duration {
	seconds, err := strconv.Atoi(a.header.Get("Retry-After"))
	if err != nil || seconds < 0 {
		return 0
	}
	return min(time.Duration(seconds)*time.Second, time.Minute)
}

// read fills in what a body says.
func (a *answer) read(body []byte) {
	var v struct {
		Error *struct {
			Type    string `json:"type"`
			Code    string `json:"code"`
			Message string `json:"message"`
		} `json:"error"`
	}
	if err := json.Unmarshal(body, &v); err != nil || len(body) == 0 || body[0] != '{' {
		return
	}
	if a.valid = a.status == http.StatusOK || v.Error != nil; v.Error != nil {
		a.kind, a.code, a.message = v.Error.Type, v.Error.Code, v.Error.Message
	}
}

// answerOf makes an answer of what the official client returned. It retries nothing, and hides nothing that matters.
func answerOf(err error) *answer {
	a := &answer{status: http.StatusOK, valid: true}
	var known *stripe.Error
	var raw *stripe.V2RawError // of v2, whose other errors have types of their own
	var session *stripe.TemporarySessionExpiredError
	var rate *stripe.RateLimitError
	switch {
	case err == nil:
	case errors.As(err, &session):
		a.status, a.kind, a.message = http.StatusUnauthorized, sessionExpired, session.Error()
	case errors.As(err, &rate):
		a.status, a.kind, a.code, a.message = http.StatusTooManyRequests, string(rate.Type), rate.Code, rate.Message
		if rate.LastResponse != nil {
			a.header = rate.LastResponse.Header
		}
	case errors.As(err, &known) && known.HTTPStatusCode != 0:
		a.status, a.kind, a.code, a.message = known.HTTPStatusCode, string(known.Type), string(known.Code), known.Msg
		if known.LastResponse != nil {
			a.header = known.LastResponse.Header
		}
		a.valid = a.kind != "" || a.code != ""
	case errors.As(err, &raw) && raw.HTTPStatusCode != 0:
		a.status, a.code, a.message = raw.HTTPStatusCode, raw.Code, raw.Message
		if raw.Type != nil {
			a.kind = string(*raw.Type)
		}
		a.valid = a.kind != "" || a.code != ""
	default:
		a.err = err
	}
	return a
}

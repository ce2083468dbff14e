package forward

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

func TestWhatAnAnswerMeansForWhatWasSent(t *testing.T) {
	body := func(kind, code, message string) string {
		return `{"error":{"type":"` + kind + `","code":"` + code + `","message":"` + message + `"}}`
	}
	for _, c := range []struct {
		what   string
		to     endpoint
		status int
		body   string
		header string // of Stripe-Should-Retry
		want   meaning
	}{
		{"taken", toStream, 200, `{}`, "", delivered},
		{"a page instead of an answer", toStream, 200, `<html>`, "", undetermined},
		{"no body", toStream, 200, ``, "", undetermined},
		{"half an answer", toV1, 200, `{"object":`, "", undetermined},
		{"an array", toStream, 200, `[]`, "", undetermined},
		{"one of them is bad", toStream, 400, body("invalid_request_error", "invalid_fields", "x"), "", refused},
		{"bad, and it should be tried again", toStream, 400, body("invalid_request_error", "x", "x"), "true", again},
		{"a 400 of somebody else", toStream, 400, `<html>`, "", undetermined},
		{"a duplicate by its code", toV1, 400, body("invalid_request_error", "duplicate_meter_event", "x"), "", delivered},
		{"a duplicate by its sentence", toV1, 400, body("invalid_request_error", "", "An event already exists with identifier a."), "", delivered},
		{"the sentence where it means nothing", toAdjustments, 400, body("invalid_request_error", "", "An event already exists with identifier a."), "", refused},
		{"a cancel of what is not there", toAdjustments, 404, body("invalid_request_error", "resource_missing", "x"), "", refused},
		{"an address that is not there", toStream, 404, body("invalid_request_error", "resource_missing", "x"), "", blocked},
		{"a key used for something else", toV1, 400, body("idempotency_error", "", "x"), "", again},
		{"the session has ended", toStream, 401, body("temporary_session_expired", "x", "x"), "", expired},
		{"the session has ended, as the clients' tests have it", toStream, 400, body("temporary_session_expired", "x", "x"), "", expired},
		{"a key that is not known", toStream, 401, body("invalid_request_error", "", "x"), "", blocked},
		{"a key that may not", toStream, 403, body("invalid_request_error", "", "x"), "", blocked},
		{"another at the same time", toV1, 409, body("invalid_request_error", "too_many_concurrent_requests", "x"), "", again},
		{"another at the same time, and it should not be tried again", toV1, 409, body("invalid_request_error", "x", "x"), "false", refused},
		{"too large", toStream, 413, ``, "", tooLarge},
		{"too fast", toStream, 429, body("rate_limit", "rate_limit", "x"), "", slowDown},
		{"a lock", toV1, 429, body("invalid_request_error", "lock_timeout", "x"), "", slowDown},
		{"a fault of Stripe's", toStream, 500, body("api_error", "", "x"), "", undetermined},
		{"a fault that should not be tried again", toV1, 500, body("api_error", "", "x"), "false", undetermined},
		{"away", toStream, 503, body("api_error", "", "x"), "true", undetermined},
		{"a redirect", toStream, 302, ``, "", undetermined},
	} {
		a := &answer{status: c.status, header: http.Header{}}
		if c.header != "" {
			a.header.Set("Stripe-Should-Retry", c.header)
		}
		a.read([]byte(c.body))
		if got := mean(c.to, a); got != c.want {
			t.Errorf("%s: %s instead of %s", c.what, meaningNames[got], meaningNames[c.want])
		}
	}
	if got := mean(toStream, &answer{status: 200, valid: true, err: errors.New("cut off")}); got != undetermined {
		t.Errorf("an answer that was cut off is %s", meaningNames[got])
	}
}

// always answers the same.
type always struct {
	status int
	body   string
}

func (a always) RoundTrip(r *http.Request) (*http.Response, error) {
	h := http.Header{"Content-Type": {"application/json"}, "Retry-After": {"7"}}
	return &http.Response{StatusCode: a.status, Header: h, Body: io.NopCloser(strings.NewReader(a.body)), Request: r}, nil
}

// The official client has several types of errors, and none for some: none of them may look like an answer that was lost.
func TestWhatTheOfficialClientReturnsMeansWhatStripeAnswered(t *testing.T) {
	body := func(kind, code string) string {
		return `{"error":{"type":"` + kind + `","code":"` + code + `","message":"x"}}`
	}
	for _, c := range []struct {
		status int
		body   string
		want   meaning
	}{
		{200, `{"object":"v2.billing.meter_event_adjustment"}`, delivered},
		{400, body("invalid_request_error", "invalid_fields"), refused},
		{400, `{"error":{"code":"invalid_fields","message":"x"}}`, refused},
		{400, body("idempotency_error", ""), again},
		{401, body("invalid_request_error", "invalid_api_key"), blocked},
		{401, body("temporary_session_expired", "x"), expired},
		{403, body("invalid_request_error", "x"), blocked},
		{409, body("invalid_request_error", "x"), again},
		{429, body("rate_limit", "rate_limit"), slowDown},
		{429, body("invalid_request_error", "x"), slowDown},
		{500, body("api_error", "x"), undetermined},
		{502, `<html>`, undetermined},
	} {
		cfg := Config{Transport: always{c.status, c.body}}.withDefaults()
		s := newSender(&cfg, newCounts(nil), "acct_a", Business{StripeKey: "sk_test_1", APIBase: "http://stripe.test"})
		a := s.cancelOne(context.Background(), &parcel{cancel: true, name: "calls", identifier: "a"})
		if got := mean(toAdjustments, a); got != c.want {
			t.Errorf("%d %s is %s instead of %s", c.status, c.body, meaningNames[got], meaningNames[c.want])
		}
		if c.body == body("rate_limit", "rate_limit") && a.retryAfter() != 7*time.Second {
			t.Errorf("the pause that was asked for is %v", a.retryAfter())
		}
	}
}

package stripe

import "strconv"

// Retry is what an answer advises a client to do with the same request.
type Retry int8

// Without advice an SDK follows its own rules: connection errors, 409 and 5xx again, everything else not.
const (
	RetryUnsaid Retry = iota
	RetryYes
	RetryNo
)

// Error is a refusal as a client sees it. The constructors of this package fill it; a caller may change its copy,
// such as Status where an operator asked for another one.
type Error struct {
	// Status is the HTTP status.
	Status int
	// Type and Code are those of the v1 envelope; Code may be empty there.
	Type, Code string
	// TypeV2 and CodeV2 are for the v2 envelope where it differs; empty means the same as Type and Code.
	TypeV2, CodeV2 string
	// Message says which field, why, and what to do about it. It never holds a credential.
	Message string
	// Param names the field: "payload[value]" in a v1 form, "events[3].payload.value" in v2 JSON. May be empty.
	Param string
	// DocURL may be empty.
	DocURL string
	// RetryAfterSeconds is sent when it is positive. Only old SDKs act on it.
	RetryAfterSeconds int
	// ShouldRetry becomes Stripe-Should-Retry, which SDKs obey before any rule of their own. (Go's does not.)
	ShouldRetry Retry
	// RateLimitedReason becomes Stripe-Rate-Limited-Reason; one of the Reason constants, or empty.
	RateLimitedReason string
	// Close asks for Connection: close, so that the client's next request finds another gateway.
	Close bool
}

// The values of Status, named as in net/http, which this room does not import.
const (
	statusBadRequest                  = 400
	statusUnauthorized                = 401
	statusForbidden                   = 403
	statusNotFound                    = 404
	statusMethodNotAllowed            = 405
	statusRequestTimeout              = 408
	statusConflict                    = 409
	statusRequestEntityTooLarge       = 413
	statusUnsupportedMediaType        = 415
	statusExpectationFailed           = 417
	statusTooManyRequests             = 429
	statusRequestHeaderFieldsTooLarge = 431
	statusInternalServerError         = 500
	statusServiceUnavailable          = 503
)

// The values of Type.
const (
	typeInvalidRequest = "invalid_request_error"
	typeAPI            = "api_error"
	typeRateLimit      = "rate_limit"
	typeSessionExpired = "temporary_session_expired"
	typeIdempotency    = "idempotency_error"
)

// Error gives the refusal in one line, for logs and tests.
func (e *Error) Error() string {
	code := e.Code
	if code == "" {
		code = e.CodeV2
	}
	if code == "" {
		code = e.Type
	}
	return strconv.Itoa(e.Status) + " " + code + ": " + e.Message
}

// Headers yields the response headers that belong to the refusal, beside Content-Type, which is always
// application/json. The names are in the spelling that Stripe sends.
func (e *Error) Headers(yield func(name, value string) bool) {
	if e.RateLimitedReason != "" && !yield("Stripe-Rate-Limited-Reason", e.RateLimitedReason) {
		return
	}
	switch e.ShouldRetry {
	case RetryYes:
		if !yield("Stripe-Should-Retry", "true") {
			return
		}
	case RetryNo:
		if !yield("Stripe-Should-Retry", "false") {
			return
		}
	}
	if e.RetryAfterSeconds > 0 && !yield("Retry-After", strconv.Itoa(e.RetryAfterSeconds)) {
		return
	}
	if e.Close {
		yield("Connection", "close")
	}
}

// AppendV1 appends the envelope of /v1: {"error":{"type","code"?,"param"?,"message","doc_url"?}}.
func (e *Error) AppendV1(dst []byte) []byte {
	return e.append(dst, e.Type, e.Code)
}

// AppendV2 appends the envelope of /v2, where code and message are required. We always send type too: the SDKs of
// some years pick the class of their exception from it alone.
func (e *Error) AppendV2(dst []byte) []byte {
	typ, code := e.TypeV2, e.CodeV2
	if typ == "" {
		typ = e.Type
	}
	if code == "" {
		code = e.Code
	}
	if code == "" {
		code = typ
	}
	return e.append(dst, typ, code)
}

func (e *Error) append(dst []byte, typ, code string) []byte {
	dst = append(dst, `{"error":{"type":`...)
	dst = appendQuoted(dst, typ)
	if code != "" {
		dst = append(dst, `,"code":`...)
		dst = appendQuoted(dst, code)
	}
	if e.Param != "" {
		dst = append(dst, `,"param":`...)
		dst = appendQuoted(dst, e.Param)
	}
	dst = append(dst, `,"message":`...)
	dst = appendQuoted(dst, e.Message)
	if e.DocURL != "" {
		dst = append(dst, `,"doc_url":`...)
		dst = appendQuoted(dst, e.DocURL)
	}
	return append(dst, `}}`...)
}

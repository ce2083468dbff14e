package stripe

import "strconv"

// The reasons for which a rate limit answers, as Stripe-Rate-Limited-Reason names them.
const (
	ReasonGlobalRate        = "global-rate"
	ReasonEndpointRate      = "endpoint-rate"
	ReasonGlobalConcurrency = "global-concurrency"
)

// docMetering is sent as doc_url with the expired session, whose schema requires one.
const docMetering = "https://docs.stripe.com/billing/subscriptions/usage-based/recording-usage-api"

func invalidRequest(status int, codeV2, message string) *Error {
	return &Error{Status: status, Type: typeInvalidRequest, CodeV2: codeV2, Message: message}
}

// Who is asking.

// NoCredentials: there is no Authorization header, or an empty one.
func NoCredentials() *Error {
	return invalidRequest(statusUnauthorized, "invalid_api_key",
		"No API key provided. Send it in the Authorization header, as 'Bearer <key>', or with HTTP Basic as the user name with an empty password.")
}

// BadAuthorization: the Authorization header is neither Bearer nor Basic, or it is damaged.
func BadAuthorization() *Error {
	return invalidRequest(statusUnauthorized, "invalid_api_key",
		"The Authorization header can not be read. Send 'Bearer <key>', or 'Basic' with the base64 of '<key>:'; the password is empty.")
}

// InvalidAPIKey: the key is not known. The answer never repeats any of it.
func InvalidAPIKey() *Error {
	return invalidRequest(statusUnauthorized, "invalid_api_key",
		"Invalid API key provided. It is not one of the keys that this gateway is configured with.")
}

// TokenAsAPIKey: a session token was sent to an endpoint that wants a key.
func TokenAsAPIKey() *Error {
	return invalidRequest(statusUnauthorized, "invalid_api_key",
		"A meter event session token was sent where an API key is needed. The token is for POST /v2/billing/meter_event_stream only.")
}

// InvalidSessionToken: the token is missing a part, was altered, or was not made by this gateway. Deliberately not
// the expired session: a client would refresh, and refresh, and never learn that its token is not a token.
func InvalidSessionToken() *Error {
	return invalidRequest(statusUnauthorized, "invalid_api_key",
		"Invalid session token provided. Send the authentication_token of POST /v2/billing/meter_event_session, unchanged, as 'Bearer <token>'.")
}

// UnknownSigningKey: the token may be sound, but this gateway does not have the key it was signed with.
func UnknownSigningKey() *Error {
	return invalidRequest(statusUnauthorized, "invalid_api_key",
		"This gateway does not have the signing key of the session token. If it was opened at another gateway, the two must be configured with the same session keys.")
}

// APIKeyAsToken: a key was sent to the stream, which wants a session token.
func APIKeyAsToken() *Error {
	return invalidRequest(statusUnauthorized, "invalid_api_key",
		"An API key was sent where a session token is needed. Open a session with POST /v2/billing/meter_event_session and send its authentication_token.")
}

// SessionRevoked: the key that opened the session is no longer configured for its business.
func SessionRevoked() *Error {
	return invalidRequest(statusUnauthorized, "invalid_api_key",
		"The API key that opened this session has been removed. Open a new session with a current key.")
}

// SessionExpired: the token was good, and its time is over. SDKs know it by its type; those before 2024's look at
// the status, and for fleets of them an operator may set Status to 400.
func SessionExpired() *Error {
	return &Error{
		Status: statusUnauthorized, Type: typeSessionExpired, Code: "billing_meter_event_session_expired",
		Message: "The meter event session has expired. Open a new one with POST /v2/billing/meter_event_session.",
		DocURL:  docMetering,
	}
}

// MissingPermission: the restricted key lacks a permission, which is named as in the configuration.
func MissingPermission(name string) *Error {
	return invalidRequest(statusForbidden, "insufficient_permissions",
		"The API key does not have the permission '"+clip(name)+"', which this request needs.")
}

// AccountNotAllowed: Stripe-Account or Stripe-Context names an account that the key may not act for.
func AccountNotAllowed(account string) *Error {
	return invalidRequest(statusForbidden, "insufficient_permissions",
		"The API key may not act for the account '"+clip(account)+"' that Stripe-Account or Stripe-Context names.")
}

// AccountsDiffer: Stripe-Account and Stripe-Context are both there and name different accounts.
func AccountsDiffer() *Error {
	return invalidRequest(statusBadRequest, "invalid_fields",
		"Stripe-Account and Stripe-Context name different accounts. Send one of them.")
}

// What is asked.

// NotFound: there is no such endpoint, for this method.
func NotFound(method, path string) *Error {
	return invalidRequest(statusNotFound, "not_found",
		"Unrecognized request URL ("+clip(method)+": "+clip(path)+").")
}

// MethodNotAllowed: the endpoint takes another method, which is allowed. method may be any token.
func MethodNotAllowed(method, path, allowed string) *Error {
	return invalidRequest(statusMethodNotAllowed, "method_not_allowed",
		"The method "+clip(method)+" is not allowed for "+clip(path)+". Use "+allowed+".")
}

// Malformed: the request is not HTTP as we understand it, or two parties may read it differently. Where the next
// request begins can not be known, hence Close. reason is a whole sentence.
func Malformed(reason string) *Error {
	e := invalidRequest(statusBadRequest, "malformed_http_request", reason)
	e.Close = true
	return e
}

// ExpectationFailed: the Expect header asks for something else than 100-continue.
func ExpectationFailed() *Error {
	return invalidRequest(statusExpectationFailed, "expectation_failed", "The only Expect that is understood is 100-continue.")
}

// TooSlow: the request did not arrive in time. The rest of it may still be on its way, hence Close.
func TooSlow() *Error {
	e := invalidRequest(statusRequestTimeout, "request_timeout", "The request arrived too slowly and was given up. Nothing of it was stored.")
	e.Close = true
	return e
}

// HeadTooLarge: request line and headers have too many bytes or lines.
func HeadTooLarge() *Error {
	e := invalidRequest(statusRequestHeaderFieldsTooLarge, "request_header_too_large", "The request's headers are too large or too many.")
	e.Close = true
	return e
}

// BodyTooLarge: the body, as sent or decompressed, is longer than bytesMax. What was not read is not waited for.
func BodyTooLarge(bytesMax int) *Error {
	e := invalidRequest(statusRequestEntityTooLarge, "request_too_large",
		"The request body is larger than "+strconv.Itoa(bytesMax)+" bytes. Send less in one request. Nothing was stored.")
	e.Close = true
	return e
}

// TooLargeForLog: the body passed, but the records made of it do not fit into the log's batches.
func TooLargeForLog() *Error {
	return invalidRequest(statusRequestEntityTooLarge, "request_too_large",
		"The events of this request are too large for the log. Send fewer events in a request. Nothing was stored.")
}

// UnsupportedMediaType: the Content-Type is not the one that the endpoint takes.
func UnsupportedMediaType(got, want string) *Error {
	return invalidRequest(statusUnsupportedMediaType, "unsupported_media_type",
		"The Content-Type '"+clip(got)+"' is not supported here. Send "+want+".")
}

// UnsupportedEncoding: the Content-Encoding is none that we can undo.
func UnsupportedEncoding(got string) *Error {
	return invalidRequest(statusUnsupportedMediaType, "unsupported_content_encoding",
		"The Content-Encoding '"+clip(got)+"' is not supported. Send the body as it is, or with gzip or zstd.")
}

// CorruptEncoding: the body is not what its Content-Encoding says.
func CorruptEncoding(encoding string) *Error {
	return invalidRequest(statusBadRequest, "invalid_fields",
		"The request body is not valid "+clip(encoding)+", or it ends too early. Nothing was stored.")
}

// InvalidFields: a field is not as it must be; path and reason make the sentence: "events[3].payload.value" "must be
// a string". An empty path speaks of the body as a whole, and reason is then the whole sentence without its full stop.
// In the v1 envelope it has a param and no code.
func InvalidFields(path, reason string) *Error {
	message := reason + "."
	if path != "" {
		message = clip(path) + " " + message
	}
	e := invalidRequest(statusBadRequest, "invalid_fields", message)
	e.Param = clip(path)
	return e
}

// IdempotencyKeyTooLong: SDKs refuse keys of more than bytesMax (255) bytes, and so do we.
func IdempotencyKeyTooLong(bytesMax int) *Error {
	return invalidRequest(statusBadRequest, "invalid_fields",
		"The Idempotency-Key is longer than "+strconv.Itoa(bytesMax)+" bytes.")
}

// Whether it can be done now.

// RateLimited: too many events or requests; scope is in words: "this meter event session", limit in events a second.
// The whole request is refused and charged nothing. SDKs retry a 429 only when told to.
func RateLimited(scope string, perSecond int, reason string) *Error {
	return &Error{
		Status: statusTooManyRequests, Type: typeInvalidRequest, TypeV2: typeRateLimit, Code: "rate_limit",
		Message: "Too many events: " + scope + " may send " + strconv.Itoa(perSecond) +
			" a second. Nothing of this request was stored; send it again later.",
		RateLimitedReason: reason, ShouldRetry: RetryYes, RetryAfterSeconds: 1,
	}
}

// Unavailable: the events can not be stored now, and none of this request was. reason is a whole sentence.
func Unavailable(reason string) *Error {
	return sendAgain("service_unavailable", reason+" Nothing of this request was stored; send it again.")
}

// sendAgain is a 503 that passes: the same request is right in a second.
func sendAgain(code, message string) *Error {
	return &Error{
		Status: statusServiceUnavailable, Type: typeAPI, Code: code, Message: message,
		ShouldRetry: RetryYes, RetryAfterSeconds: 1,
	}
}

// Overloaded: there is no room to wait in. It is said at once, so that the client's pause is spent elsewhere.
func Overloaded() *Error {
	return Unavailable("The gateway has more events at hand than it can store right now.")
}

// TooManyBodies: the memory for large bodies is taken by others that are arriving. This one is not read, hence Close.
func TooManyBodies() *Error {
	e := Unavailable("Too many large request bodies are arriving at once; small batches still pass.")
	e.Close = true
	return e
}

// TooManyConnections: the gateway has as many connections as it may.
func TooManyConnections() *Error {
	e := Unavailable("Too many connections are open; use fewer and keep them alive.")
	e.Close = true
	return e
}

// TooManyConnectionsOfOne: the client's address has as many connections as one may.
func TooManyConnectionsOfOne() *Error {
	return &Error{
		Status: statusTooManyRequests, Type: typeInvalidRequest, TypeV2: typeRateLimit, Code: "rate_limit",
		Message: "Too many connections are open from this address; keep them alive instead of opening new ones. " +
			"Nothing of this request was stored; send it again later.",
		RateLimitedReason: ReasonGlobalConcurrency, ShouldRetry: RetryYes, RetryAfterSeconds: 1, Close: true,
	}
}

// Draining: the gateway is shutting down. The connection is closed so that the retry finds another one.
func Draining() *Error {
	e := Unavailable("The gateway is shutting down.")
	e.Close = true
	return e
}

// OutcomeUnknown: the log was asked to store the events and did not say whether it has. Sending the same request again
// is right, with the same Idempotency-Key or identifiers: what was stored is then not counted twice.
func OutcomeUnknown() *Error {
	return sendAgain("outcome_unknown", "It is not known whether the events of this request were stored. Send the same request again, "+
		"with the same Idempotency-Key or identifiers; events that were stored will not be counted twice.")
}

// LogRefused: the request is in order, and sent again it would be refused again: the gateway and its log do not fit
// together, which only its operator can change.
func LogRefused() *Error {
	return &Error{
		Status: statusInternalServerError, Type: typeAPI, Code: "log_refused", ShouldRetry: RetryNo,
		Message: "The log behind the gateway refused the events, and would again. Nothing was stored; its operator must look into it.",
	}
}

// Internal: a fault of ours. It says nothing about the cause, which is in the gateway's log under the Request-Id.
func Internal() *Error {
	return &Error{
		Status: statusInternalServerError, Type: typeAPI, Code: "internal_error",
		Message: "The gateway failed to handle this request; it is not known whether anything was stored. " +
			"The Request-Id of this answer helps to find the cause.",
	}
}

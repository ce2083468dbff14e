package httpd

import (
	"net/http"

	"tollgate/pkg/stripe"
)

// The refusals of requests that are not HTTP as we accept it. All of them close the connection: behind a head or a
// chunk that we could not read there is no telling where the next request begins. They are shared and never changed.
var (
	refuseRequestLine = malformed("The request line must be a method, a path and HTTP/1.1, each separated by one space.")
	refuseTarget      = malformed("The request target must be a path that begins with a slash; full URLs, hosts and * are not accepted.")
	refuseLineEnd     = malformed("Every line of the request's head must end in CR LF.")
	refuseHeader      = malformed("A header line is malformed: it needs a name directly followed by a colon, and must not continue the line above.")
	refuseHost        = malformed("The request needs exactly one Host header.")
	refuseLength      = malformed("Content-Length must be given once, in digits only, and not beside Transfer-Encoding.")
	refuseTransfer    = malformed("Transfer-Encoding must be given once, be exactly chunked, be sent by HTTP/1.1 only, and not beside Content-Length.")
	refuseBody        = malformed("A GET or HEAD request must not have a body.")
	refuseChunk       = malformed("The chunked body is malformed. Chunk extensions are not accepted.")
	refuseTinyChunks  = malformed("The chunked body consists of too many tiny chunks; send larger ones.")
	refuseTrailer     = malformed("Trailers behind a chunked body are not accepted.")
	refuseUnreadable  = malformed("The request could not be read: a header is malformed or the body ended early.")

	refuseHeadTooLarge = &stripe.Error{
		Status: http.StatusRequestHeaderFieldsTooLarge, Type: "invalid_request_error", CodeV2: "request_header_too_large",
		Message: "The request's headers are too large or too many.", Close: true,
	}
	refuseSlow = &stripe.Error{
		Status: http.StatusRequestTimeout, Type: "invalid_request_error", CodeV2: "request_timeout",
		Message: "The request arrived too slowly and was given up; nothing of it was recorded.", Close: true,
	}
	refuseBodies = &stripe.Error{
		Status: http.StatusServiceUnavailable, Type: "api_error", Code: "service_unavailable", ShouldRetry: stripe.RetryYes, RetryAfterSeconds: 1,
		Message: "Too many large request bodies are arriving at once; nothing of this one was recorded. Send it again, or send smaller batches.", Close: true,
	}
	refuseConnections = &stripe.Error{
		Status: http.StatusServiceUnavailable, Type: "api_error", Code: "service_unavailable", ShouldRetry: stripe.RetryYes, RetryAfterSeconds: 1,
		Message: "Too many connections are open; nothing was recorded. Use fewer connections and keep them alive.", Close: true,
	}
	refuseConnectionsOfOne = &stripe.Error{
		Status: http.StatusTooManyRequests, Type: "invalid_request_error", Code: "rate_limit", ShouldRetry: stripe.RetryYes, RetryAfterSeconds: 1,
		RateLimitedReason: "global-concurrency",
		Message:           "Too many connections are open from this address; nothing was recorded. Keep connections alive instead of opening new ones.", Close: true,
	}
)

func malformed(message string) *stripe.Error {
	return &stripe.Error{
		Status: http.StatusBadRequest, Type: "invalid_request_error", CodeV2: "malformed_http_request", Message: message, Close: true,
	}
}

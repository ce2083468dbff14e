package httpd

import "tollgate/pkg/stripe"

// The refusals of requests that are not HTTP as we accept it. All of them close the connection: behind a head or a
// chunk that we could not read there is no telling where the next request begins. They are shared and never changed.
var (
	refuseRequestLine = stripe.Malformed("The request line must be a method, a path and HTTP/1.1, each separated by one space.")
	refuseTarget      = stripe.Malformed("The request target must be a path that begins with a slash; full URLs, hosts and * are not accepted.")
	refuseLineEnd     = stripe.Malformed("Every line of the request's head must end in CR LF.")
	refuseHeader      = stripe.Malformed("A header line is malformed: it needs a name directly followed by a colon, and must not continue the line above.")
	refuseHost        = stripe.Malformed("The request needs exactly one Host header.")
	refuseLength      = stripe.Malformed("Content-Length must be given once, in digits only, and not beside Transfer-Encoding.")
	refuseTransfer    = stripe.Malformed("Transfer-Encoding must be given once, be exactly chunked, be sent by HTTP/1.1 only, and not beside Content-Length.")
	refuseBody        = stripe.Malformed("A GET or HEAD request must not have a body.")
	refuseChunk       = stripe.Malformed("The chunked body is malformed. Chunk extensions are not accepted.")
	refuseTinyChunks  = stripe.Malformed("The chunked body consists of too many tiny chunks; send larger ones.")
	refuseTrailer     = stripe.Malformed("Trailers behind a chunked body are not accepted.")
	refuseUnreadable  = stripe.Malformed("The request could not be read: a header is malformed or the body ended early.")

	refuseHeadTooLarge     = stripe.HeadTooLarge()
	refuseSlow             = stripe.TooSlow()
	refuseBodies           = stripe.TooManyBodies()
	refuseConnections      = stripe.TooManyConnections()
	refuseConnectionsOfOne = stripe.TooManyConnectionsOfOne()
)

package httpd

import (
	"errors"

	"github.com/valyala/fasthttp"

	"tollgate/pkg/stripe"
)

// unreadable answers a request that the library could not read to its end. It is the library's error handler; the
// library closes the connection afterwards.
func (s *Server) unreadable(ctx *fasthttp.RequestCtx, err error) {
	s.refuseEarly(ctx, s.whyUnreadable(ctx, err))
}

func (s *Server) whyUnreadable(ctx *fasthttp.RequestCtx, err error) *stripe.Error {
	c, ok := ctx.Conn().(*conn)
	switch {
	case ok && c.refusal != nil:
		return c.refusal
	case errors.Is(err, fasthttp.ErrBodyTooLarge):
		return stripe.BodyTooLarge(s.cfg.BodyBytesMax)
	}
	// What is left passed the wire: a control character in a header, a Host that is none, a body that ended early.
	return refuseUnreadable
}

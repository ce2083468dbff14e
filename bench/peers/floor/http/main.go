// Command http is the least that an HTTP server in Go costs: fasthttp reads the body of a request and answers {}. Its
// one decision is to do nothing else: it does not look into a body, does not ask for a token, and stores nothing. What
// a gateway costs above it is what the gateway does.
//
//	PEER_LISTEN=127.0.0.1:8080 PEER_KEY=sk_test_1 http
package main

import (
	"context"
	"log"
	"net"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/valyala/fasthttp"
)

const (
	readBufferBytes = 32 << 10 // head and body of 100 events in one read
	bodyBytesMax    = 1 << 20
	sessionAge      = 15 * time.Minute
	drainMax        = 3 * time.Second
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	listener, err := net.Listen("tcp", os.Getenv("PEER_LISTEN"))
	if err != nil {
		log.Fatal("floor/http: ", err)
	}
	s := &fasthttp.Server{
		Handler: handler(os.Getenv("PEER_KEY")), ReadBufferSize: readBufferBytes, MaxRequestBodySize: bodyBytesMax,
		NoDefaultServerHeader: true, CloseOnShutdown: true,
	}
	failed := make(chan error, 1)
	go func() { failed <- s.Serve(listener) }()
	select {
	case err := <-failed:
		log.Fatal("floor/http: ", err)
	case <-ctx.Done():
	}
	drain, cancel := context.WithTimeout(context.Background(), drainMax)
	defer cancel()
	_ = s.ShutdownWithContext(drain) // nothing was promised to whom it cuts off
}

func handler(key string) fasthttp.RequestHandler {
	authorization := "Bearer " + key
	return func(ctx *fasthttp.RequestCtx) {
		switch string(ctx.Path()) {
		case "/v2/billing/meter_event_stream": // its body has been read before a handler is called
			ctx.SetContentType("application/json")
			ctx.SetBodyString("{}")
		case "/v2/billing/meter_event_session":
			openSession(ctx, authorization)
		case "/livez":
		default:
			ctx.SetStatusCode(fasthttp.StatusNotFound)
		}
	}
}

func openSession(ctx *fasthttp.RequestCtx, authorization string) {
	ctx.SetContentType("application/json")
	if string(ctx.Request.Header.Peek("Authorization")) != authorization {
		ctx.SetStatusCode(fasthttp.StatusUnauthorized)
		ctx.SetBodyString(`{"error":{"code":"invalid_api_key","message":"there is no such key","type":"invalid_request_error"}}`)
		return
	}
	const form = "2006-01-02T15:04:05.000Z"
	now := time.Now().UTC()
	ctx.SetBodyString(`{"object":"v2.billing.meter_event_session","id":"mtes_test_floor","authentication_token":"floor","created":"` +
		now.Format(form) + `","expires_at":"` + now.Add(sessionAge).Format(form) + `","livemode":false}`)
}

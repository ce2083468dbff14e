package main

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/valyala/fasthttp"
)

func ask(path, authorization string) *fasthttp.Response {
	var ctx fasthttp.RequestCtx
	ctx.Request.SetRequestURI(path)
	ctx.Request.Header.Set("Authorization", authorization)
	handler("sk_test_bench")(&ctx)
	return &ctx.Response
}

func TestWhatAGeneratorAsksForIsAnswered(t *testing.T) {
	var session struct {
		Token   string    `json:"authentication_token"`
		Expires time.Time `json:"expires_at"`
	}
	res := ask("/v2/billing/meter_event_session", "Bearer sk_test_bench")
	if err := json.Unmarshal(res.Body(), &session); err != nil || session.Token == "" || time.Until(session.Expires) < 14*time.Minute {
		t.Errorf("session: %s %v", res.Body(), err)
	}
	if res := ask("/v2/billing/meter_event_session", "Bearer other"); res.StatusCode() != 401 || !json.Valid(res.Body()) {
		t.Errorf("another key: %d %s", res.StatusCode(), res.Body())
	}
	if res := ask("/v2/billing/meter_event_stream", "Bearer floor"); res.StatusCode() != 200 || string(res.Body()) != "{}" {
		t.Errorf("events: %d %s", res.StatusCode(), res.Body())
	}
	if res := ask("/livez", ""); res.StatusCode() != 200 {
		t.Errorf("livez: %d", res.StatusCode())
	}
}

package forward

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/valyala/fasthttp"
)

// BenchmarkCall is the stream call alone, net/http beside fasthttp, in turns and in one process: 100 requests a second of
// 100 events each, two every 20 ms. Figures are the medians of the turns.
//
//	go test -run '^$' -bench Call -benchtime 1x ./pkg/forward
func BenchmarkCall(b *testing.B) {
	for _, secured := range []bool{false, true} {
		b.Run(map[bool]string{false: "plain", true: "tls"}[secured], func(b *testing.B) {
			for range b.N {
				calls(b, secured)
			}
		})
	}
}

func calls(b *testing.B, secured bool) {
	stripe := startStripe(b, load{businesses: 1, tls: secured}, 100_000)
	cfg := Config{Businesses: map[string]Business{"acct_0": {StripeKey: benchKey(0), APIBase: stripe.url, MeterEventsBase: stripe.url}}}.withDefaults()
	transport := ownTransport(http.DefaultTransport.(*http.Transport).Clone(), 32)
	transport.TLSClientConfig = &tls.Config{RootCAs: stripe.roots}
	cfg.Transport = transport
	s := newSender(&cfg, newCounts(nil), "acct_0", cfg.Businesses["acct_0"])
	token, bad := s.session(b.Context())
	if bad != nil {
		b.Fatal(bad.describe())
	}
	parcels := make([]parcel, 100)
	for n := range parcels {
		parcels[n] = parcel{name: "calls", identifier: fmt.Sprintf("identifier-%09d", n), payload: []byte(`{"stripe_customer_id":"cus_00000001","value":"25"}`), timestampMs: time.Now().UnixMilli()}
	}
	body := appendStream(nil, parcels)
	target := stripe.url + "/v2/billing/meter_event_stream"
	address, _ := url.Parse(target)
	fast := &fasthttp.HostClient{Addr: address.Host, IsTLS: secured, TLSConfig: &tls.Config{RootCAs: stripe.roots}, MaxConns: 16, NoDefaultUserAgentHeader: true, ReadTimeout: 20 * time.Second, WriteTimeout: 20 * time.Second}
	header := http.Header{"Authorization": {"Bearer " + token}, "Content-Type": {"application/json"}, "Stripe-Version": {apiVersion}}
	ways := []struct {
		name string
		call func() (int, error)
	}{
		{"net/http", func() (int, error) {
			ctx, cancel := context.WithTimeout(b.Context(), cfg.RequestTimeout)
			defer cancel()
			a := s.post(ctx, target, "application/json", token, body, "")
			return a.status, a.err
		}},
		{"RoundTrip", func() (int, error) {
			ctx, cancel := context.WithTimeout(b.Context(), cfg.RequestTimeout)
			defer cancel()
			r := (&http.Request{Method: http.MethodPost, URL: address, Host: address.Host, Header: header, Body: readOnce{bytes.NewReader(body)}, ContentLength: int64(len(body)), Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1}).WithContext(ctx)
			resp, err := transport.RoundTrip(r)
			if err != nil {
				return 0, err
			}
			defer resp.Body.Close()
			var text bytes.Buffer
			_, err = text.ReadFrom(resp.Body)
			return resp.StatusCode, err
		}},
		{"fasthttp", func() (int, error) {
			q, r := fasthttp.AcquireRequest(), fasthttp.AcquireResponse()
			defer fasthttp.ReleaseRequest(q)
			defer fasthttp.ReleaseResponse(r)
			q.Header.SetMethod(http.MethodPost)
			q.SetRequestURI(target)
			q.Header.Set("Authorization", "Bearer "+token)
			q.Header.Set("Content-Type", "application/json")
			q.Header.Set("Stripe-Version", apiVersion)
			q.SetBodyRaw(body)
			err := fast.DoTimeout(q, r, cfg.RequestTimeout)
			return r.StatusCode(), err
		}},
	}
	costs := make([][]float64, len(ways))
	const turns, ticks, each = 5, 24, 5
	for turn := range turns + 1 {
		for n, way := range ways {
			before, tick := cpu(), time.NewTicker(50*time.Millisecond)
			done := make(chan error, each)
			for range ticks {
				<-tick.C
				for range each {
					go func() {
						status, err := way.call()
						if err == nil && status != http.StatusOK {
							err = fmt.Errorf("the answer is %d", status)
						}
						done <- err
					}()
				}
				for range each {
					if err := <-done; err != nil {
						b.Fatal(way.name, err)
					}
				}
			}
			tick.Stop()
			if turn > 0 { // connections are made in the first
				costs[n] = append(costs[n], float64((cpu()-before).Microseconds())/ticks/each)
			}
		}
	}
	b.ReportMetric(0, "ns/op")
	for n, way := range ways {
		slices.Sort(costs[n])
		b.ReportMetric(costs[n][turns/2], strings.ReplaceAll(way.name, "/", "-")+"-cpu-µs/call")
	}
}

type readOnce struct{ *bytes.Reader }

func (readOnce) Close() error { return nil }

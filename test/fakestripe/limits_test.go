package fakestripe_test

import (
	"fmt"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"tollgate/test/fakestripe"
)

func TestALimitHoldsInAnySecondAndChargesNothingForARefusal(t *testing.T) {
	r := newRig(t, fakestripe.Config{Limits: fakestripe.Limits{SessionEvents: 100, BusinessEvents: 150}})
	send := func(want int) {
		t.Helper()
		if got := r.stream(many(fmt.Sprint(r.at.UnixNano(), r.token), 50)...); got.Status != want {
			t.Errorf("at %v: answered %+v, want %d", r.at.Sub(start), got, want)
		}
	}
	r.at = start.Add(900 * time.Millisecond)
	send(200)
	send(200)
	got := r.stream(many("x", 1)...)
	if r.want(got, 429, "rate_limit"); got.Type != "rate_limit" || got.Header.Get("Stripe-Rate-Limited-Reason") != "endpoint-rate" || got.Header.Get("Stripe-Should-Retry") != "true" {
		t.Errorf("answered %+v", got)
	}
	r.at = start.Add(1899 * time.Millisecond) // another second by the clock, and the same by length
	send(429)
	r.at = start.Add(1900 * time.Millisecond)
	send(200)
	r.open() // another session has its own hundred, the business 150 in all
	send(200)
	send(200)
	send(429)
	s := r.State(acct)
	if s.RateMax != 150 || s.SessionRateMax != 100 || s.RateLimited != 3 {
		t.Errorf("saw %+v", s)
	}
	r.SetLimits(fakestripe.Limits{})
	send(200)
}

func TestTheOtherEndpointsHaveTheirOwnLimits(t *testing.T) {
	r := newRig(t, fakestripe.Config{Limits: fakestripe.Limits{SyncEvents: 2, Calls: 3}})
	form := "event_name=sum&payload[stripe_customer_id]=cus_1&payload[value]=1"
	for i, want := range []int{200, 200, 429} {
		r.want(r.post(eventsPath, usage("sum", "", "1", start)), want, map[int]string{429: "rate_limit"}[want])
		got := r.post(v1Events, form)
		r.want(got, want, map[int]string{429: "rate_limit"}[want])
		if want == 429 && got.Type != "invalid_request_error" {
			t.Errorf("v1 says %q", got.Type)
		}
		if got := r.get(v1Meters); got.Status != 200 {
			t.Errorf("call %d: %+v", i, got)
		}
	}
	if got := r.get(v1Meters); got.Status != 429 || got.Header.Get("Stripe-Rate-Limited-Reason") != "global-rate" {
		t.Errorf("the fourth call: %+v", got)
	}
}

func TestRequestsAtOnceAreLimited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, fakestripe.Config{Now: time.Now, Limits: fakestripe.Limits{Concurrent: 2}})
		r.open()
		_ = r.Inject(fakestripe.Fault{Kind: fakestripe.HangAfter, Endpoint: fakestripe.Stream})
		var waiting sync.WaitGroup
		for i := range 2 {
			waiting.Go(func() {
				if got := r.stream(many(fmt.Sprint("e", i), 1)...); got.Status != 200 {
					t.Errorf("answered %+v", got)
				}
			})
		}
		synctest.Wait()
		if got := r.stream(many("x", 1)...); got.Status != 429 || got.Header.Get("Stripe-Rate-Limited-Reason") != "endpoint-concurrency" {
			t.Errorf("the third: %+v", got)
		}
		if got := r.do(t.Context(), http.MethodGet, v1Meters, "sk_test_2", ""); got.Status != 200 {
			t.Errorf("another business: %+v", got)
		}
		r.ClearFaults()
		r.Release()
		waiting.Wait()
		if s := r.State(acct); s.InFlight != 0 || s.InFlightMax != 2 {
			t.Errorf("saw %+v", s)
		}
	})
}

func TestItKeepsNoMoreThanItIsTold(t *testing.T) {
	r := newRig(t, fakestripe.Config{EventsMax: 10, RequestsMax: 3})
	r.want(r.stream(many("e", 10)...), 200, "")
	r.want(r.stream(many("f", 1)...), 503, "fake_is_full")
	r.want(r.post(eventsPath, usage("sum", "", "1", start)), 503, "fake_is_full")
	log := r.Requests()
	if len(log) != 3 || log[0].Applied != 10 || log[2].Endpoint != fakestripe.Events {
		t.Errorf("the log is %+v", log)
	}
}

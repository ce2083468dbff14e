// Package fakestripe is Stripe's metering as a test wants it: honest about what is documented, unpleasant where nothing
// is promised, and able to say afterwards what it has counted.
//
// The model is an account's meters, the events that were received, and exact sums of them. A request passes these
// stations, and a Fault may stop it at any of them:
//
//	key or session ─▶ read ─▶ before ─▶ structure ─▶ limits ─▶ applied ─▶ after ─▶ answer
//
// Everything that a station decides it decides at once, under one lock, by the clock and the dice of Config. It has no
// goroutine but the timer of Late, and sleeps only where a fault or Config.Latency says so, so that it works inside a
// testing/synctest bubble: there it is reached by Transport, which needs no sockets, or by Pipe, for clients that dial.
// Every method may be called at any time.
//
//	s := fakestripe.New(fakestripe.Config{Keys: map[string]string{"sk_test_1": "acct_1"}})
//	s.CreateMeter(fakestripe.Account{Business: "acct_1"}, fakestripe.Meter{EventName: "api_requests"})
//	s.Inject(fakestripe.Fault{Kind: fakestripe.ResetAfter, Endpoint: fakestripe.Stream, Times: 3})
//	client := &http.Client{Transport: s.Transport()}   // or httptest.NewServer(s)
//	...
//	s.Totals(account)   // exact, by meter, customer and minute
//	s.State(account)    // counts by reason, rates, and what must never happen
//
// What is modelled: sessions and their end, the stream's structural checks and its judgement behind the answer, the
// synchronous endpoints of v1 and v2 with their refusals, the identifier's 24 hours, the timestamp's 35 days and 5
// minutes, values as decimals of 15 digits, cancellations within 24 hours, meters, summaries with their alignment and
// paging, answers kept for an idempotency key (v1 replays what it executed, also when it answered 500; v2 only what
// went well), limits of events in any one second, and of requests at once.
//
// Where Stripe is silent the harsher reading is the default. The stream does not look at Idempotency-Key, so that
// events without identifier count as often as they arrive; an identifier is free again after exactly 24 hours; a
// session ends to the millisecond; a request that was not answered may be applied wholly, in part, or later (Late).
// What tests want both ways is in Config: the scope of an identifier, a second cancellation, summaries that lie on no
// minute or lag behind.
//
// What is not modelled: TLS, restricted keys and their permissions, connected accounts (Stripe-Account and
// Stripe-Context are refused unless they name the key's own), whether a customer exists, thin events, dimensions,
// prices and invoices, and the two 409: a second request with an idempotency key while the first is running, and two at
// once for one customer and meter. A cancellation is applied before it is answered, and one that precedes its event is
// refused. Limits are the same for live and test mode. It keeps what it counted in memory, up to Config.EventsMax
// events, and answers 503 beyond.
package fakestripe

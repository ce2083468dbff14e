// Package httpd is the gateway's public face: it answers the metering endpoints of the Stripe API, v1 and v2, with the
// meters and their totals, the thin events and their destinations, and is the only place that knows HTTP.
//
// A request passes these gates, and stops at the first that refuses it:
//
//	conn, wire      framing, sizes, time: the only reader of what clients write; fasthttp is given heads of our making
//	fasthttp        bodies, answers, keep-alive, on the connection's own goroutine
//	route           path and method; content type
//	access          API key or session token, permission, account
//	read            Content-Encoding undone, within the body cap
//	meterevent      structure, of all events or of none
//	charge          rate limits, in events: all or none
//	ingest          the log: 200 only when the events are durable (G1)
//
// The stream ends there. An event of a synchronous endpoint is judged by its meter before it is stored, and answered with
// the verdict of whoever counts it (D18); meters are proposals to the control plane, and reads of them wait until it has
// caught up, so that every gateway shows what any has answered, and so it is with event destinations and thin events; totals
// and fates are asked of all who have a part of them. What can not be asked is a 503, never a guess.
//
// A request is made for one business: the key's own, or an account that the key may act for and the request names. Whose
// it is is known before anything is looked up. What a route needs of a key is in the table of routes; a thin event needs
// besides what reading its subject needs. A page of a v2 list is sealed, and good for that list only.
//
// An Idempotency-Key brings the answer of the same request again: that of a change of a meter or a destination from the
// control plane, that of an event of usage from the fingerprint in its record, that of a ping from the events, that of a
// session from the fold of the sessions topic or, where the log was away, from this process's memory.
//
// Every answer is a JSON object with Content-Type and Request-Id, every failure the envelope {"error":{…}} in the form of
// the API that was called. What a failure promises is in its message: nothing was stored, or it is not known.
//
//	srv, err := httpd.New(httpd.Config{Sessions: sessions, Ingest: ingester, Control: control, Opened: opened, Usage: fleet, Events: events, Webhooks: courier, Policy: policy})
//	go srv.Serve(listener)                 // as many listeners as one likes, plain or TLS
//	srv.SetPolicy(next)                    // limits change, what was used up stays used up
//	srv.Drain()                            // 503 and Connection: close from now on
//	err = srv.Shutdown(ctx)                // waits for the requests under way
//
// All methods of a Server may be called from many goroutines at once. Memory is bounded: by the number of connections,
// the buffer of each while a request arrives, the budget of large bodies, and the tables of rate limits, all in Config;
// what is remembered here alone of sessions by sessionAnswersMax.
//
// The package does not log, read files, keep meters or events, deliver them, or count. It holds no log: durability is the
// Ingester's word.
package httpd

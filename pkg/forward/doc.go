// Package forward brings what the usage worker has counted to the real Stripe, each event once.
//
// A Forwarder runs beside the worker, a lane for each business and partition. A lane cuts its partition's records into
// ranges. What is sent of a range is decided once, by a pure step, and the decision is durable in the cursors topic
// before anything of it leaves; so whoever takes the range up after a crash sends the same events under the same
// identifiers, which Stripe counts once. A range is passed when the outcome of each of its events is known: at Stripe,
// or in the topic of dead letters with the reason.
//
//	records ─▶ tap ─▶ lane: decide ─▶ cursor durable ─▶ send until known ─▶ next range
//	                                                     └ refused, too late ─▶ dead letter
//
// All lanes of a business share one sender: its session, its pace, its requests in flight. Lanes of different businesses
// share a reader and nothing else, and one that is behind reads by itself.
//
//	f, err := forward.Open(forward.Config{Log: log, …})
//	worker, err := usage.Open(usage.Config{…, Beside: f.Beside})
//
// Methods of a Forwarder may be called at once. The package will not judge events, keep state on disk, or send again what
// Stripe may have forgotten that it has seen.
package forward

// Package webhook delivers thin events to event destinations: at least once, by HTTP or as a record of a Kafka topic.
//
// How far each destination is stands in the cursors topic, which is compacted and which every gateway folds:
//
//	key    destination/acct_demo/testmode/ed_test_…
//	value  {"object":"destination_cursor",…,"next":17,"gateway":"…","at":"…","failing":{"since":"…","error":"HTTP 500"}}
//	key    delivery/acct_demo/testmode/ed_test_…/evt_test_…
//	value  {"object":"destination_delivery",…,"offset":12,"tries":2,"first":"…","due":"…","resend":false,"last_error":"HTTP 500"}
//	key    delivery/acct_demo/testmode/ed_test_…/evt_test_…/9f3c…   a delivery that a person asked for; likewise
//
// Every event below next is delivered, was given up, or has a delivery, which waits for its next try. A delivery that
// is done is a key without a value. A resend has a key of its own, so that the end of another delivery of the same
// event, written at the same moment by another gateway, can not take it along.
//
// One gateway delivers: the one to which the group on the events topic gives the first partition. It runs each enabled
// destination by itself,
//
//	events ──▶ taken up in order ──▶ at most 8 tries at once ──▶ delivered
//	               ▲                        │ failed
//	  due again    └── at most 10,000 wait ◀┘                     given up after 3 days, after 3 tries in test mode
//
// so that one that hangs delays nobody. What came of the tries is written a few times a second, deliveries before the
// cursor that passes them; who takes over, after kill -9 too, reads the topic to its end and goes on from there. What
// was delivered and not yet written is then delivered again, with the same id.
//
// A destination that is disabled or removed loses what waits. Enabled again, it gets what was created from then on. One
// that had nothing but failure for Config.AutoDisableAfter is disabled.
//
// No connection goes to an address that is not public: see CheckURL and Config.AllowNetworks.
//
// The methods of a Courier may be called by any number of goroutines; Run once. The package will not keep events, order
// deliveries, follow redirects, or promise that an event is delivered only once.
package webhook

// Package thinevent keeps thin events, Stripe's v2.core.event: the small notes that say that something was wrong with a
// business's usage events, or that somebody wants to see a note arrive.
//
// The truth is the topic "events", of one partition. Every gateway follows it into an index on its own disk, which is a
// cache (design decision D16): the offset of the topic that it has come to is written in the same atomic batch as what was
// made of the records before it. An index that is lost is made anew from the topic, and one that is damaged is refused
// until a person sets it aside. Events are shown for 30 days from their creation and removed from the index after that.
//
//	Append ──▶ topic "events" ──Reader──▶ index ──▶ Get, List (requests) · From, At, Since, Changed (deliveries)
//	   ▲                                    │
//	   └── until the index shows them ──────┘
//
//	s, err := thinevent.Open(thinevent.Config{Log: log, Topic: "tollgate.events", Dir: "data/events"})
//	err = s.Append(ctx, thinevent.NewReport(&report, now))
//	page, err := s.List(&thinevent.Query{Business: "acct_demo", Limit: 20})
//
// # Once
//
// The id of a report follows from what it reports, so a worker that counts the same records again makes the same event.
// Append leaves out what the index has already. What two gateways append at the same moment, or a gateway that did not hear
// that its first try was durable, is twice in the topic; the first one in the log is the event and the others are counted
// and left out by every index alike.
//
// # Who may call what
//
// Everything, from many goroutines at once. Questions read a snapshot of the index and never wait for the topic. An Event
// that was returned belongs to the caller. After Close every question is answered with commitlog.ErrClosed.
//
// The package will not decide what is wrong with a usage event, who may read a thin one, to whom it is sent, or how a page
// looks on the wire.
package thinevent

// Package control keeps what people set up: the meters, which there are, how each reads its events, and since when it
// counts them or not; and the event destinations, where events are sent, which ones, and with which secret.
//
// The truth is the compacted topic "control". A change is a proposal, appended by whichever gateway was asked; every
// gateway folds the topic from its oldest record, by the same rules, and so comes to the same state. The proposer waits
// until its own fold has passed its proposal, and answers with what the fold decided there: no leader, no lock, and who
// has the answer also sees the change (design decision D13).
//
//	Propose ──append──▶ topic "control" ──Reader──▶ fold ──▶ Snapshot, by an atomic pointer
//	   ▲                                              │
//	   └──────────────── verdict ─────────────────────┘
//
//	c, err := control.Open(control.Config{Log: log, Topic: "control"})
//	v, err := c.Propose(ctx, control.Change{Business: "acct_demo", Create: &control.NewMeter{…}})
//	meter := c.Snapshot().Named("acct_demo", false, "api_requests")
//
// # Records
//
// docs/schema/control.schema.json has the values, each a JSON object; the keys are
//
//	meter/<business>/<mode>/<id>                          a meter is created; written once
//	meter/<business>/<mode>/<id>/display_name             its name from here on; the last one counts
//	meter/<business>/<mode>/<id>/status                   active or not from here on; the last one counts
//	destination/<business>/<mode>/<id>                    a destination is created; written once
//	destination/<business>/<mode>/<id>/settings           all of its settings from here on; the last one counts
//	destination/<business>/<mode>/<id>/status             enabled or not from here on; the last one counts
//	destination/<business>/<mode>/<id>/secret             its secret, and the one before it, from here on; the last one counts
//	destination/<business>/<mode>/<id>/deleted/<proposal> it is removed; written once
//	idempotency/<business>/<mode>/<api>/<key's hash>      an Idempotency-Key was used for what already was so
//	mark                                                  nothing; see Control.CaughtUp
//
// Secrets stand in the records in clear: who may read the topic may sign as the gateway (docs/adr/0030).
//
// # Why compaction changes nothing
//
// Compaction keeps the last record of each key, in order, and any others or none. What the fold makes of that must be
// what it made of the whole:
//
//   - Creates all survive, and removals do: each has a key of its own. Whether a create is accepted (a meter's name is
//     free, the business has fewer than MetersMax or DestinationsMax, its Idempotency-Key did not create something else)
//     depends on earlier creates and removals alone, and whether there is something to remove does too.
//   - Any other change is never refused by the fold, unless what it changes is not there, and sets fields that only its
//     own key sets, to what the record says: a record of settings has all of them, one of a secret has the old one.
//     UpdatedMs is the time of the last of them, which survives. Nothing is set of a destination that was removed.
//   - What is forgotten is when a status was another, and which Idempotency-Keys the forgotten records used. Logs leave
//     records alone for longer than events and keys are kept, so nobody asks about those times; and the record that is
//     left says what the status was before it, namely the other one.
//
// So that a change needs no refusal, Propose first catches up and looks whether the meter or the destination is there,
// and whether the key was used. What is left are changes that are in flight at the same moment on two gateways. With the
// same key and parameters both are written; the answer to the second is that of the first, and what holds after them is
// what a single one at the second's place would have brought. With the same key and other parameters both take effect and
// both say so. Of two updates of one destination the later one's settings hold, also where only the earlier one meant to
// change them; on one gateway updates of a destination wait for each other, so that nothing is lost there.
//
// # Who may call what
//
// Everything, from many goroutines at once. A Snapshot, a Meter and a Destination are immutable and may be kept.
//
// The package will not decide what texts a meter or a destination may have (it only refuses what can not be a record), who
// may change it, or how it looks on the wire. It makes no secrets, and delivers nothing.
package control

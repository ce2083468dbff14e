// Package opened knows which meter event sessions were opened with an Idempotency-Key, on whichever gateway, so that the
// same request is answered with the same session for 30 days.
//
// The truth is the topic "sessions". Who opens a session with a key appends a record and waits until its own fold has come
// to it: the first use of a key in the order of the log holds, and whoever came later is answered with that session. No
// leader, and nobody has to catch up first.
//
//	Open ──append──▶ topic "sessions" ──Reader──▶ fold ──▶ table of the newest KeysMax
//	  ▲                                             │
//	  └──────────── whose session it is ────────────┘
//
//	o, err := opened.Open(opened.Config{Log: log, Topic: "sessions"})
//	known, ok := o.Find(asked, nowMs)  // asked: business, mode, key, API key
//	first, err := o.Open(ctx, session) // another one than session: the key had opened that
//
// # What is kept
//
// docs/schema/sessions.schema.json has the records: who opened what, when, with a hash of which key. There is no credential
// in them: of a token they have what it says and the id of the key that signed it, so that a gateway with the signing keys
// makes it again. They have no key of Kafka's: a broker that was told to compact the topic, which would keep the last use
// and not the first, refuses them.
//
// A fold begins KeysMax records before the end, and keeps KeysMax: the oldest are forgotten first, and each after 30
// days. So what a key opened is known for 30 days, or until KeysMax others were used.
//
// # When the log is away
//
// Open answers with an error, soon, and the caller does without: a session must open although the log is away. A record that
// comes late all the same names the session that was answered; when it is not the first of its key, the gateway that answered
// differs from the others for as long as it remembers.
//
// # Who may call what
//
// Everything, from many goroutines at once.
//
// The package will not hash a key, make a token, or say how long a session lives.
package opened

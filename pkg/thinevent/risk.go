package thinevent

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"time"

	"tollgate/pkg/stripe"
)

// Risk is that usage of a business may come to Stripe too late to be taken.
type Risk struct {
	Business string
	Livemode bool
	// OldestReceivedMs is when the oldest event was received that is not at Stripe, OldestHappenedMs the earliest timestamp
	// of such events; 0: there is none.
	OldestReceivedMs, OldestHappenedMs int64
	Unsent                             int   // events that were read and are not known to be at Stripe
	Behind                             int64 // records that were not read
	Trouble                            string
}

type riskData struct {
	OldestReceived string `json:"oldest_received,omitempty"`
	OldestHappened string `json:"oldest_timestamp,omitempty"`
	Unsent         int    `json:"unsent"`
	Behind         int64  `json:"behind"`
	Trouble        string `json:"trouble,omitempty"`
}

// riskEveryMs is for how long a risk has one id.
const riskEveryMs = 60 * 60 * 1000

// NewAtRisk makes the event of a risk. Its id follows from business, mode and the hour: several gateways raise one event.
func NewAtRisk(r *Risk, createdMs int64) *Event {
	text := func(ms int64) string {
		if ms == 0 {
			return ""
		}
		return time.UnixMilli(ms).UTC().Format(stripe.TimeLayout)
	}
	data, err := json.Marshal(riskData{text(r.OldestReceivedMs), text(r.OldestHappenedMs), r.Unsent, r.Behind, r.Trouble})
	if err != nil {
		panic(fmt.Sprintf("BUG: thinevent: texts and numbers that are no JSON: %v", err))
	}
	var b []byte
	b = appendText(b, TypeAtRisk)
	b = appendText(b, r.Business)
	b = appendText(b, modeName(r.Livemode))
	b = appendNumber(b, createdMs/riskEveryMs)
	sum := sha256.Sum256(b)
	return &Event{
		Event: stripe.Event{
			ID: string(stripe.AppendEventID(nil, r.Livemode, [16]byte(sum[:16]))), Type: TypeAtRisk, CreatedMs: createdMs, Livemode: r.Livemode, Data: data,
		},
		Business: r.Business,
	}
}

package httpd

import (
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"tollgate/pkg/usage"
)

// A worker answers for the records in a memoryLog as the worker of the gateway does, by the rules of the synchronous
// endpoints alone: the first with an identifier counts.
type worker struct{ log *memoryLog }

// jsonTime is a time of a record in Unix milliseconds.
type jsonTime int64

func (t *jsonTime) UnmarshalJSON(text []byte) error {
	at, err := time.Parse(`"2006-01-02T15:04:05.000Z"`, string(text))
	*t = jsonTime(at.UnixMilli())
	return err
}

// stored is what it reads of a record.
type stored struct {
	Object, Business, Identifier, Request string
	Livemode                              bool
	EventName                             string `json:"event_name"`
	Timestamp, Received                   jsonTime
	Cancel                                struct{ Identifier string }
}

func (w *worker) verdict(q usage.VerdictQuery) (usage.Verdict, error) {
	w.log.mu.Lock()
	defer w.log.mu.Unlock()
	request := fmt.Sprintf("%016x%016x", q.Request.Key, q.Request.Params)
	for _, r := range w.log.records {
		if r.partition != q.Partition {
			continue
		}
		var s stored
		if err := json.Unmarshal(r.Value, &s); err != nil {
			return usage.Verdict{}, err
		}
		scope := usage.Scope{Business: s.Business, Livemode: s.Livemode, EventName: s.EventName}
		if scope != q.Scope || (s.Object == "meter_event_adjustment") != q.Adjustment {
			continue
		}
		first := usage.Verdict{ReceivedMs: int64(s.Received), TimestampMs: int64(s.Timestamp)}
		sameKey := len(s.Request) == 32 && s.Request[:16] == request[:16]
		switch {
		case q.Adjustment && !sameKey, !q.Adjustment && s.Identifier != q.Identifier:
			continue
		case s.Request == request && q.Offset >= 0 && w.count(q, request) == 1:
			first.Outcome = usage.OutcomeNew
		case s.Request == request:
			first.Outcome = usage.OutcomeReplay
		case sameKey:
			first.Outcome = usage.OutcomeKeyReused
		default:
			first.Outcome = usage.OutcomeDuplicate
		}
		return first, nil
	}
	return usage.Verdict{}, fmt.Errorf("no record of %s in partition %d", strconv.Quote(q.Identifier), q.Partition)
}

// count counts the records of the request in the partition. w.log.mu is held.
func (w *worker) count(q usage.VerdictQuery, request string) (n int) {
	for _, r := range w.log.records {
		var s stored
		if r.partition == q.Partition && json.Unmarshal(r.Value, &s) == nil && s.Request == request {
			n++
		}
	}
	return n
}

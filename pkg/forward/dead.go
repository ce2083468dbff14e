package forward

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"tollgate/pkg/commitlog"
	"tollgate/pkg/recordbatch"
)

// Dead is a dead letter: something that is not at Stripe, or may not be, and is not sent again by itself.
type Dead struct {
	Object    string `json:"object"` // forward_dead; forward_dead_settled says that one is done
	Business  string `json:"business"`
	Livemode  bool   `json:"livemode"`
	Kind      string `json:"kind"` // event, rollup, adjustment
	EventName string `json:"event_name"`
	// Identifier is the event's; of an adjustment, that of the event to cancel.
	Identifier string `json:"identifier"`
	Partition  int32  `json:"partition"`
	Offset     int64  `json:"offset"` // of the first record that it is of
	Records    int    `json:"records"`
	// Timestamp and Payload are the event's; of an adjustment, those of the event to cancel, where the log still has it.
	Timestamp string          `json:"timestamp,omitempty"`
	Payload   json.RawMessage `json:"payload,omitempty"`
	Reason    string          `json:"reason"`
	Answer    *DeadAnswer     `json:"answer,omitempty"`
	At        string          `json:"at"`
}

// DeadAnswer is what Stripe said.
type DeadAnswer struct {
	Status  int    `json:"status"`
	Code    string `json:"code,omitempty"`
	Message string `json:"message,omitempty"`
}

const (
	deadObject    = "forward_dead"
	settledObject = "forward_dead_settled"
	kindEvent     = "event"
	kindRollup    = "rollup"
	kindCancel    = "adjustment"
)

// ID names a dead letter.
func (d *Dead) ID() string {
	return fmt.Sprintf("%d-%d-%x", d.Partition, d.Offset, hashOf(d.Business, d.Kind, d.EventName, d.Identifier)[:6])
}

func hashOf(texts ...string) []byte {
	var b []byte
	for _, text := range texts {
		b = append(binary.AppendUvarint(b, uint64(len(text))), text...)
	}
	sum := sha256.Sum256(b)
	return sum[:16]
}

func (f *Forwarder) deadLetter(s scope, partition int32, aside setAside) *Dead {
	p := aside.parcel
	d := &Dead{
		Object: deadObject, Business: s.business, Livemode: s.live, Kind: kindEvent, EventName: p.name, Identifier: p.identifier,
		Partition: partition, Offset: p.offset, Records: max(1, p.rolled), Payload: p.payload, Reason: aside.reason,
		At: f.cfg.Now().UTC().Format(timeForm),
	}
	switch {
	case p.cancel:
		d.Kind = kindCancel
	case p.rolled > 0:
		d.Kind = kindRollup
	}
	if !p.cancel {
		d.Timestamp = time.UnixMilli(p.timestampMs).UTC().Format(timeForm)
	}
	if a := aside.answer; a != nil {
		d.Answer = &DeadAnswer{a.status, a.code, firstLine(a.message)}
	}
	return d
}

// bury makes a dead letter durable. It tries until ctx ends: a range is not passed before.
func (f *Forwarder) bury(ctx context.Context, d *Dead) error {
	value, err := json.Marshal(d)
	if err != nil {
		panic(fmt.Sprintf("BUG: forward: a dead letter that is no JSON: %v", err))
	}
	key := []byte(scope{d.Business, d.Livemode}.String() + "/" + d.EventName)
	partition := commitlog.PartitionFor(key, f.cfg.Log.Partitions(f.cfg.DeadTopic))
	for attempt := 0; ; attempt++ {
		err := appendRecord(ctx, &f.cfg, f.cfg.DeadTopic, partition, key, value)
		if err == nil || ctx.Err() != nil {
			return err
		}
		f.cfg.Notify(Notice{What: Faulty, Business: d.Business, Detail: "writing a dead letter", Err: err})
		if err := sleep(ctx, f.cfg.pause(attempt)); err != nil {
			return err
		}
	}
}

// lettersMax bounds the open letters that are looked at, the oldest ones.
const lettersMax = 100_000

// openLetters reads what of does not leave out of the letters that were not settled, by their ids; of several of an id, the
// last says what is known. more: there are others behind lettersMax of them.
func openLetters[T any](ctx context.Context, f *Forwarder, of func(d *Dead) (T, bool)) (open map[string]T, more bool, err error) {
	open = make(map[string]T)
	for n := range int32(f.cfg.Log.Partitions(f.cfg.DeadTopic)) {
		if err := f.eachDead(ctx, n, func(d *Dead) {
			letter, ok := of(d)
			if !ok {
				return
			}
			id := d.ID()
			_, known := open[id]
			switch {
			case d.Object == settledObject:
				delete(open, id)
			case known || len(open) < lettersMax:
				open[id] = letter
			default:
				more = true
			}
		}); err != nil {
			return nil, false, err
		}
	}
	return open, more, nil
}

// openDead are the open letters of a business, or of all when it is "".
func (f *Forwarder) openDead(ctx context.Context, business string) (map[string]*Dead, error) {
	open, _, err := openLetters(ctx, f, func(d *Dead) (*Dead, bool) { return d, business == "" || d.Business == business })
	return open, err
}

// DeadList reads the dead letters of a business, or of all when it is "", the oldest first, those that were settled left
// out. It looks at lettersMax.
func (f *Forwarder) DeadList(ctx context.Context, business string) ([]Dead, error) {
	open, err := f.openDead(ctx, business)
	if err != nil {
		return nil, err
	}
	list := make([]Dead, 0, len(open))
	for _, d := range open {
		list = append(list, *d)
	}
	slices.SortFunc(list, func(a, b Dead) int {
		return cmp.Or(cmp.Compare(a.At, b.At), cmp.Compare(a.Partition, b.Partition), cmp.Compare(a.Offset, b.Offset), cmp.Compare(a.Identifier, b.Identifier))
	})
	return list, nil
}

func (f *Forwarder) eachDead(ctx context.Context, partition int32, do func(*Dead)) error {
	oldest, end, err := f.cfg.Log.Bounds(ctx, f.cfg.DeadTopic, partition)
	if err != nil || oldest >= end {
		return err
	}
	return eachChunk(ctx, f.cfg.Log, f.cfg.DeadTopic, partition, oldest, end, func(records []recordbatch.Record, _ int64) error {
		for i := range records {
			d := new(Dead)
			if json.Unmarshal(records[i].Value, d) == nil && (d.Object == deadObject || d.Object == settledObject) {
				do(d)
			}
		}
		return nil
	})
}

// ErrNoSuchDead: no dead letter of that id is open.
var ErrNoSuchDead = errors.New("forward: there is no such dead letter")

// Retry sends dead letters again, as they were, and settles those that Stripe takes. Whoever retries one whose outcome is
// unknown has looked that it is not at Stripe: after 24 h it would count twice. The answers are those that remain dead.
func (f *Forwarder) Retry(ctx context.Context, business string, ids ...string) (settled int, left []Dead, err error) {
	ctx, end, err := f.call(ctx)
	if err != nil {
		return 0, nil, err
	}
	defer end()
	open, err := f.openDead(ctx, business)
	if err != nil {
		return 0, nil, err
	}
	for _, id := range ids {
		d := open[id]
		if d == nil {
			return settled, left, fmt.Errorf("%w: %s", ErrNoSuchDead, id)
		}
		s := f.senders[scope{d.Business, d.Livemode}]
		if s == nil {
			return settled, left, fmt.Errorf("forward: %s is not forwarded", d.Business)
		}
		p := parcel{cancel: d.Kind == kindCancel, offset: d.Offset, name: d.EventName, identifier: d.Identifier, payload: d.Payload}
		if at, err := time.Parse(timeForm, d.Timestamp); err == nil {
			p.timestampMs = at.UnixMilli()
		}
		if d.Kind == kindRollup {
			p.rolled = d.Records
		}
		var again *setAside
		if err := s.deliver(ctx, []parcel{p}, try{first: f.cfg.Now()}, func(a setAside) { again = &a }); err != nil {
			// It may be at Stripe. Nobody is to send it again days later for what Stripe said before.
			d.Reason, d.Answer = reasonUnknown, nil
			return settled, left, errors.Join(err, f.note(ctx, d))
		}
		if again != nil {
			left = append(left, *f.deadLetter(s.scope, d.Partition, *again))
			continue
		}
		d.Object = settledObject
		if err := f.note(ctx, d); err != nil {
			return settled, left, err
		}
		settled++
	}
	return settled, left, nil
}

// noteMax is how long what became of a letter is tried to be noted when nobody waits for it any more.
const noteMax = 2 * time.Second

// note writes what became of a letter, also when ctx has ended.
func (f *Forwarder) note(ctx context.Context, d *Dead) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), noteMax)
	defer cancel()
	d.At = f.cfg.Now().UTC().Format(timeForm)
	if err := f.bury(ctx, d); err != nil {
		return fmt.Errorf("forward: letter %s was sent and what became of it could not be noted: %w", d.ID(), err)
	}
	return nil
}

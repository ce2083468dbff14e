package control

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"tollgate/pkg/stripe"
)

// The values of a record's "object".
const (
	objectMeter       = "meter"
	objectDisplayName = "meter_display_name"
	objectStatus      = "meter_status"
	objectUnchanged   = "meter_unchanged"
	objectMark        = "mark"
)

const markKey = "mark"

// record is the value of a record, as JSON.
type record struct {
	Object      string  `json:"object"`
	Proposal    string  `json:"proposal"`
	At          string  `json:"at"`
	Business    string  `json:"business,omitempty"`
	Livemode    *bool   `json:"livemode,omitempty"`
	ID          string  `json:"id,omitempty"`
	DisplayName string  `json:"display_name,omitempty"`
	EventName   string  `json:"event_name,omitempty"`
	Formula     Formula `json:"formula,omitempty"`
	CustomerKey string  `json:"customer_key,omitempty"`
	ValueKey    string  `json:"value_key,omitempty"`
	Window      Window  `json:"event_time_window,omitempty"`
	Active      *bool   `json:"active,omitempty"`
	destinationRecord
	Idempotency *idempotency `json:"idempotency,omitempty"`
}

type idempotency struct {
	API         string `json:"api"`
	Key         string `json:"key"`
	Fingerprint string `json:"fingerprint"`
}

// proposal is a record, decoded. A mark has an id and a time alone.
type proposal struct {
	object string
	id     [16]byte
	atMs   int64
	newID  string // of a create; the other changes have it themselves
	change Change

	// What fill adds to a change of a destination, so that a record sets a register as a whole.
	settings  *Settings // after the update; of the update itself a decoded record has the id alone
	oldSecret string
}

// encode returns a record's key and value. The proposal has passed check.
func (p *proposal) encode() (key, value []byte) {
	r := record{
		Object: p.object, Proposal: hex.EncodeToString(p.id[:]),
		At: formatTime(p.atMs),
	}
	if c := &p.change; p.object != objectMark {
		r.Business, r.Livemode, r.ID = c.Business, &c.Livemode, p.subject()
		switch {
		case p.destination():
			r.destinationRecord = p.encodeDestination()
		case c.Create != nil:
			m := c.Create
			r.DisplayName, r.EventName, r.Formula = m.DisplayName, m.EventName, m.Formula
			r.CustomerKey, r.ValueKey, r.Window = m.CustomerKey, m.ValueKey, m.Window
		case c.Rename != nil:
			r.DisplayName = c.Rename.DisplayName
		case c.Status != nil:
			r.Active = &c.Status.Active
		}
		if i := c.Idempotency; i != nil {
			r.Idempotency = &idempotency{i.API, i.Key, hex.EncodeToString(i.Fingerprint[:])}
		}
	}
	var buf bytes.Buffer
	e := json.NewEncoder(&buf)
	e.SetEscapeHTML(false) // a person reads it
	if err := e.Encode(r); err != nil {
		panic(fmt.Sprintf("BUG: control: a record of texts can not be written as JSON: %v", err))
	}
	return []byte(p.key()), bytes.TrimSuffix(buf.Bytes(), []byte("\n"))
}

func formatTime(ms int64) string { return time.UnixMilli(ms).UTC().Format(stripe.TimeLayout) }

// subject is the id of the meter or the destination that a proposal is about.
func (p *proposal) subject() string {
	switch {
	case p.newID != "":
		return p.newID
	case p.change.Rename != nil:
		return p.change.Rename.ID
	case p.change.Status != nil:
		return p.change.Status.ID
	}
	return p.change.destinationID()
}

// key is the key that makes compaction keep what has to be kept; see the package comment.
func (p *proposal) key() string {
	scope := p.change.Business + "/testmode/"
	if p.change.Livemode {
		scope = p.change.Business + "/livemode/"
	}
	switch p.object {
	case objectMeter:
		return "meter/" + scope + p.subject()
	case objectDisplayName:
		return "meter/" + scope + p.subject() + "/display_name"
	case objectStatus:
		return "meter/" + scope + p.subject() + "/status"
	case objectDestination:
		return "destination/" + scope + p.subject()
	case objectDestinationSettings:
		return "destination/" + scope + p.subject() + "/settings"
	case objectDestinationStatus:
		return "destination/" + scope + p.subject() + "/status"
	case objectDestinationSecret:
		return "destination/" + scope + p.subject() + "/secret"
	case objectDestinationDeleted:
		return "destination/" + scope + p.subject() + "/deleted/" + hex.EncodeToString(p.id[:])
	case objectUnchanged, objectDestinationUnchanged:
		i := p.change.Idempotency
		hash := sha256.Sum256([]byte(i.Key))
		return "idempotency/" + scope + i.API + "/" + hex.EncodeToString(hash[:16])
	}
	return markKey
}

// errUnknownObject: a record of a later version, or of another room.
var errUnknownObject = errors.New("the record is of a kind that this version does not know")

// decode is the reverse of encode. It refuses what no Propose writes.
func decode(key, value []byte) (*proposal, error) {
	var r record
	if err := json.Unmarshal(value, &r); err != nil {
		return nil, err
	}
	p := &proposal{object: r.Object}
	ok, err := p.decodeDestination(&r)
	if !ok {
		err = p.decodeMeter(&r)
	}
	if err == nil {
		err = p.decodeRest(&r)
	}
	if err != nil {
		return nil, err
	}
	if err := p.check(); err != nil {
		return nil, err
	}
	if r.Idempotency == nil && (p.object == objectUnchanged || p.object == objectDestinationUnchanged) {
		return nil, errors.New("idempotency is missing")
	}
	if got := string(key); got != p.key() { // compaction would not do what the value asks for
		return nil, fmt.Errorf("the key is %.200q and not %.200q", got, p.key())
	}
	return p, nil
}

func (p *proposal) decodeMeter(r *record) error {
	c := &p.change
	switch r.Object {
	case objectMeter:
		p.newID = r.ID
		c.Create = &NewMeter{r.DisplayName, r.EventName, r.Formula, r.CustomerKey, r.ValueKey, r.Window}
	case objectDisplayName:
		c.Rename = &Rename{r.ID, r.DisplayName}
	case objectStatus:
		if r.Active == nil {
			return errors.New("active is missing")
		}
		c.Status = &StatusChange{r.ID, *r.Active}
	case objectUnchanged:
		if r.Active == nil {
			c.Rename = &Rename{ID: r.ID}
			break
		}
		c.Status = &StatusChange{r.ID, *r.Active}
	case objectMark:
	default:
		return fmt.Errorf("%w: object %.40q", errUnknownObject, r.Object)
	}
	return nil
}

func (p *proposal) decodeRest(r *record) error {
	p.change.Business = r.Business
	at, err := time.Parse(stripe.TimeLayout, r.At)
	if err != nil {
		return err
	}
	p.atMs = at.UnixMilli()
	if err := decodeHex(&p.id, "proposal", r.Proposal); err != nil {
		return err
	}
	if r.Object == objectMark {
		return nil
	}
	if r.Livemode == nil {
		return errors.New("livemode is missing")
	}
	p.change.Livemode = *r.Livemode
	if r.Idempotency != nil {
		p.change.Idempotency = &Idempotency{API: r.Idempotency.API, Key: r.Idempotency.Key}
		return decodeHex(&p.change.Idempotency.Fingerprint, "fingerprint", r.Idempotency.Fingerprint)
	}
	return nil
}

func decodeHex(dst *[16]byte, name, text string) error {
	if len(text) != 32 {
		return fmt.Errorf("%s is not 32 hexadecimal digits", name)
	}
	if _, err := hex.Decode(dst[:], []byte(text)); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

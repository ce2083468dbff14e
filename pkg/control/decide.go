package control

import (
	"context"
	"fmt"

	"tollgate/pkg/commitlog"
	"tollgate/pkg/commitlog/propose"
	"tollgate/pkg/stripe"
)

// attemptsMax bounds how often a change that already is so is looked at anew because something changed meanwhile.
const attemptsMax = 4

// Propose appends the change, waits for the fold to decide, and returns its verdict; the snapshot then has the change.
// Whatever needs no proposal is answered without one, by a snapshot that has caught up: a key used before, a name taken,
// a meter or a destination that does not exist, what already is so.
//
// An error wraps commitlog.ErrUnknown when the change may take effect, commitlog.ErrUnavailable when it will not and the
// same change may be proposed again, and commitlog.ErrRefused when it can not be a record. Two proposals of one
// Idempotency-Key wait for each other, and two changes of one destination do: of an update that names some settings the
// record has all, so that it must know what the one before it left. What change points at is not written to, and must
// not be while Propose runs.
func (c *Control) Propose(ctx context.Context, change Change) (Verdict, error) {
	if err := c.closed(); err != nil {
		return Verdict{}, fmt.Errorf("%w: %w", commitlog.ErrUnavailable, err)
	}
	p := c.proposal(change)
	if p == nil {
		return Verdict{}, fmt.Errorf("control: %w: a change is exactly one of those that there are", commitlog.ErrRefused)
	}
	if err := p.check(); err != nil {
		return Verdict{}, fmt.Errorf("control: %w: %w", commitlog.ErrRefused, err)
	}
	slot := c.proposals.Take()
	if slot == nil {
		return Verdict{}, fmt.Errorf("control: %w: %d changes are waiting for their verdict", commitlog.ErrUnavailable, c.cfg.InFlightMax)
	}
	defer slot.Leave()
	unlock, err := c.keys.lock(ctx, &change)
	if err != nil {
		return Verdict{}, fmt.Errorf("control: %w: %w", commitlog.ErrUnavailable, err)
	}
	defer unlock()
	for range attemptsMax {
		if err := c.CaughtUp(ctx); err != nil {
			return Verdict{}, fmt.Errorf("%w: %w", commitlog.ErrUnavailable, err)
		}
		v, decided := c.decided(p)
		if decided {
			return v, nil
		}
		v, err := c.append(ctx, p, slot)
		if err != nil || v.Refusal != changedMeanwhile {
			return v, err
		}
		c.cfg.Random(p.id[:])
	}
	return Verdict{}, fmt.Errorf("control: %w: what is to be changed keeps changing", commitlog.ErrUnavailable)
}

// proposal makes the record of a change, nil when it is not exactly one.
func (c *Control) proposal(change Change) *proposal {
	p := &proposal{change: change}
	kinds := 0
	if change.Create != nil {
		kinds++
		p.object = objectMeter
		var random [16]byte
		c.cfg.Random(random[:])
		p.newID = string(stripe.AppendMeterID(nil, change.Livemode, random))
	}
	if change.Rename != nil {
		kinds++
		p.object = objectDisplayName
	}
	if r := change.Rename; r != nil && r.DisplayName == "" {
		p.object = objectUnchanged
	}
	if change.Status != nil {
		kinds++
		p.object = objectStatus
	}
	kinds += c.destinationProposal(p)
	if kinds != 1 {
		return nil
	}
	c.cfg.Random(p.id[:])
	return p
}

// decided answers what the snapshot, which has caught up, can answer for good. It sets the proposal's time, which must
// not be earlier than what was looked at.
func (c *Control) decided(p *proposal) (v Verdict, ok bool) {
	p.atMs = c.cfg.Now().UnixMilli()
	change := &p.change
	c.mu.RLock()
	defer c.mu.RUnlock()
	if i := change.Idempotency; i != nil {
		if v, ok := c.state.replay(change.Business, change.Livemode, i, p.atMs); ok {
			return v, true
		}
	}
	at := c.state.scopes[scopeKey{change.Business, change.Livemode}]
	switch {
	case at == nil && p.newID != "":
		return Verdict{}, false
	case at == nil:
		return Verdict{Refusal: p.noSuch()}, true
	case p.destination():
		return c.decidedDestination(p, at)
	}
	return c.decidedMeter(p, at)
}

func (c *Control) decidedMeter(p *proposal, at *scope) (v Verdict, ok bool) {
	change := &p.change
	if change.Create != nil {
		switch {
		case at.named(change.Create.EventName) != nil:
			return Verdict{Refusal: NameTaken}, true
		case len(at.meters) >= c.state.metersMax:
			return Verdict{Refusal: TooManyMeters}, true
		}
		return Verdict{}, false
	}
	m := at.meter(p.subject())
	if m == nil {
		return Verdict{Refusal: NoSuchMeter}, true
	}
	if change.Status != nil {
		if p.object = objectStatus; m.Active == change.Status.Active {
			p.object = objectUnchanged // the key is used all the same, on every gateway
		}
	}
	return Verdict{Meter: m}, p.object == objectUnchanged && change.Idempotency == nil
}

// append writes the proposal and waits for its verdict.
func (c *Control) append(ctx context.Context, p *proposal, slot *propose.Slot) (Verdict, error) {
	v, err := c.proposals.Append(ctx, slot, p.record())
	if err != nil {
		return Verdict{}, fmt.Errorf("control: %w", err)
	}
	return v, nil
}

func (p *proposal) record() propose.Record {
	key, value := p.encode()
	return propose.Record{ID: p.id, AtMs: p.atMs, Key: key, Value: value}
}

package control

import "slices"

// createDestination accepts or refuses by what earlier creates and removals have left, and by nothing else.
func (s *scope) createDestination(p *proposal, destinationsMax int) Verdict {
	if i := p.change.Idempotency; i != nil {
		if v, ok := s.keys.replay(i, p.atMs, true); ok {
			return v
		}
	}
	switch {
	case find(s.destinations, p.newID) != nil: // no Propose writes an id twice
		return Verdict{Refusal: NameTaken}
	case len(s.destinations) >= destinationsMax:
		return Verdict{Refusal: TooManyDestinations}
	}
	c := p.change.CreateDestination
	d := &Destination{
		ID: p.newID, Business: p.change.Business, Livemode: p.change.Livemode,
		Type: c.Type, Topic: c.Topic, CreatedMs: p.atMs, UpdatedMs: p.atMs,
		Settings: c.Settings, Secret: c.Secret, Enabled: true, EnabledMs: p.atMs,
	}
	s.destinations = append(s.destinations, d)
	s.destinationsChanged = true
	return s.took(p, Verdict{Destination: d})
}

// changeDestination is any other record about a destination. As with meters, it sets what it sets whatever was before,
// and an Idempotency-Key only decides what is answered. Of a destination that was removed nothing is set any more.
func (s *scope) changeDestination(p *proposal) Verdict {
	at := slices.IndexFunc(s.destinations, func(d *Destination) bool { return d.ID == p.subject() })
	if at < 0 {
		if i := p.change.Idempotency; i != nil { // the second of two removals with one key that were in flight at once
			if u, _ := s.keys.find(i, p.atMs, false); u != nil {
				return u.replay()
			}
		}
		return Verdict{Refusal: NoSuchDestination}
	}
	d := s.destinations[at]
	switch p.object {
	case objectDestinationUnchanged:
		if !p.unchanged(d) {
			return Verdict{Refusal: changedMeanwhile}
		}
	case objectDestinationDeleted:
		s.destinations = slices.Delete(s.destinations, at, at+1)
		s.destinationsChanged = true
	default:
		d = d.with(p)
		s.destinations[at] = d
		s.destinationsChanged = true
	}
	return s.tookOrReplay(p, Verdict{Destination: d})
}

// with returns the destination after a record of one of its registers. Each sets fields of its own, and UpdatedMs.
func (d *Destination) with(p *proposal) *Destination {
	n := *d
	n.UpdatedMs = p.atMs
	switch p.object {
	case objectDestinationSettings:
		n.Settings = *p.settings
	case objectDestinationStatus:
		c := p.change.DestinationStatus
		n.Enabled, n.DisabledReason, n.EnabledMs = true, "", p.atMs
		if !c.Enabled {
			n.Enabled, n.DisabledReason, n.EnabledMs = false, c.Reason, 0
		}
	case objectDestinationSecret:
		c := p.change.RollSecret
		n.Secret, n.OldSecret, n.OldUntilMs = c.Secret, p.oldSecret, c.OldUntilMs
	}
	return &n
}

// unchanged tells whether a destination is what the change wants.
func (p *proposal) unchanged(d *Destination) bool {
	switch c := &p.change; {
	case c.DestinationStatus != nil:
		return c.DestinationStatus.Enabled == d.Enabled
	case c.UpdateDestination != nil:
		return p.settings.equal(&d.Settings)
	}
	return false
}

// fill completes a change of a destination by what the destination is now: a record sets a register as a whole. It
// refuses what the destination can not have, and what would not be a record.
func (p *proposal) fill(d *Destination) Refusal {
	c := &p.change
	switch {
	case c.UpdateDestination != nil:
		if c.UpdateDestination.URL != nil && d.Type != WebhookEndpoint {
			return WrongDestinationType
		}
		p.object, p.settings = objectDestinationSettings, d.merge(c.UpdateDestination)
		if len(p.settings.Metadata) > MetadataMax {
			return TooMuchMetadata
		}
	case c.DestinationStatus != nil:
		p.object = objectDestinationStatus
	case c.RollSecret != nil:
		if d.Type != WebhookEndpoint {
			return WrongDestinationType
		}
		roll := *c.RollSecret
		if p.oldSecret = d.Secret; roll.OldUntilMs <= p.atMs {
			p.oldSecret, roll.OldUntilMs = "", 0
		}
		c.RollSecret = &roll
	}
	if p.unchanged(d) {
		p.object = objectDestinationUnchanged
	}
	return NotRefused
}

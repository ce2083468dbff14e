package control

import "tollgate/pkg/stripe"

// destinationProposal sets what a change of a destination sets, and returns how many kinds of change it is.
func (c *Control) destinationProposal(p *proposal) (kinds int) {
	for _, k := range []struct {
		there  bool
		object string
	}{
		{p.change.CreateDestination != nil, objectDestination},
		{p.change.UpdateDestination != nil, objectDestinationSettings},
		{p.change.DestinationStatus != nil, objectDestinationStatus},
		{p.change.RollSecret != nil, objectDestinationSecret},
		{p.change.RemoveDestination != nil, objectDestinationDeleted},
	} {
		if k.there {
			kinds++
			p.object = k.object
		}
	}
	if p.object == objectDestination {
		var random [16]byte
		c.cfg.Random(random[:])
		p.newID = string(stripe.AppendDestinationID(nil, p.change.Livemode, random))
	}
	return kinds
}

// decidedDestination is decided for a change of a destination. It completes the proposal by what the destination is now.
func (c *Control) decidedDestination(p *proposal, at *scope) (v Verdict, ok bool) {
	if p.object == objectDestination {
		if len(at.destinations) >= c.state.destinationsMax {
			return Verdict{Refusal: TooManyDestinations}, true
		}
		return Verdict{}, false
	}
	d := find(at.destinations, p.subject())
	if d == nil {
		return Verdict{Refusal: NoSuchDestination}, true
	}
	if r := p.fill(d); r != NotRefused {
		return Verdict{Refusal: r}, true
	}
	return Verdict{Destination: d}, p.object == objectDestinationUnchanged && p.change.Idempotency == nil
}

package usage

import (
	"tollgate/pkg/dedup"
	"tollgate/pkg/meterevent"
	"tollgate/pkg/recordbatch"
)

// cancel applies one adjustment.
func (p *partition) cancel(s *scope, rec *recordbatch.Record, r *meterevent.Record, clockMs int64) error {
	if r.HasRequest {
		again, err := p.cancelRequest(s, rec, r, clockMs)
		if err != nil || again {
			return err
		}
	}
	id := p.store.identify(&s.hash, r.Identifier)
	event, found, err := p.index.Find(id, clockMs)
	switch {
	case err != nil:
		return err
	case !found:
		return p.cancelPending(s, id, rec, r, clockMs)
	case event.Kind == kindCancelled:
		p.tally.cancels[cancelRepeated]++
		return nil
	case !cancellable(event.TimeMs, clockMs):
		p.tally.cancels[cancelLate]++
		p.refuse(s, rec, r, meterevent.InvalidCancel, nil, clockMs)
		return nil
	}
	_, repeated, err := p.index.Insert(aboutEvent(id, aboutCancel, event.Offset), rec.Offset, clockMs, 0)
	switch {
	case err != nil:
		return err
	case repeated:
		p.tally.cancels[cancelRepeated]++
	case !p.replaying:
		p.tally.cancels[cancelDone]++
		p.cancels = append(p.cancels, event.Offset)
	}
	return nil
}

// cancelPending remembers a cancel whose event may be on its way.
func (p *partition) cancelPending(s *scope, id dedup.ID, rec *recordbatch.Record, r *meterevent.Record, clockMs int64) error {
	_, repeated, err := p.index.Insert(about(id, aboutPending), rec.Offset, clockMs, 0)
	if err != nil {
		return err
	}
	if repeated {
		p.tally.cancels[cancelRepeated]++
		return nil
	}
	if p.replaying {
		return nil
	}
	p.tally.cancels[cancelWaits]++
	p.state.PendingMs = clockMs
	row := pendingRow{Scope: s.Scope, Spread: s.spread, Identifier: append([]byte(nil), r.Identifier...), AtMs: rec.TimestampMs}
	return p.batch.Set(appendPending(nil, p.number, floorDiv(clockMs, hourMs), rec.Offset), row.encode(), nil)
}

// pending is where a cancel waits.
type pending struct{ hour, offset int64 }

// cancelledBefore finds the cancel that came before its event, if there is one and it still counts.
func (p *partition) cancelledBefore(id dedup.ID, offset, clockMs int64) (*pending, error) {
	if !p.state.mayHavePending(clockMs) {
		return nil, nil
	}
	e, found, err := p.index.Find(about(id, aboutPending), clockMs)
	if err != nil || !found || e.Offset >= offset || !cancellable(e.TimeMs, clockMs) {
		return nil, err
	}
	return &pending{hour: floorDiv(e.TimeMs, hourMs), offset: e.Offset}, nil
}

// pendingRow is a cancel that has found no event yet.
type pendingRow struct {
	Scope
	Spread     bool   `json:"spread,omitempty"`
	Identifier []byte `json:"identifier"`
	AtMs       int64  `json:"at_ms"`
}

func appendPending(dst []byte, partition int32, hour, offset int64) []byte {
	return appendU64(appendI32(appendTable(dst, partition, tablePending), hour), offset)
}

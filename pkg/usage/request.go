package usage

import (
	"encoding/json"

	"github.com/zeebo/xxh3"

	"tollgate/pkg/dedup"
	"tollgate/pkg/meterevent"
	"tollgate/pkg/recordbatch"
)

// requestRow is a synchronous request whose record had its effect.
type requestRow struct {
	Key         uint64 `json:"key"`
	Params      uint64 `json:"params"`
	Offset      int64  `json:"offset"`
	ReceivedMs  int64  `json:"received_ms"`
	TimestampMs int64  `json:"timestamp_ms,omitempty"`
}

func (r *requestRow) same(q meterevent.Request) bool { return r.Key == q.Key && r.Params == q.Params }

// refusalRow is why the record of a synchronous request was refused.
type refusalRow struct {
	Reason     meterevent.Reason `json:"code"`
	Message    string            `json:"message"`
	ReceivedMs int64             `json:"received_ms"`
}

func encodeRow(row any) []byte {
	b, err := json.Marshal(row)
	if err != nil {
		panic("BUG: usage: a row is always JSON: " + err.Error())
	}
	return b
}

func (p *pendingRow) encode() []byte { return encodeRow(p) }

// keepRequest notes which request an event that counts was. mu is held.
func (p *partition) keepRequest(a *asked, it *dedup.Item) {
	row := requestRow{a.request.Key, a.request.Params, it.Offset, a.receivedMs, a.timestampMs}
	p.fresh.requests[it.ID] = row
	p.write(appendRequestKey(nil, p.number, floorDiv(it.NowMs, dayMs), it.ID), encodeRow(&row))
}

// write puts a row into the batch. Only a batch that was committed refuses that, which would be our own fault.
func (p *partition) write(key, value []byte) {
	if err := p.batch.Set(key, value, nil); err != nil {
		panic("BUG: usage: a row can not be written: " + err.Error())
	}
}

// erase takes a row out likewise.
func (p *partition) erase(key []byte) {
	if err := p.batch.Delete(key, nil); err != nil {
		panic("BUG: usage: a row can not be deleted: " + err.Error())
	}
}

func appendRequestKey(dst []byte, partition int32, day int64, id dedup.ID) []byte {
	dst = appendI32(appendTable(dst, partition, tableRequests), day)
	return appendU64(appendU64(dst, int64(id[0])), int64(id[1]))
}

// cancelRequest says whether a cancel's Idempotency-Key was used before, and notes it otherwise. Either way a cancel
// under a used key has no effect: it is the same again, or the caller is told that it is another. mu is held.
func (p *partition) cancelRequest(s *scope, rec *recordbatch.Record, r *meterevent.Record, clockMs int64) (again bool, err error) {
	hash := p.store.requestHash(&s.Scope, r.Request.Key)
	row, found, err := p.cancelRow(hash, clockMs, rec.Offset-1)
	if err != nil {
		return false, err
	}
	if found {
		if row.same(r.Request) {
			p.tally.cancels[cancelRepeated]++
		} else {
			p.tally.cancels[cancelKeyReused]++
		}
		return true, nil
	}
	if p.replaying {
		return false, nil
	}
	row = requestRow{Key: r.Request.Key, Params: r.Request.Params, Offset: rec.Offset, ReceivedMs: rec.TimestampMs}
	p.fresh.cancels[hash] = row
	p.write(appendCancelKey(nil, p.number, floorDiv(clockMs, replayDays*dayMs), hash), encodeRow(&row))
	return false, nil
}

// cancelRow finds the request to cancel under a key, not after an offset.
func (p *partition) cancelRow(hash uint64, clockMs, offsetMax int64) (row requestRow, found bool, err error) {
	if row, found = p.fresh.cancels[hash]; found && row.Offset <= offsetMax {
		return row, true, nil
	}
	newest := floorDiv(clockMs, replayDays*dayMs)
	for period := newest; period >= newest-requestDays/replayDays-1; period-- {
		found, err = p.store.row(appendCancelKey(nil, p.number, period, hash), &row)
		if err != nil || found && row.Offset <= offsetMax {
			return row, found && clockMs-row.ReceivedMs < requestDays*dayMs, err
		}
	}
	return requestRow{}, false, nil
}

func appendCancelKey(dst []byte, partition int32, period int64, hash uint64) []byte {
	return appendU64(appendI32(appendTable(dst, partition, tableCancels), period), int64(hash))
}

func (s *store) requestHash(o *Scope, key uint64) uint64 {
	b := appendU64(make([]byte, 0, 64), int64(key))
	if o.Livemode {
		b = append(b, 1)
	}
	return xxh3.HashSeed(append(b, o.Business...), s.seed)
}

// refusalOf finds why the record at an offset was refused.
func (p *partition) refusalOf(offset, clockMs int64) (row refusalRow, found bool, err error) {
	if row, found = p.fresh.refusals[offset]; found {
		return row, true, nil
	}
	today := floorDiv(clockMs, dayMs)
	for day := today; day >= today-2; day-- {
		if found, err = p.store.row(appendRefusal(nil, p.number, day, offset), &row); err != nil || found {
			return row, found, err
		}
	}
	return row, false, nil
}

func appendRefusal(dst []byte, partition int32, day, offset int64) []byte {
	return appendU64(appendI32(appendTable(dst, partition, tableRefusals), day), offset)
}

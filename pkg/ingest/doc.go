// Package ingest takes requests' records from many goroutines into a log, and answers each request when the log has.
//
// A request is one Frame: its records, encoded for the log while the request is parsed. Submit copies the frame into a
// ring (package ring), waits, and returns nil when every record of it is durable (G1):
//
//	f := g.NewFrame(g.NowMs())
//	for each event {
//		buf := f.Begin(&key)       // a Key knows its partition, and is kept from request to request
//		buf = append(buf, value…)  // encoded straight into the frame
//		f.End(buf)
//	}
//	err := g.Submit(f)         // or SubmitAt, for who must find the last record again
//
// # Model
//
//	handlers (any goroutine)          drainer (one goroutine)                      the log
//
//	Begin…End ─▶ Frame                          ┌ partition 0: filling, full…, flying ┐
//	Submit: claim a ticket                      │ partition 1: filling, full…, flying │
//	        copy ─────────▶ rings ──▶ sweep ───▶┤ …                                   ├──▶ Append(set)
//	        wait ◀── ticket ◀── worst outcome ◀─┤ the set is done                     ◀──── Done
//	                                            └─────────────────────────────────────┘
//
// A ticket is a slot in a fixed table; a frame in a ring carries the slot's number and generation, never a pointer
// (D2). Of each partition one batch flies at a time while the next one fills (D5), so that batches are as large as the log
// is slow; where Config.BehindBytes is set, a second one follows when it has that size. A frame may touch several partitions
// and batches; it is answered with the worst outcome of all (unknown, then unavailable, then refused, then durable), when
// the last of them is known.
//
// # Waiting, and what a timeout means
//
// Submit returns within WaitMax and a sixteenth. A watchdog goroutine sees to that, whatever drainer and log do: it
// gives the answer to tickets that are too old. If the drainer had not yet met the frame in its ring, the answer is
// ErrTimeout and the frame is never written: watchdog and drainer race for the ticket by compare-and-swap. If the drainer
// had taken it, the answer is commitlog.ErrUnknown.
//
// A partition of which the log has a batch, and of which it has answered nothing for half of WaitMax, is stuck: what waits
// there and what comes while it is stuck is answered ErrUnavailable at once, was never handed to the log, and is not
// written.
//
// # Bounds
//
// Memory is bounded whatever clients and logs do (G4): rings of a fixed size; Tickets requests at once; BacklogBytesMax
// of records taken from the rings and not yet answered by the log, PartitionBacklogBytesMax of them in one partition.
// A partition over its bound refuses frames at once, so that leaders that are away do not stop the others, and however
// many are away, a part of the backlog is left for the rest; a stuck one keeps the tickets of what the log has. With all
// of it used, frames stay in the rings until these are full too; full rings and a table without a ticket refuse at once.
// All of that is ErrFull.
//
// # What it will not do
//
// It knows no HTTP, no JSON and no limits on customers. It does not retry: what the log says is the answer. It does
// not close the log. What Submit's error promises is in its comment, and no more.
//
// An Ingester may be used from any goroutine; a Frame by one at a time.
package ingest

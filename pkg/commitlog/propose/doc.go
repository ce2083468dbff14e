// Package propose appends proposals to a partition, one record each, and waits until the fold of that partition has come
// to a proposal and decided about it.
//
// It is what rooms have in common whose fold decides (design decision D13). A proposal has an id, which the fold finds in
// the record, wherever that is: nobody has to know the offset.
//
//	proposals := propose.New[Verdict](propose.Config{Log: log, Topic: "control", InFlightMax: 256, Closed: ctx.Done()})
//
//	slot := proposals.Take()                                                // nil: there are too many
//	defer slot.Leave()
//	verdict, err := proposals.Append(ctx, slot, propose.Record{ID: id, …}) // the proposer
//
//	proposals.Decide(id, verdict)                                          // the fold, for each record
//
// All methods may be called from many goroutines at once. Decide does not block. Memory: InFlightMax records.
//
// The package will not follow the log, which package follow does, nor know what a verdict is.
package propose

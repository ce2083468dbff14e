// Package usage is the worker that follows the usage log and keeps exact totals.
//
// A Worker runs the partitions that its group gives it. Each partition is a fold of its records in order of their
// offsets (D15): a record is judged (structure, meter, archived, customer, value, digits, timestamp, duplicate), and
// what counts goes into totals per meter, customer and minute. Time is the records' own: receipt is a record's
// timestamp (D8), and the partition's clock is the largest so far. So the same log, the same history of meters and the
// same seed give the same state, whenever and on whatever machine, however often it was stopped.
//
// State lives in an embedded store, with the offset it belongs to in the same atomic batch (D16), and in an index of
// identifiers beside it, package dedup. Both are caches of the log: what a crash takes is read again.
//
//	w, err := usage.Open(usage.Config{Log: log, Topic: "tollgate.usage", Group: "tollgate.usage-worker", Control: c, Dir: dir})
//	go w.Run(ctx)
//	totals, err := w.Totals(ctx, nil, usage.Query{…})        // of a customer
//	page, err := w.Amounts(ctx, nil, usage.AmountsQuery{…})  // of all customers of a meter
//
// What is refused is reported to Config.Events: by meter, in windows of ten seconds of receipt, each event in exactly one
// report, whoever runs the partition and whatever is read again. Why this holds is in docs/adr/0031.
//
// All methods of a Worker may be called at once. Answers are of the partitions that the worker runs; who runs the others
// is known to package fleet.
//
// It will not write to the usage log, decide which meters there are, or answer with part of a sum: a window that may
// lack records is an IncompleteError.
package usage

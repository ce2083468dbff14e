// Package fleet knows which gateway runs which partition of the usage topic, and asks it: whichever gateway a client
// reaches, the answer is about all partitions.
//
// Every gateway announces the partitions that its worker runs in a compacted topic, each under a key of its own, anew
// every few seconds and at once when they change:
//
//	key    usage/3
//	value  {"object":"usage_owner","partition":3,"gateway":"…","address":"10.0.0.5:9191","since":"…","at":"…"}
//
// The newest announcement of a partition in the log's order names its owner. An announcement that was still on its way
// while the partition changed hands may land behind the new owner's first: the new owner sees that and announces itself
// again. Announcements are hints. Who runs a partition is decided by commitlog.Group, and an owner that is asked about a
// partition which it no longer runs says so (421): the asker then reads the topic to its end, asks once more, and
// gives up with ErrOwnerAway.
//
//	asker                                    owner
//	  Totals, Fate, Amounts: all partitions
//	  by owner, all at once  ── POST ──▶    /internal/usage/totals   {"partitions":[…],"query":{…}}
//	                                        /internal/usage/fate
//	                                        /internal/usage/verdict
//	                                        /internal/usage/amounts
//	  put together           ◀── 200 ──     {"partitions":[…],"answer":{…}}   the partitions that it covers
//	                         ◀── 421 ──     {"error":"not_here", …}           none of them is run here
//
// An answer is about every partition or there is none: a partition without an owner, or whose owner does not answer, is
// ErrOwnerAway, never a partial sum. Partitions that run in this process are asked without HTTP, and without a Listener
// in Config only those can be: then nothing is announced, followed or listened to.
//
//	f, err := fleet.Open(fleet.Config{Log: log, UsageTopic: "tollgate.usage", Worker: worker})
//	totals, err := f.Totals(ctx, query)
//
// All methods may be called at once from many goroutines. The requests travel in plain HTTP with a shared secret: the
// listener belongs into a network of one's own. This package will not decide who runs a partition, keep totals, or
// answer from an announcement alone.
package fleet

// Package dedup remembers which identifiers were seen, exactly, for a window of time: the duplicate index of one
// partition of the usage topic.
//
// The model. An entry is an ID (a 128-bit keyed hash, so that two identifiers do not share one), the offset of the record
// that brought it, and the minute of the partition's clock. The newest entries are in a table in memory. Seal writes them
// into a run: an immutable file in the order of the hashes, with a Bloom filter that only ever says "surely new". Runs are
// merged in the background, four of a size at a time, so that few of them have to be asked, and a run whose entries
// have all expired is removed whole. From three runs on one coarse filter in memory, the cover, is over all of them but
// those that are too new to be in it yet: it is asked before theirs, which are asked only for what it does not call new.
// MANIFEST names the runs that are alive, and says from which offset on the log has to be read again after a crash.
//
//	table   [ newest entries, in memory                    ]   lost in a crash, inserted again from Next on
//	level 0 [run][run][run]                                    one a Seal
//	level 1 [ 4 of level 0 ][ 4 of level 0 ]
//	level 2 [ 4 of level 1                          ]          older to the right; no run spans more than half a window
//	cover   [ all of these but the newest           ]          one filter, in memory only, filled from the runs
//
// Time. An entry counts at a clock as long as bucket(clock) − bucket(entry) ≤ Window/BucketWidth, that is for at least
// Window and less than Window and one BucketWidth. Nothing here reads a clock: equal calls give equal answers, so a
// replay of the log repeats its verdicts. For that the index must not forget too soon: what no longer counts is dropped
// only when it does not count at the clock last given to Release, and not at that of the last Seal either. An Insert at
// an earlier clock than the one by which something was dropped is refused with a *BehindError: its answer might be wrong.
//
// Who may call what at once. Insert, InsertMany, Seal, Advance and Due belong to one goroutine, the writer. Find, Next,
// Clock, Release, Verify and Stats may be called from any, at any time; none of them waits for the disk while it holds what the
// writer needs. Two goroutines work beside them, the merger and the filler of the cover. Close ends what they are at; a Find
// that is under way finishes.
//
// Errors. Whatever has to be durable is so before Next moves. An Insert that fails has changed nothing; a Seal that fails
// has lost nothing and may be called again. Bytes that are not what was written are a *RotError with the file's name:
// they are not passed over, and nothing is wiped to get going again. The remedy is to remove the directory and to read the
// log again, which the caller decides.
//
// It does not know what an event, a record or a partition is, takes no lock on its directory, and never looks into the
// log.
//
//	x, err := dedup.Open(dedup.Config{FS: vfs.OS, Dir: dir, MemoryBytes: 1 << 30})
//	for each record from min(x.Next(), the offset of the caller's own state) on {
//		x.Advance(clock)
//		first, duplicate, err := x.Insert(id, offset, clock, 0)
//	}
//	if x.Due() {
//		err = x.Seal(next)
//	}
package dedup

// Package journal is a commitlog.Log in files on a local disk: the gateway's log when there is no Kafka.
//
//	<dir>/<topic>-<partition>/00000000000000000000.log   segments, named after their first offset
//	<dir>/<topic>-<partition>/checkpoint                 up to where they are durable; see checkpoint.go
//
// A segment is record batches of Kafka's format v2 (package recordbatch), one behind the other and nothing else, with
// their final offsets: Kafka's own tools read it, also while it is being written.
//
//	j, err := journal.Open(journal.Config{Dir: dir, Topics: []journal.TopicConfig{{Name: "usage", Partitions: 1}}})
//	j.Append(batches) // Done is called for each, after the fsync
//	err = j.Close(ctx)
//
// # One committer
//
// One goroutine takes everything that waits, writes it with one call a partition, syncs all files touched beside each
// other, and completes the batches; meanwhile the next group gathers. So one fsync serves everybody who came while the last
// one ran, and no time is spent waiting for company. Batches are checked in Append, in the caller's goroutine.
//
// When a set of BehindBytes and more comes while a group is synced, another goroutine writes all that waits behind that
// group, as far as the segment has room, so that the disk has the next group as soon as it is done with this one; whoever
// waits for this one is told then:
//
//	0          position            end
//	├─ durable ──┼─ syncing ─┼─ written ─┤
//
// After a group is acknowledged, disk space is reserved for the next ones behind the end of the file, whose size stays that
// of its batches (ahead.go), and what was read leaves the page cache (cache.go). Another goroutine, the janitor, removes what
// retention no longer keeps, and takes superseded records out of topics that are compacted (compact.go). Readers have file
// handles of their own, and see only what is durable.
//
// # What is assumed of the disk
//
//  1. Bytes written before a Sync began are on disk when it has returned nil; so are names, after SyncDir. Of anything
//     else, any part may be there after a power loss, in any order.
//  2. After a Sync has failed nothing is known of what was written to this file before, and a later Sync says nothing
//     about it either: the page cache may call the pages clean.
//  3. A rename is atomic.
//  4. The end of the process alone loses nothing that was written.
//  5. Bytes that were durable may rot. Two bytes that rot do not make a CRC32C right again.
//
// # What follows
//
//  6. A batch is acknowledged after its Sync. Its mark is written to the checkpoint before, unsynced; about once a
//     second the checkpoint is synced, beside a later group's segment.
//  7. By 4 and 6, after kill -9 the checkpoint tells what was acknowledged, and what was about to be. After a power loss it lags, by
//     what was acknowledged in the last second or so, never ahead.
//  8. Open reads the last segment in full. What is invalid before the checkpoint's position was durable once: it is
//     rot, and Open refuses with a *RotError (D10). What is invalid behind it is torn: it is cut, with a Notice. A
//     batch that is whole is kept, whether anybody was told of it or not.
//  9. By 7 and 8 the one case in which acknowledged bytes could be cut is a power loss together with rot in the last
//     second before it.
//  10. A segment is begun only when the one before is durable to its end; so, when a later segment exists, all before
//     it are complete up to its base offset. Open walks through those that the checkpoint does not vouch for; the
//     others are checked by whoever reads them, who gets a *RotError, and by Verify.
//  11. What lies behind the checkpoint and is kept is written again, byte for byte, and synced, before anything is
//     appended behind it: it may be in the page cache only, by 2.
//  12. A Sync may begin with bytes of the next group in the file, or see them come: they are nobody's until a Sync that
//     began after them has returned, and by 1 it makes no difference to 8 which of them are on disk.
//  13. After a failed write or Sync the file is given up (D11): it is cut to its durable size if it lets itself be cut,
//     and a new segment begins at the next offset, with what was not acknowledged, in both groups, written again.
//     Whatever the old file still holds at or behind the new one's base does not count. When no new segment can be made,
//     batches complete with ErrUnavailable if no byte of them can come back, with ErrUnknown otherwise; the journal tries
//     again by itself and Ready says why not. A disk that is full is no reason to give a file up, if what was written can
//     be cut. A file that was removed under the running gateway is given up in the same way, at the next group.
//  14. Segments are removed oldest first, each durably before the next, so a crash leaves no gap.
//  15. Compaction puts a durable file of the same span in a closed segment's place by rename, oldest first, each durably
//     before the next. It never touches the segment that the last durable checkpoint has a position in, nor a later one.
//     So a crash leaves of each segment the old file or the new one, and both fold to the same state.
//
// All methods may be called from many goroutines at once. One process at a time may use a directory: the caller holds
// a lock on it (vfs.Lock). Verify, Dump and Repair are for a journal that is not open.
//
// The journal will not compress or replicate; it keeps no producer state, so a batch handed over twice is in it twice;
// and it never removes or overwrites durable bytes, except by retention and, of a topic that asks for it, compaction.
package journal

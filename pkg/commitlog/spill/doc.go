// Package spill is a commitlog.Log on Kafka that goes on taking records of one topic while Kafka is away: they are fsynced
// here, and put into Kafka when it is back.
//
//	log, err := spill.Open(spill.Config{Kafka: kafka, Topic: "tollgate.usage", Dir: dir, MaxBytes: 10 << 30})
//
// Each partition of the topic is by itself in one of these modes:
//
//	direct     batches go to Kafka as they come
//	leaving    Kafka has given one back; what it still has is waited for, what comes is held in memory
//	spilling   batches go into a journal on the local disk, behind what is there, and one goroutine drains it into Kafka
//	returning  the last of the journal is on its way to Kafka; what comes is held in memory
//
//	direct ─ a batch comes back unavailable or in doubt ─▶ leaving ─ all others have come back ─▶ spilling
//	spilling ─ the journal's last range is sent ─▶ returning ─ it landed, and that is noted durably ─▶ direct
//	returning ─ it did not ─▶ spilling, with what was held
//
// # What is promised
//
//  1. A batch is acknowledged when it is in Kafka, or fsynced here. Then its Base is -1: nobody knows yet where it will be.
//  2. Order within a partition is that of the hand-over. A partition spills only when nothing of it is at Kafka, and is direct
//     again only when nothing of it is here. A batch that Kafka gave back, with one behind it that landed, is not spilled but
//     answered with Kafka's error.
//  3. A batch in doubt at Kafka is journaled with the producer id, epoch and sequence of its attempts, in its own header, and
//     acknowledged. It is the first thing of its partition to be sent again, under that stamp: a broker that has it says so.
//  4. Draining makes batches of its own out of what the journal holds. Before the first byte of one leaves, a note is fsynced:
//     which range of the partition's journal it is, and its producer id, epoch and sequence. After a crash the same range is
//     sent under the same stamp. The note also says that everything before the range is in Kafka. One batch of a partition is
//     on its way at a time, so a broker that remembers only the last one knows it.
//  5. When a broker does not agree with a sequence, its log ends before the batch (an unclean election took more), or it has
//     forgotten the producer. The range is sent under a new producer id, counted and told: what was acknowledged is not lost.
//     Kafka forgets a producer after producer.id.expiration.ms, a day by default: a batch whose answer was lost at the very
//     moment at which Kafka went away for longer than that can be in the log twice, and is counted once by its identifier.
//  6. Over MaxBytes appends are refused at once with ErrUnavailable. Only what is in doubt is taken all the same, at most one
//     batch a partition.
//
// Memory: what the caller has handed over and not got back, and for each partition that drains one range of DrainBytes.
//
// Reader, Bounds and Group are Kafka's: what is spilled is not in the log yet. Batches of other topics go to Kafka as they
// are. All methods may be called from many goroutines at once. The caller holds a lock on Dir.
//
// The spill will not decide what is away: Kafka's log does, by what it gives back. It does not keep headers of records, which
// ours do not have, nor serve what it holds to readers.
package spill

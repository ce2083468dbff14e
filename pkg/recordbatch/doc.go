// Package recordbatch builds, stamps, checks and reads Kafka record batches of format v2 (KIP-98; magic 2), the one
// form in which records travel to a broker and lie in a journal segment.
//
// A batch is a header of 61 bytes and the records behind it, big-endian:
//
//	offset  bytes  field                 notes
//	     0      8  base offset           set by the log that keeps the batch; outside the CRC
//	     8      4  batch length          bytes behind this field: the whole batch less 12
//	    12      4  partition leader epoch  -1 when unknown; outside the CRC
//	    16      1  magic                 2
//	    17      4  CRC32C                Castagnoli, over everything from attributes to the end of the batch
//	    21      2  attributes            bits 0-2 codec, 3 log append time, 4 transactional, 5 control
//	    23      4  last offset delta     the newest record's offset less the base offset
//	    27      8  base timestamp        ms since 1970, the first record's
//	    35      8  max timestamp         ms since 1970, the largest of all records
//	    43      8  producer id           -1: none
//	    51      2  producer epoch        -1: none
//	    53      4  base sequence         the first record's sequence number; -1: none
//	    57      4  records               how many follow
//	    61      …  records               one after the other, or one compressed frame of them
//
// A record's numbers are zigzag varints:
//
//	length | attributes (1 byte, 0) | timestamp delta | offset delta | key length | key | value length | value | headers
//	                                                                 `------------- the record's body --------------'
//
// Lengths of -1 mean null. The body does not depend on the batch it lands in, so a request's goroutine encodes it
// (AppendBody) and the one goroutine that assembles the batch only puts a few bytes before it (Builder.Append).
//
// The life of a batch:
//
//	var b recordbatch.Builder
//	b.Reset(buf)
//	b.Append(nowMs, recordbatch.AppendBody(nil, key, value))
//	batch := b.Seal()                                                 // valid, of no producer
//	batch, err := recordbatch.Compress(other, batch, recordbatch.LZ4) // if wanted
//	recordbatch.Stamp(batch, producer)                                // for a broker
//	recordbatch.SetBase(batch, offset, 0)                             // a journal's own; a broker does it itself
//
// It is valid from Seal on: its CRC is computed while the records are copied, when they are in the processor's cache, and
// what changes bytes changes it with them.
//
// Functions may be called from many goroutines at once. A Builder or a Scanner is for one goroutine at a time.
//
// The package does no I/O, reads no clock, keeps no batch, and does not know the older formats (magic 0 and 1) nor
// the codecs gzip and snappy: it names them and refuses.
package recordbatch

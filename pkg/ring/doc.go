// Package ring hands frames of bytes from many goroutines to one, without a lock.
//
// A Ring is a byte buffer of a fixed size with many producers and one consumer. A Set is several rings, so that cores
// do not fight over one claim position, a large spare for what they have no room for, and the Gate on which the consumer
// of all of them sleeps.
//
//	set := ring.NewSet(runtime.GOMAXPROCS(0), 1<<20, 16<<20, 1<<18)
//
//	// any goroutine                        // the one consumer
//	if !set.TryAppend(frame) {              for {
//		return errFull                          for set.Drain(64<<10, take) > 0 {
//	}                                           }
//	                                            set.Gate.Arm(1)
//	                                            if set.Pending() {
//	                                                set.Gate.Disarm()
//	                                                continue
//	                                            }
//	                                            set.Gate.Sleep(-1)
//	                                        }
//
// # Layout
//
// A position is a uint64 that only grows; position modulo ring size is an index into data. Data is cut into units of
// 64 bytes, and each frame starts at one. Beside the data lies the lane, one 64-bit commit word a unit, of which a
// frame uses the one of its first unit. A frame is contiguous: where the end of the buffer is too near, the claim
// covers the rest of the buffer too, and that rest is committed as padding.
//
//	        head                                    tail
//	         │ what the consumer reads next          │ what the next producer claims
//	         ▼                                       ▼
//	data  …┬─┬─┬─┬─┬─┬─┬─┬─┬─┬─┬─┬─┬─┬─┬─┬─┬─┬─┬─┬─┬─┬…     units of 64 bytes
//	       │·│A A A A│B B│C C C C C C C│p p p p│D D D│·│       · free   p padding at the end of the buffer
//	lane  …┼─┼─┼─┼─┼─┼─┼─┼─┼─┼─┼─┼─┼─┼─┼─┼─┼─┼─┼─┼─┼─┼…
//	       │·│A│·│·│·│B│·│0│·│·│·│·│·│·│p│·│·│·│D│·│·│·│       0: C is claimed, and not yet committed
//
// A commit word says of which lap round the buffer it is, so neither data nor lane is ever zeroed: what an earlier lap
// left behind can not be taken for a commit of this one.
//
//	63                                b+2 b+1                          2 1   0
//	┌────────────────────────────────────┬──────────────────────────────┬─────┐     b = log2(ring size)
//	│ lap = position >> b, modulo 2^62-b │ bytes of the frame           │kind │     kind: 1 frame, 2 padding
//	└────────────────────────────────────┴──────────────────────────────┴─────┘           0 never used
//
// A word would be ambiguous after 2^62 bytes, 146 years at 1 GB/s. (Headers in band, as in Agrona's ManyToOneRingBuffer,
// need the consumer to zero what it has read; the lane was measured faster at every frame size.)
//
// # Who owns what, and what hands it over
//
//	bytes                          owner            handed over by
//	[tail, head+size)  free        nobody           a producer's compare-and-swap of tail
//	[p, p+n) claimed               that producer    its store of the commit word of p
//	[head, …) committed            the consumer     its store of head
//
// Go's atomics are sequentially consistent, and an atomic load that sees a store happens after all that preceded the
// store. Two such pairs carry the whole argument:
//
//	producer                       consumer                           so
//	copy frame to data[p:]
//	lane[p] = word          ──▶    lane[head] == word of this lap     the consumer reads whole frames only
//	                               read data[head:]
//	t = tail                       head += n
//	h = head                ◀──                                       a producer never writes what is being read
//	CAS tail t → t+n
//	copy frame to data[t:]
//
// The order of the producer's two loads matters. Positions only grow, so if the compare-and-swap succeeds, tail was t
// all the time since it was loaded, and the head loaded in between can only have moved on: there is at least as much room
// as was seen. And if there is too little room for t and h, there was too little at the moment when h was loaded: "full"
// is never said of a ring that was not.
//
// A producer that loses its core between claim and commit delays the consumer of this one ring, which stops before
// the frame, and nobody else: other producers go on claiming behind it, until the ring is full.
//
// # What it will not do
//
// It does not wait: a full ring is an answer, at once. It does not look into frames, nor order frames of one goroutine
// across the rings of a Set beyond this: the frame of an append that returned before another began is in its ring
// before the other. It has no second consumer: Drain, Pending and the Gate's Arm, Disarm and Sleep belong to one goroutine
// at a time.
package ring

package metrics

import (
	"math/bits"
	"runtime"
	"sync"
	"sync/atomic"
)

// A hot counter is cut into cells, so that cores which count at the same time do not take one cache line away from
// each other: an atomic add costs 5 ns on a line that this core already owns and ten times that when another core
// wrote it last.
//
// Which cell a goroutine uses is decided by a sync.Pool: the pool keeps its items by P, so Get returns what this P
// put back last, and a P stays with its cell for as long as the pool is not emptied by the garbage collector. That
// is a hint and not a promise (a goroutine may be moved between Get and Add), so every cell is atomic. Pinning a
// goroutine to its P would be exact and cheaper, but needs names that the Go runtime does not give out; a random
// cell is cheaper still, but then every core writes every line, which is what the cells are there to avoid.

// cellBytes is the distance between cells: two cache lines, as processors fetch lines in pairs.
const cellBytes = 128

// cellsMax bounds the memory of one counter, 4 KiB, on machines with more cores than matter here.
const cellsMax = 32

// cellCount is a power of two, at least one cell for each P that may count at once.
func cellCount() int {
	n := min(runtime.GOMAXPROCS(0), cellsMax)
	return 1 << bits.Len(uint(n-1))
}

// tokens are handed out in turn; a token's index is the hint. They are a fixed array, so that a pool which was
// emptied makes no garbage when it fills again.
var (
	tokens    [cellsMax]struct{ index uint32 }
	nextToken atomic.Uint32
	tokenPool = sync.Pool{New: func() any {
		return &tokens[nextToken.Add(1)%cellsMax]
	}}
)

func init() {
	for i := range tokens {
		tokens[i].index = uint32(i)
	}
}

// cellHint returns a number below cellsMax that a P tends to keep.
func cellHint() uint32 {
	t := tokenPool.Get().(*struct{ index uint32 })
	i := t.index
	tokenPool.Put(t)
	return i
}

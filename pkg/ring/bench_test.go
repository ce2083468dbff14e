package ring

import (
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// sharded is a queue for each core, chosen as a Set does it, with one consumer.
type sharded struct {
	queues []queue
	hints  sync.Pool
	next   atomic.Uint32
}

func newSharded(one func() queue) *sharded {
	s := &sharded{}
	for range runtime.GOMAXPROCS(0) {
		s.queues = append(s.queues, one())
	}
	s.hints.New = func() any { return &s.queues[s.next.Add(1)%uint32(len(s.queues))] }
	return s
}

func (s *sharded) TryAppend(frame []byte) bool {
	q := s.hints.Get().(*queue)
	ok := (*q).TryAppend(frame)
	s.hints.Put(q)
	return ok
}

func (s *sharded) Drain(bytesMax int, fn func(frame []byte)) (n int) {
	for _, q := range s.queues {
		n += q.Drain(bytesMax, fn)
	}
	return n
}

// BenchmarkAppend is one frame from a producer to the consumer, which copies it once, as the drainer does. A producer
// that finds no room yields, which a request never does: then the wall time is the consumer's. cpu-ns is the time of
// both, which other work on the machine disturbs less.
//
//	go test -run - -bench Append -cpu 2 ./pkg/ring
func BenchmarkAppend(b *testing.B) {
	const ringBytes = 1 << 20
	peers := []struct {
		name string
		new  func() queue
	}{
		{"ring", func() queue { return New(ringBytes) }},
		{"mutex", func() queue { return newTwin(ringBytes) }},
		{"ring-per-P", func() queue { return NewSet(runtime.GOMAXPROCS(0), ringBytes, 4*ringBytes, ringBytes/4) }},
		{"mutex-per-P", func() queue { return newSharded(func() queue { return newTwin(ringBytes) }) }},
		{"channel", func() queue { return newChannel(1024) }},
	}
	for _, frameBytes := range []int{170, 17_000} {
		for _, producers := range []int{1, 8, 64} {
			for _, peer := range peers {
				b.Run(fmt.Sprintf("bytes=%d/producers=%d/%s", frameBytes, producers, peer.name), func(b *testing.B) {
					through(b, peer.new(), producers, frameBytes)
				})
			}
		}
	}
}

func cpuNow() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func through(b *testing.B, q queue, producers, frameBytes int) {
	b.ReportAllocs()
	b.SetBytes(int64(frameBytes))
	before := cpuNow()
	var left atomic.Int64
	left.Store(int64(b.N))
	for range producers {
		go func() {
			frame := pattern(frameBytes, 1)
			for left.Add(-1) >= 0 {
				for !q.TryAppend(frame) {
					runtime.Gosched()
				}
			}
		}()
	}
	batch := make([]byte, 0, 1<<20)
	take := func(f []byte) {
		if len(batch)+len(f) > cap(batch) {
			batch = batch[:0]
		}
		batch = append(batch, f...)
	}
	for got := 0; got < b.N; {
		n := q.Drain(64<<10, take)
		if got += n; n == 0 {
			runtime.Gosched()
		}
	}
	b.ReportMetric(float64(cpuNow()-before)/float64(b.N), "cpu-ns/op")
}

package ring

import (
	"encoding/binary"
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestASetIsFullOnlyWhenEveryRingIs(t *testing.T) {
	const rings, ringBytes, spareBytes = 3, RingBytesMin, 4 * RingBytesMin
	s := NewSet(rings, ringBytes, spareBytes, ringBytes/2)
	n := 0
	for s.TryAppend(make([]byte, unitBytes)) {
		n++
	}
	if n != (rings*ringBytes+spareBytes)/unitBytes || s.Used() != s.Cap() {
		t.Errorf("%d frames, %d of %d bytes in use", n, s.Used(), s.Cap())
	}
	if got := s.Drain(spareBytes, func([]byte) {}); got != n || s.Used() != 0 || s.Pending() {
		t.Errorf("%d frames of %d came out, %d bytes in use", got, n, s.Used())
	}
}

func TestTheSpareTakesWhatIsTooLargeForTheRingsAndWhatTheyHaveNoRoomFor(t *testing.T) {
	s := NewSet(2, RingBytesMin, 8*RingBytesMin, RingBytesMin)
	if !s.TryAppend([]byte("small")) || s.spare().Used() != 0 {
		t.Error("the spare is used while there is room elsewhere")
	}
	giant := make([]byte, s.FrameBytesMax())
	if len(giant) != 4*RingBytesMin || !s.TryAppend(giant) || s.spare().Used() != len(giant) {
		t.Errorf("a frame of %d bytes: %d in the spare", len(giant), s.spare().Used())
	}
	if s.Drain(1<<20, func([]byte) {}) != 2 {
		t.Error("not both came out")
	}
}

func TestEachDrainOfASetBeginsWithAnotherRing(t *testing.T) {
	s := NewSet(2, RingBytesMin, RingBytesMin, RingBytesMin) // and the spare
	for turn := range 6 {
		for i, r := range s.rings {
			r.TryAppend([]byte{byte(i)})
		}
		var order []byte
		s.Drain(RingBytesMin, func(f []byte) { order = append(order, f[0]) })
		if int(order[0]) != turn%3 || len(order) != 3 {
			t.Errorf("turn %d: %v", turn, order)
		}
	}
}

// park is the consumer's part of the protocol: it sleeps when there is nothing to drain. Tests that lose a wake-up hang.
func park(s *Set, until int) {
	s.Gate.Arm(until)
	if s.Pending() {
		s.Gate.Disarm()
		return
	}
	s.Gate.Sleep(-1)
}

// Each producer waits until its frame came out before it appends the next one, so the consumer runs dry all the time.
func TestNoWakeUpIsLostWhenEachFrameIsWaitedFor(t *testing.T) {
	const producers, framesEach = 8, 5000
	s := NewSet(2, 1<<12, 1<<13, 1<<11)
	var answers [producers]chan struct{}
	var wg sync.WaitGroup
	for p := range producers {
		answers[p] = make(chan struct{}, 1)
		wg.Go(func() {
			frame := binary.LittleEndian.AppendUint64(nil, uint64(p))
			for range framesEach {
				if !s.TryAppend(frame) {
					t.Error("full")
				}
				<-answers[p]
			}
		})
	}
	answer := func(f []byte) { answers[binary.LittleEndian.Uint64(f)] <- struct{}{} }
	dice := rand.New(rand.NewPCG(1, 1))
	for left := producers * framesEach; left > 0; {
		n := s.Drain(1<<12, answer)
		if left -= n; n == 0 {
			// While all producers that are left wait for an answer, one arrival is all there may ever be.
			park(s, 1)
		}
		if dice.IntN(4) == 0 {
			runtime.Gosched()
		}
	}
	wg.Wait()
}

// The consumer gets up for a full ring only; producers go on until nothing fits.
func TestNoWakeUpIsLostWhenRingsFill(t *testing.T) {
	const producers, framesEach = 4, 20_000
	s := NewSet(2, 1<<12, 1<<13, 1<<11)
	var wg sync.WaitGroup
	for range producers {
		wg.Go(func() {
			for range framesEach {
				for !s.TryAppend(make([]byte, unitBytes)) {
					runtime.Gosched()
				}
			}
		})
	}
	go func() { // the last frames fill nothing
		wg.Wait()
		s.Gate.Wake()
	}()
	for left := producers * framesEach; left > 0; {
		n := s.Drain(1<<12, func([]byte) {})
		if left -= n; n == 0 {
			park(s, UntilFilled)
		}
	}
}

func TestGateCountsArrivals(t *testing.T) {
	g := NewGate()
	opened := func() bool { return len(g.token) == 1 }
	g.Arrived()
	g.Filled()
	g.Wake()
	if opened() {
		t.Fatal("a token for a consumer that is awake")
	}
	for _, c := range []struct {
		name  string
		until int
		do    func()
		want  bool
	}{
		{"two of three", 3, func() { g.Arrived(); g.Arrived() }, false},
		{"three of three", 3, func() { g.Arrived(); g.Arrived(); g.Arrived() }, true},
		{"filled before three", 3, g.Filled, true},
		{"woken before three", 3, g.Wake, true},
		{"arrivals, until filled", UntilFilled, func() { g.Arrived(); g.Arrived() }, false},
		{"filled, until filled", UntilFilled, g.Filled, true},
		{"filled, until woken", UntilWoken, func() { g.Arrived(); g.Filled() }, false},
		{"woken, until woken", UntilWoken, g.Wake, true},
		{"woken twice", 1, func() { g.Arrived(); g.Arrived(); g.Wake(); g.Filled() }, true},
	} {
		g.Arm(c.until) // also takes the token of the case before away
		if c.do(); opened() != c.want {
			t.Errorf("%s: open is %t", c.name, opened())
		}
	}
	g.Arm(1)
	g.Disarm()
	if g.Arrived(); opened() {
		t.Error("a token for a consumer that has disarmed the gate")
	}
}

func TestGateSleepsForItsTimeoutOrUntilWoken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := NewGate()
		start := time.Now()
		g.Arm(1)
		if g.Sleep(time.Second) || time.Since(start) != time.Second {
			t.Errorf("woken after %v", time.Since(start))
		}
		go func() {
			time.Sleep(time.Millisecond)
			g.Arrived()
		}()
		g.Arm(1)
		if !g.Sleep(time.Second) || time.Since(start) != time.Second+time.Millisecond {
			t.Errorf("not woken by the arrival, %v", time.Since(start))
		}
		// The first timer must not fire into the second sleep.
		g.Arm(1)
		if g.Sleep(2*time.Second) || time.Since(start) != 3*time.Second+time.Millisecond {
			t.Errorf("woken after %v", time.Since(start))
		}
		if g.Arrived(); len(g.token) != 0 {
			t.Error("the gate is still armed after Sleep")
		}
	})
}

// In a set an append that returned before another one began is drained before it only if both are in one ring; what
// must hold is that nothing is lost, torn or doubled.
func TestASetLosesNothing(t *testing.T) {
	const producers = 8
	s := NewSet(3, 1<<12, 1<<13, 1<<11)
	seen := make(map[uint64]bool)
	var scratch []byte
	var wg sync.WaitGroup
	const framesEach = 5000
	for p := range producers {
		wg.Go(func() {
			var frame []byte
			for i := range framesEach {
				frame = stressFrame(frame, uint32(p), uint32(i), 8+i%300)
				for !s.TryAppend(frame) {
					runtime.Gosched()
				}
			}
		})
	}
	for len(seen) < producers*framesEach {
		n := s.Drain(1<<11, func(f []byte) {
			p, i := binary.LittleEndian.Uint32(f), binary.LittleEndian.Uint32(f[4:])
			scratch = stressFrame(scratch, p, i, 8+int(i)%300)
			id := binary.LittleEndian.Uint64(f)
			if string(f) != string(scratch) || seen[id] {
				t.Fatalf("frame %d of producer %d: twice (%t) or not as appended", i, p, seen[id])
			}
			seen[id] = true
		})
		if n == 0 {
			park(s, 1)
		}
	}
	wg.Wait()
}

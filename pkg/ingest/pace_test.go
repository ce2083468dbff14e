package ingest

import (
	"testing"
	"time"
)

// turns plays a drainer with a log that answers at once: each round brings so many frames, so long after the last set,
// and the sets' sizes come back.
func turns(p *pace, now *time.Time, rounds, frames int, after time.Duration) (sets []int) {
	for range rounds {
		*now = now.Add(after)
		for range frames {
			p.took(300)
		}
		if p.due(*now) {
			sets = append(sets, p.frames)
			p.handedOver(*now)
		}
	}
	return sets
}

func TestAClientThatIsAloneIsNeverPaced(t *testing.T) {
	p, now := &pace{pause: time.Millisecond, ringBytes: 1 << 24}, time.Now()
	if sets := turns(p, &now, 1000, 1, 20*time.Microsecond); len(sets) != 1000 {
		t.Errorf("%d sets of 1,000 requests", len(sets))
	}
	if n, timeout := p.untilWorth(now); n != 1 || timeout >= 0 {
		t.Errorf("sleeps until %d frames or %v", n, timeout)
	}
}

func TestACrowdIsPacedByNumberAndByTime(t *testing.T) {
	p, now := &pace{pause: time.Millisecond, ringBytes: 1 << 24}, time.Now()
	turns(p, &now, 1, 64, 2*time.Millisecond) // 64 were found at once
	sets := turns(p, &now, 6400, 1, 2*time.Microsecond)
	if len(sets) != 200 || sets[0] != framesEnough {
		t.Errorf("of a fast crowd: %d sets of %v", len(sets), sets)
	}
	sets = turns(p, &now, 200, 1, 100*time.Microsecond)
	if len(sets) > 25 { // ten in each millisecond, or a few less when their number ends the pause
		t.Errorf("of a slower crowd, a request in 100 µs: %d sets of %v", len(sets), sets)
	}
	if n, timeout := p.untilWorth(now); n < 2 || timeout <= 0 || timeout > time.Millisecond {
		t.Errorf("sleeps until %d frames or %v", n, timeout)
	}
}

func TestAfterACrowdASingleClientIsSoonAlone(t *testing.T) {
	p, now := &pace{pause: time.Millisecond, ringBytes: 1 << 24}, time.Now()
	turns(p, &now, 1, 1000, 2*time.Millisecond)
	late := 0
	for range 10 { // the client waits for each answer
		if len(turns(p, &now, 1, 1, 50*time.Microsecond)) == 0 {
			late++
			now = now.Add(time.Millisecond)
			turns(p, &now, 1, 0, 0)
		}
	}
	if late > 4 {
		t.Errorf("%d of 10 requests were paced", late)
	}
}

func TestADrainerYieldsOnlyWhereItIsSafeAndOfUse(t *testing.T) {
	count := func(p pace) (yields int) {
		for range 160 {
			if p.worthYielding() {
				yields++
			}
		}
		return yields
	}
	for name, c := range map[string]struct {
		p    pace
		want int
	}{
		"alone":            {pace{crowd: 1, frameBytes: 300, ringBytes: 1 << 24}, 10},
		"a few":            {pace{crowd: 3, frameBytes: 300, ringBytes: 1 << 24}, 160},
		"a known crowd":    {pace{crowd: crowdMax, frameBytes: 300, ringBytes: 1 << 24}, 0},
		"large frames":     {pace{crowd: 3, frameBytes: 64 << 10, ringBytes: 1 << 24}, 0},
		"a request of 100": {pace{crowd: 3, frameBytes: 20 << 10, ringBytes: 1 << 24}, 160},
	} {
		if got := count(c.p); got != c.want {
			t.Errorf("%s: %d yields in 160 wake-ups, want %d", name, got, c.want)
		}
	}
}

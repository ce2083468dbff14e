package forward

import (
	"testing"
	"testing/synctest"
	"time"
)

// Who is held up by the machine leaves late. Had others been given their times in advance, they would all leave with it.
func TestEventsAreGivenToOneAtATimeAndNoneAreSavedUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPace(1000, time.Now)
		var left []time.Time
		done := make(chan time.Time)
		for range 40 {
			go func() {
				if err := p.wait(t.Context(), p.batch()); err != nil {
					t.Error(err)
				}
				done <- time.Now()
			}()
			synctest.Wait()
		}
		p.mu.Lock()
		if p.tokens < -float64(p.batch()) {
			t.Errorf("%v events were given away in advance", -p.tokens)
		}
		p.mu.Unlock()
		for range 40 {
			left = append(left, <-done)
		}
		for i := range left {
			if i >= 20 && left[i].Sub(left[i-20]) < time.Second+beat/2 {
				t.Errorf("21 requests of %d events within %v", p.batch(), left[i].Sub(left[i-20]))
			}
		}
		if took := left[39].Sub(left[0]); took > 39*time.Duration(p.batch())*time.Second/900 {
			t.Errorf("40 requests took %v", took)
		}
		time.Sleep(10 * time.Second)
		if wait := p.take(p.batch()); p.tokens < -float64(p.batch()) || p.tokens > 0 || wait > beat {
			t.Errorf("after a rest %v are there, and the next leave after %v", p.tokens, wait)
		}
	})
}

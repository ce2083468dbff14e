package fakestripe_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"tollgate/test/fakestripe"
)

// The least that a sender must do: send the same bytes until the answer is the true one, and open a session when told
// to. Whatever goes wrong on the way, everything counts, and once.
func TestWhoResendsUntilAnsweredIsCountedOnce(t *testing.T) {
	for seed := range uint64(60) {
		synctest.Test(t, func(t *testing.T) {
			rnd := rand.New(rand.NewPCG(seed, 2))
			r := newRig(t, fakestripe.Config{Now: time.Now, Random: rand.New(rand.NewPCG(seed, 3)), SessionTTL: 20 * time.Second})
			for _, k := range fakestripe.Kinds {
				f := fakestripe.Fault{Kind: k, Chance: 0.04, For: time.Duration(1+rnd.IntN(60)) * time.Second}
				if err := r.Inject(f); err != nil {
					t.Fatal(err)
				}
			}
			want, events := 0, 0
			for i := range 40 {
				var list []string
				for j := range 1 + rnd.IntN(20) {
					n := rnd.IntN(2000) - 1000
					want += n
					events++
					list = append(list, usage("sum", fmt.Sprint(i, ".", j), fmt.Sprint(n), time.Now().Add(-time.Duration(rnd.IntN(3600))*time.Second)))
				}
				text := body(list...)
				for tries := 0; !r.sent(text); tries++ {
					if tries == 1000 {
						t.Fatalf("seed %d: a request was never answered", seed)
					}
					if rnd.IntN(20) == 0 {
						r.Restart()
					}
					time.Sleep(100 * time.Millisecond)
				}
			}
			time.Sleep(2 * time.Minute) // what was late is applied
			s := r.State(acct)
			if got := r.sum("sum"); got != fmt.Sprint(want) || s.Counts[fakestripe.Counted] != int64(events) || s.Twice != 0 || s.Conflicts != 0 || s.InFlight != 0 {
				t.Errorf("seed %d: the sum is %s, want %d of %d events: %+v", seed, got, want, events, s)
			}
			if s.Counts[fakestripe.Duplicate] == 0 {
				t.Errorf("seed %d: nothing went wrong: %+v", seed, s)
			}
		})
	}
}

// sent tries a request once, with a session that it opens when there is none.
func (r *rig) sent(text string) bool {
	ctx, cancel := context.WithTimeout(r.t.Context(), 5*time.Second)
	defer cancel()
	if r.token == "" {
		got := r.do(ctx, http.MethodPost, sessionPath, key, "{}")
		r.token = tokenOf(got)
		return false
	}
	got := r.do(ctx, http.MethodPost, streamPath, r.token, text)
	if got.Status == http.StatusUnauthorized {
		r.token = ""
	}
	return got.Err == nil && got.Status == 200 && got.Body == "{}"
}

package fakestripe_test

import (
	"fmt"
	"net/http"
	"testing"

	"tollgate/test/fakestripe"
)

// What the fake takes from a measurement that shares its machine, the small share of this client included.
func BenchmarkStreamOfAHundred(b *testing.B) {
	fake := fakestripe.New(fakestripe.Config{Keys: map[string]string{key: acct.Business}, Limits: fakestripe.Limits{BusinessEvents: -1, SessionEvents: -1}})
	if _, err := fake.CreateMeter(acct, fakestripe.Meter{EventName: "sum"}); err != nil {
		b.Fatal(err)
	}
	by := fake.Transport()
	token := tokenOf(do(b.Context(), by, "http://s", http.MethodPost, sessionPath, key, "{}"))
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		i++
		b.StopTimer()
		text := body(many(fmt.Sprint(i, "."), 100)...)
		b.StartTimer()
		if got := do(b.Context(), by, "http://s", http.MethodPost, streamPath, token, text); got.Status != 200 {
			b.Fatalf("%+v", got)
		}
	}
}

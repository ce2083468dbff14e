package ingest

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"tollgate/pkg/commitlog"
)

// open starts an Ingester over log and drains it when the test ends.
func open(t testing.TB, log commitlog.Log, cfg Config) *Ingester {
	t.Helper()
	cfg.Log, cfg.Topic = log, "usage"
	g, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := g.Drain(ctx); err != nil {
			t.Error(err)
		}
	})
	return g
}

func keyOf(text string) *Key {
	var k Key
	k.Set([]byte(text))
	return &k
}

// submit sends one request with a record for each pair of key and value.
func submit(g *Ingester, pairs ...string) error {
	f := g.NewFrame(g.NowMs())
	for i := 0; i < len(pairs); i += 2 {
		f.End(append(f.Begin(keyOf(pairs[i])), pairs[i+1]...))
	}
	return g.Submit(f)
}

func TestWhatIsAnsweredIsInTheLogOnceAndInOrder(t *testing.T) {
	log := newFakeLog(t, 4)
	g := open(t, log, Config{})
	var wg sync.WaitGroup
	for c := range 16 {
		wg.Go(func() {
			key := fmt.Sprintf("acct/test/meter%d", c)
			for i := range 200 {
				if err := submit(g, key, fmt.Sprintf("%d/%d/a", c, i), key, fmt.Sprintf("%d/%d/b", c, i)); err != nil {
					t.Errorf("client %d, request %d: %v", c, i, err)
				}
			}
		})
	}
	wg.Wait()
	for c := range 16 {
		key := fmt.Sprintf("acct/test/meter%d", c)
		var got, want []string
		for _, v := range log.values(int(commitlog.PartitionFor([]byte(key), 4))) {
			if strings.HasPrefix(v, fmt.Sprintf("%d/", c)) {
				got = append(got, v)
			}
		}
		for i := range 200 {
			want = append(want, fmt.Sprintf("%d/%d/a", c, i), fmt.Sprintf("%d/%d/b", c, i))
		}
		if !slices.Equal(got, want) {
			t.Errorf("client %d: %d records in the log, %d were answered: %q", c, len(got), len(want), got)
		}
	}
}

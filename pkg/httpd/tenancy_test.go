package httpd

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	"tollgate/pkg/commitlog"
	"tollgate/pkg/control"
	"tollgate/pkg/meterevent"
)

// TestUsageIsWrittenUnderItsOwnKey: what a reading remembers of meters and keys goes from one business, mode and endpoint
// to the next, with more meters than it remembers. Each identifier names the key that its sender must get.
func TestUsageIsWrittenUnderItsOwnKey(t *testing.T) {
	const workers, requestsEach, meters, batch = 4, 150, 200, 8
	const lots = 1_000_000
	f := newFixture(t, func(c *Config) {
		c.Policy = &Policy{Default: Limits{Events: lots, StreamEvents: lots, SyncEvents: lots}}
	})
	owners := []struct{ secret, token, prefix string }{
		{testKey, f.token(testKey), "acct_demo/testmode/"},
		{liveKey, f.token(liveKey), "acct_demo/livemode/"},
		{otherKey, f.token(otherKey), "acct_other/testmode/"},
		{thirdKey, f.token(thirdKey), "acct_third/testmode/"},
	}
	for i := range meters {
		for _, owner := range owners {
			f.control.meter(t, strings.SplitN(owner.prefix, "/", 2)[0], owner.secret == liveKey, control.NewMeter{EventName: fmt.Sprintf("meter_%d", i)})
		}
	}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			random := rand.New(rand.NewPCG(seed, uint64(w)))
			for i := range requestsEach {
				owner := owners[random.IntN(len(owners))]
				event := func() string {
					name := fmt.Sprintf("meter_%d", random.IntN(meters))
					return fmt.Sprintf(`{"event_name":"%s","identifier":"%s%s","payload":{"stripe_customer_id":"cus_1","value":"1"}}`, name, owner.prefix, name)
				}
				var c call
				switch i % 3 {
				case 0:
					events := make([]string, batch)
					for j := range events {
						events[j] = event()
					}
					c = call{path: streamPath, key: owner.token, body: `{"events":[` + strings.Join(events, ",") + `]}`}
				case 1:
					c = call{path: eventsPath, key: owner.secret, body: event()}
				case 2:
					name := fmt.Sprintf("meter_%d", random.IntN(meters))
					c = call{path: adjustmentsPath, key: owner.secret, body: fmt.Sprintf(`{"event_name":"%s","type":"cancel","cancel":{"identifier":"%s%s"}}`, name, owner.prefix, name)}
				}
				if a, err := f.try(c); err != nil || a.status != 200 {
					t.Errorf("%s: %+v %v", c.path, a, err)
				}
			}
		})
	}
	wg.Wait()
	records := f.records()
	if want := workers * requestsEach / 3 * (batch + 2); len(records) != want {
		t.Errorf("%d records of %d", len(records), want)
	}
	for _, r := range records {
		var v struct {
			Business   string
			Livemode   bool
			EventName  string `json:"event_name"`
			Identifier string
			Cancel     struct{ Identifier string }
		}
		if err := json.Unmarshal(r.Value, &v); err != nil {
			t.Fatal(err)
		}
		key := string(meterevent.AppendKey(nil, v.Business, v.Livemode, []byte(v.EventName)))
		if string(r.Key) != key || v.Identifier+v.Cancel.Identifier != key {
			t.Errorf("under %s: %s", r.Key, r.Value)
		}
		if want := commitlog.PartitionFor(r.Key, f.log.partitions); r.partition != want {
			t.Errorf("%s is in partition %d and not in %d", r.Key, r.partition, want)
		}
	}
}

package topics

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"tollgate/bench/internal/logs"
)

func TestATopicIsMadeAndRemovedWithItsPrefix(t *testing.T) {
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1))
	if err != nil {
		t.Fatal(err)
	}
	defer cluster.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	brokers := cluster.ListenAddrs()
	for _, name := range []string{"a-1", "a-2", "b-1"} {
		if err := Make(ctx, brokers, name, 12); err != nil {
			t.Fatal(err)
		}
	}
	if stats, err := logs.Kafka(ctx, brokers, "a-1", func([]byte) {}); err != nil || stats.Partitions != 12 {
		t.Errorf("%+v, %v", stats, err)
	}
	if err := Remove(ctx, brokers, "a-"); err != nil {
		t.Fatal(err)
	}
	if err := Remove(ctx, brokers, "a-"); err != nil {
		t.Errorf("nothing is left to remove: %v", err)
	}
	err = with(brokers, func(c *kgo.Client) error {
		all, err := list(ctx, c)
		for _, topic := range all {
			if *topic.Topic != "b-1" {
				t.Errorf("%s is still there", *topic.Topic)
			}
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

func TestABrokerThatIsAwayIsWaitedForUntilTheContextEnds(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
	defer cancel()
	if err := Make(ctx, []string{"127.0.0.1:1"}, "a", 1); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
}

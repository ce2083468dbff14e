// Package topics makes and removes the topics that programs write to while they are measured, so that each begins with
// an empty one and a broker's disk does not grow with their number.
//
// Requests are franz-go's. Functions may be called at once for different names. A broker that is away is waited for,
// until the context ends.
//
//	err := topics.Make(ctx, brokers, "usage", 12)
//	err = topics.Remove(ctx, brokers, "usage")
package topics

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

const (
	timeoutMillis = 10_000 // of one request, at the broker
	pause         = 200 * time.Millisecond
)

// Make makes a topic with one replica, and returns when all of its partitions have a leader.
func Make(ctx context.Context, brokers []string, name string, partitions int) error {
	return with(brokers, func(client *kgo.Client) error {
		t := kmsg.NewCreateTopicsRequestTopic()
		t.Topic, t.NumPartitions, t.ReplicationFactor = name, int32(partitions), 1
		q := kmsg.NewPtrCreateTopicsRequest()
		q.TimeoutMillis, q.Topics = timeoutMillis, append(q.Topics, t)
		err := insist(ctx, func() error {
			a, err := q.RequestWith(ctx, client)
			if err != nil {
				return err
			}
			if len(a.Topics) != 1 {
				return errors.New("an answer for other topics than asked for")
			}
			return kerr.ErrorForCode(a.Topics[0].ErrorCode)
		})
		if err != nil {
			return fmt.Errorf("make topic %s: %w", name, err)
		}
		return insist(ctx, func() error { return led(ctx, client, name, partitions) })
	})
}

// led fails while a partition has no leader, or has one that does not know it yet: a broker says who leads before it
// has begun to.
func led(ctx context.Context, client *kgo.Client, name string, partitions int) error {
	all, err := list(ctx, client)
	if err != nil {
		return err
	}
	for _, t := range all {
		if t.Topic == nil || *t.Topic != name {
			continue
		}
		for _, p := range t.Partitions {
			if err := kerr.ErrorForCode(p.ErrorCode); err != nil {
				return err
			}
			if err := leads(ctx, client, name, p); err != nil {
				return err
			}
		}
		if len(t.Partitions) == partitions {
			return nil
		}
	}
	return kerr.LeaderNotAvailable
}

// leads asks a partition's leader where it ends, which only a leader says.
func leads(ctx context.Context, client *kgo.Client, topic string, partition kmsg.MetadataResponseTopicPartition) error {
	const latest = -1
	p := kmsg.NewListOffsetsRequestTopicPartition()
	p.Partition, p.Timestamp = partition.Partition, latest
	t := kmsg.NewListOffsetsRequestTopic()
	t.Topic, t.Partitions = topic, append(t.Partitions, p)
	q := kmsg.NewPtrListOffsetsRequest()
	q.Topics = append(q.Topics, t)
	a, err := q.RequestWith(ctx, client.Broker(int(partition.Leader)))
	if err != nil {
		return err
	}
	if len(a.Topics) != 1 || len(a.Topics[0].Partitions) != 1 {
		return errors.New("an answer for other partitions than asked for")
	}
	return kerr.ErrorForCode(a.Topics[0].Partitions[0].ErrorCode)
}

// Remove removes every topic whose name begins with prefix.
func Remove(ctx context.Context, brokers []string, prefix string) error {
	return with(brokers, func(client *kgo.Client) error {
		return insist(ctx, func() error {
			all, err := list(ctx, client)
			if err != nil {
				return err
			}
			q := kmsg.NewPtrDeleteTopicsRequest()
			q.TimeoutMillis = timeoutMillis
			for _, t := range all {
				if t.Topic != nil && strings.HasPrefix(*t.Topic, prefix) {
					q.TopicNames = append(q.TopicNames, *t.Topic)
					one := kmsg.NewDeleteTopicsRequestTopic()
					one.Topic = t.Topic
					q.Topics = append(q.Topics, one)
				}
			}
			if len(q.Topics) == 0 {
				return nil
			}
			a, err := q.RequestWith(ctx, client)
			if err != nil {
				return err
			}
			for _, t := range a.Topics {
				if err := kerr.ErrorForCode(t.ErrorCode); err != nil && !errors.Is(err, kerr.UnknownTopicOrPartition) {
					return fmt.Errorf("remove topics %s*: %w", prefix, err)
				}
			}
			return nil
		})
	})
}

func list(ctx context.Context, client *kgo.Client) ([]kmsg.MetadataResponseTopic, error) {
	q := kmsg.NewPtrMetadataRequest()
	q.Topics = nil // all
	a, err := q.RequestWith(ctx, client)
	if err != nil {
		return nil, err
	}
	return a.Topics, nil
}

func with(brokers []string, f func(*kgo.Client) error) error {
	client, err := kgo.NewClient(kgo.SeedBrokers(brokers...), kgo.ClientID("tollgate-bench"))
	if err != nil {
		return err
	}
	defer client.Close()
	return f(client)
}

// insist repeats what a broker could not do now, or could not be asked. That a topic is there already is what a request
// finds that was made once more.
func insist(ctx context.Context, f func() error) error {
	for {
		err := f()
		var answered *kerr.Error
		switch {
		case err == nil, errors.Is(err, kerr.TopicAlreadyExists):
			return nil
		case errors.As(err, &answered) && !kerr.IsRetriable(err):
			return err
		}
		select {
		case <-ctx.Done():
			return errors.Join(ctx.Err(), err)
		case <-time.After(pause):
		}
	}
}

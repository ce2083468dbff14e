// Command naive is the gateway that one writes in an afternoon: net/http, encoding/json, and a kafka-go Writer, whose
// WriteMessages is called by each request and waited for. Its one decision is to take each library as its documentation
// shows it. The one setting away from a default that is for speed is batchWait: kafka-go's own is a second, and every
// request would take that long.
//
// What a 200 means: every event of the request was acknowledged by all in-sync replicas. After a 503 some may be in the
// log nevertheless, and kafka-go's own retries are not idempotent: both can double events.
//
//	PEER_LISTEN=127.0.0.1:8080 PEER_KAFKA=127.0.0.1:19092 PEER_TOPIC=usage PEER_KEY=sk_test_1 PEER_BUSINESS=acct_1 naive
package main

import (
	"context"
	"errors"
	"log"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/segmentio/kafka-go"
)

const (
	batchWait = 10 * time.Millisecond
	startMax  = 30 * time.Second
	drainMax  = 3 * time.Second
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx); err != nil {
		log.Fatal("naive: ", err)
	}
}

func run(ctx context.Context) error {
	brokers, topic := os.Getenv("PEER_KAFKA"), os.Getenv("PEER_TOPIC")
	if err := findTopic(ctx, brokers, topic); err != nil {
		return err
	}
	writer := &kafka.Writer{
		Addr:         kafka.TCP(brokers),
		Topic:        topic,
		Balancer:     kafka.Murmur2Balancer{},
		RequiredAcks: kafka.RequireAll,
		BatchTimeout: batchWait,
	}
	defer writer.Close()

	s := newServer(os.Getenv("PEER_KEY"), os.Getenv("PEER_BUSINESS"), writer)
	server := &http.Server{Addr: os.Getenv("PEER_LISTEN"), Handler: s.routes(), ReadHeaderTimeout: 10 * time.Second}
	failed := make(chan error, 1)
	go func() { failed <- server.ListenAndServe() }()
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	drain, cancel := context.WithTimeout(context.Background(), drainMax)
	defer cancel()
	return server.Shutdown(drain)
}

// findTopic waits until the topic is there, so that nobody is served before.
func findTopic(ctx context.Context, broker, topic string) error {
	ctx, cancel := context.WithTimeout(ctx, startMax)
	defer cancel()
	for {
		partitions, err := kafka.DefaultDialer.LookupPartitions(ctx, "tcp", broker, topic)
		if err == nil && len(partitions) == 0 {
			err = errors.New("topic " + topic + " has no partitions")
		}
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(100 * time.Millisecond):
		}
	}
}

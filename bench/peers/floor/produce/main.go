// Command produce is the least that it costs to hand records to Kafka: record batches are encoded once and then sent
// again and again, as idempotent Produce requests with acks=all. Its one decision is that nothing is done for a record:
// between two sends only sequence numbers and CRCs of the batches change.
//
// Every partition that the keys of 8 meters lead to has one batch of about PEER_BATCH_BYTES. One connection sends all of
// them in one request, and the next when it is answered: a batch in flight a partition. All these partitions have to be
// led by the broker that is named. A topic gets 300 to 700 MB a second: it wants a limit to what it keeps.
//
// With the argument kafka-go that library sends the same batches, by its call for batches that are encoded, with all that it does
// around them. It is no lower bound, since who writes the requests too, as the gateway does, can be below it; it is what the
// same work costs by the means at hand.
//
//	PEER_KAFKA=127.0.0.1:19092 PEER_TOPIC=usage PEER_SECONDS=10 PEER_BATCH_BYTES=262144 produce [kafka-go]
package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"maps"
	"net"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/segmentio/kafka-go"

	"tollgate/bench/peers/floor/internal/report"
)

const (
	meters     = 8
	prepareMax = 30 * time.Second
	answerMax  = 30 * time.Second

	byLibrary = "kafka-go"
)

func main() {
	if err := run(); err != nil {
		log.Fatal("floor/produce: ", err)
	}
}

func run() error {
	client := strings.Join(os.Args[1:], " ")
	if client != "" && client != byLibrary {
		return fmt.Errorf("there is no client %q: give %s, or nothing for the leanest", client, byLibrary)
	}
	settings, err := report.Read()
	if err != nil {
		return err
	}
	if client == byLibrary && settings.Rate > 0 {
		return errors.New("PEER_RATE is for the leanest alone")
	}
	broker, topic := os.Getenv("PEER_KAFKA"), os.Getenv("PEER_TOPIC")
	batches, err := prepare(broker, topic, settings.BatchBytes)
	if err != nil {
		return err
	}
	if client == byLibrary {
		library := newLibrary(broker, topic, batches)
		meter := report.Begin()
		records, bytes, err := library.sendFor(settings.For)
		if err != nil {
			return err
		}
		return meter.Print(os.Stdout, report.Line{Records: records, Bytes: bytes})
	}
	conn, err := net.Dial("tcp", broker)
	if err != nil {
		return err
	}
	defer conn.Close()
	sender := newSender(conn, topic, batches)
	meter := report.Begin()
	if err := sender.sendFor(settings.For, settings.Rate); err != nil {
		return err
	}
	return meter.Print(os.Stdout, report.Line{Records: sender.records, Bytes: sender.bytes})
}

// prepare encodes a batch for each partition that a meter's key leads to, in order of partitions.
func prepare(broker, topic string, batchBytes int) ([]*batch, error) {
	ctx, cancel := context.WithTimeout(context.Background(), prepareMax)
	defer cancel()
	client := &kafka.Client{Addr: kafka.TCP(broker)}
	list, err := client.Metadata(ctx, &kafka.MetadataRequest{Topics: []string{topic}})
	if err != nil {
		return nil, err
	}
	if err := list.Topics[0].Error; err != nil {
		return nil, fmt.Errorf("topic %s: %w", topic, err)
	}
	var partitions []int
	for _, p := range list.Topics[0].Partitions {
		partitions = append(partitions, p.ID)
	}
	slices.Sort(partitions)

	begun, err := client.InitProducerID(ctx, &kafka.InitProducerIDRequest{})
	if err == nil {
		err = begun.Error
	}
	if err != nil {
		return nil, fmt.Errorf("producer id: %w", err)
	}
	keys := make(map[int][]string) // by partition
	for m := range meters {
		key := fmt.Sprintf("%s/testmode/%s", business, meterName(m))
		p := kafka.Murmur2Balancer{}.Balance(kafka.Message{Key: []byte(key)}, partitions...)
		keys[p] = append(keys[p], meterName(m))
	}
	var batches []*batch
	for _, p := range slices.Sorted(maps.Keys(keys)) {
		b, err := newBatch(int32(p), keys[p], batchBytes, *begun.Producer, time.Now())
		if err != nil {
			return nil, err
		}
		batches = append(batches, b)
	}
	return batches, nil
}

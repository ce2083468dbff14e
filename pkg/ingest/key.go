package ingest

import (
	"encoding/binary"

	"tollgate/pkg/commitlog"
)

// Key is a record's key as frames hold it, with its partition: what the events of one meter have in common, computed
// once and kept by the caller from request to request. The zero value becomes one by Set. It is one goroutine's at a
// time.
type Key struct {
	topic *topic // whose partition is in head; nil: nobody's yet
	keyAt int    // where in head the key itself begins
	head  []byte // what Begin appends: partition, room for the body's length, key length, key, room for the value's length
}

// Set makes it the key of this text, which is copied.
func (k *Key) Set(key []byte) {
	k.topic = nil
	k.head = append(k.head[:0], make([]byte, recordHeaderBytes)...)
	k.head = binary.AppendVarint(k.head, int64(len(key)))
	k.keyAt = len(k.head)
	k.head = append(k.head, key...)
	k.head = append(k.head, make([]byte, valueVarintBytes)...)
}

// settle finds the partition that Kafka's default partitioner gives the key.
func (k *Key) settle(t *topic) {
	k.topic = t
	key := k.head[k.keyAt : len(k.head)-valueVarintBytes]
	binary.LittleEndian.PutUint32(k.head, uint32(commitlog.PartitionFor(key, t.partitions)))
}

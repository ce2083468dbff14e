package commitlog

// PartitionFor is the partition that Kafka's default partitioner gives a record with this key: 32-bit murmur2 of
// the key, sign bit cleared, modulo the number of partitions (org.apache.kafka.common.utils.Utils.murmur2 and
// BuiltInPartitioner.partitionForKey). Any Kafka client that looks for a meter's key looks where we put it.
func PartitionFor(key []byte, partitions int) int32 {
	return int32(murmur2(key)&0x7fffffff) % int32(partitions)
}

// murmur2 is Austin Appleby's MurmurHash2, 32 bit, with the seed that Kafka's Java client uses.
func murmur2(data []byte) uint32 {
	const (
		seed = 0x9747b28c
		m    = 0x5bd1e995
		r    = 24
	)
	h := uint32(seed) ^ uint32(len(data))
	for ; len(data) >= 4; data = data[4:] {
		k := uint32(data[0]) | uint32(data[1])<<8 | uint32(data[2])<<16 | uint32(data[3])<<24
		k *= m
		k ^= k >> r
		k *= m
		h *= m
		h ^= k
	}
	switch len(data) {
	case 3:
		h ^= uint32(data[2]) << 16
		fallthrough
	case 2:
		h ^= uint32(data[1]) << 8
		fallthrough
	case 1:
		h ^= uint32(data[0])
		h *= m
	}
	h ^= h >> 13
	h *= m
	h ^= h >> 15
	return h
}

package ingest

import "tollgate/pkg/commitlog"

// Bucket is which of n keys takes what belongs to member, when one key's records are spread over n: the partition that
// Kafka's default partitioner would give it among n. What belongs to nobody is all in the first.
func Bucket(member []byte, n int) int {
	if len(member) == 0 {
		return 0
	}
	return int(commitlog.PartitionFor(member, n))
}

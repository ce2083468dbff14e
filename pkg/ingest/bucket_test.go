package ingest

import "testing"

// The expected hashes are those of Kafka's own UtilsTest.testMurmur2, so that whoever reads a spread meter can compute
// where a customer's events are.
func TestABucketIsKafkasHashOfTheMember(t *testing.T) {
	for member, hash := range map[string]int32{"21": -973932308, "foobar": -790332482, "abc": 479470107} {
		for _, n := range []int{1, 2, 4, 256} {
			if got, want := Bucket([]byte(member), n), int(hash&0x7fffffff)%n; got != want {
				t.Errorf("Bucket(%q, %d) = %d, want %d", member, n, got, want)
			}
		}
	}
	if got := Bucket(nil, 256); got != 0 {
		t.Errorf("what belongs to nobody is in bucket %d", got)
	}
}

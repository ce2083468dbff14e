package logs

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"tollgate/bench/internal/records"
	"tollgate/bench/internal/records/recordstest"
)

// collect returns a visit and what it was called with, sorted.
func collect() (visit func([]byte), all func() string) {
	var mu sync.Mutex
	var seen []string
	return func(v []byte) {
			mu.Lock()
			defer mu.Unlock()
			seen = append(seen, string(v))
		}, func() string {
			slices.Sort(seen)
			return strings.Join(seen, " ")
		}
}

// journal writes files, by their names below a data dir, and reads them as a journal.
func journal(t *testing.T, files map[string][]byte) (string, Stats, error) {
	t.Helper()
	dir := t.TempDir()
	for name, b := range files {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	visit, all := collect()
	stats, err := Journal(context.Background(), dir, "usage", visit)
	return all(), stats, err
}

func batch(base int64, values ...string) []byte {
	return recordstest.Batch(base, recordstest.None, values...)
}

func TestAJournalIsReadOverPartitionsAndSegments(t *testing.T) {
	got, stats, err := journal(t, map[string][]byte{
		"journal/usage-0/00000000000000000000.log": slices.Concat(batch(0, "a", "b"), recordstest.Batch(2, recordstest.Zstd, "c")),
		"journal/usage-0/00000000000000000003.log": recordstest.Batch(3, recordstest.LZ4, "d", "e"),
		"journal/usage-0/checkpoint":               []byte("not a segment"),
		"journal/usage-1/00000000000000000007.log": batch(7, "f"), // retention has removed what was before
		"journal/other-0/00000000000000000000.log": batch(0, "of another topic"),
	})
	if err != nil || got != "a b c d e f" || stats.Records != 6 || stats.Partitions != 2 || len(stats.Torn) != 0 {
		t.Errorf("%s, %+v, %v", got, stats, err)
	}
}

func TestABatchLargerThanAChunkIsRead(t *testing.T) {
	large := strings.Repeat("x", chunkBytes)
	got, _, err := journal(t, map[string][]byte{
		"usage-0/00000000000000000000.log": slices.Concat(batch(0, "a"), batch(1, large, large), batch(3, "z")),
	})
	if err != nil || got != "a "+large+" "+large+" z" {
		t.Errorf("%d bytes, %v", len(got), err)
	}
}

func TestATornTailIsToldAndWhatIsBeforeItCounts(t *testing.T) {
	b := slices.Concat(batch(0, "a"), batch(1, "b"))
	got, stats, err := journal(t, map[string][]byte{"usage-0/00000000000000000000.log": b[:len(b)-3]})
	if err != nil || got != "a" || len(stats.Torn) != 1 {
		t.Errorf("%s, %+v, %v", got, stats, err)
	}
}

func TestWhatAFileThatWasGivenUpHoldsBehindTheNextOneDoesNotCount(t *testing.T) {
	got, _, err := journal(t, map[string][]byte{
		"usage-0/00000000000000000000.log": slices.Concat(batch(0, "a"), batch(1, "b"), []byte("torn")),
		"usage-0/00000000000000000001.log": batch(1, "b", "c"),
	})
	if err != nil || got != "a b c" {
		t.Errorf("%s, %v", got, err)
	}
}

func TestDamageAndGapsAreErrors(t *testing.T) {
	rotten := slices.Concat(batch(0, "a"), batch(1, "b"))
	rotten[len(rotten)-4] ^= 1
	for name, files := range map[string]map[string][]byte{
		"rot before the last segment": {
			"usage-0/00000000000000000000.log": rotten, "usage-0/00000000000000000002.log": batch(2, "c"),
		},
		"a lost segment": {
			"usage-0/00000000000000000000.log": batch(0, "a"), "usage-0/00000000000000000002.log": batch(2, "c"),
		},
	} {
		if got, _, err := journal(t, files); err == nil {
			t.Errorf("%s was read as %s", name, got)
		}
	}
	if _, _, err := journal(t, nil); err == nil {
		t.Error("a directory without the topic was read")
	}
	_, stats, err := journal(t, map[string][]byte{"usage-0/00000000000000000000.log": slices.Concat(batch(0, "a"), batch(5, "b"))})
	if err != nil || len(stats.Torn) != 1 || !strings.Contains(stats.Torn[0], records.ErrCorrupt.Error()) {
		t.Errorf("a gap within the last segment: %+v, %v", stats, err)
	}
}

func TestATopicIsReadToItsEnds(t *testing.T) {
	cluster, err := kfake.NewCluster(kfake.NumBrokers(3), kfake.SeedTopics(4, "usage"))
	if err != nil {
		t.Fatal(err)
	}
	defer cluster.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	client, err := kgo.NewClient(kgo.SeedBrokers(cluster.ListenAddrs()...), kgo.DefaultProduceTopic("usage"),
		kgo.RecordPartitioner(kgo.RoundRobinPartitioner()), kgo.ProducerBatchCompression(kgo.Lz4Compression()))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	var want []string
	for i := range 3000 {
		v := fmt.Sprintf("%04d-%s", i, strings.Repeat("x", 50))
		want = append(want, v)
		client.Produce(ctx, kgo.StringRecord(v), nil)
	}
	if err := client.Flush(ctx); err != nil {
		t.Fatal(err)
	}
	visit, all := collect()
	stats, err := Kafka(ctx, cluster.ListenAddrs(), "usage", visit)
	if err != nil || all() != strings.Join(want, " ") || stats.Records != 3000 || stats.Partitions != 4 {
		t.Errorf("%+v, %v", stats, err)
	}
}

func TestABrokerThatIsAwayIsWaitedForAndThenAnError(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
	defer cancel()
	if _, err := Kafka(ctx, []string{"127.0.0.1:1"}, "usage", func([]byte) {}); !errors.Is(err, errAgain) {
		t.Errorf("%v", err)
	}
}

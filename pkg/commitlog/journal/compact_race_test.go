package journal

import (
	"context"
	"fmt"
	"maps"
	"sync"
	"testing"
	"time"

	"tollgate/pkg/commitlog"
)

// Writers, readers that follow from the start, and compaction all the time, on real files.
func TestReadersBesideCompactionFoldToWhatWasWritten(t *testing.T) {
	const batches, keys = 1500, 20
	j, err := open(Config{
		Dir: t.TempDir() + "/journal", ReserveBytes: 1,
		Topics: []TopicConfig{{Name: topic, Partitions: 1, Compact: true, SegmentBytes: 4000}},
	})
	if err != nil {
		t.Fatal(err)
	}
	close(j.janitor) // the test is the janitor
	go j.run()
	t.Cleanup(func() { j.Close(context.Background()) })

	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	want := map[string]string{}
	written := make(chan struct{})
	go func() {
		defer close(written)
		for i := range batches {
			key := fmt.Sprint("key", i*7%keys)
			value := fmt.Sprint(i)
			b := keyed(time.Now(), put(key, value))
			if err := commitlog.AppendWait(ctx, j, b); err != nil {
				t.Error(err)
				return
			}
			want[key] = value
		}
	}()
	var readers sync.WaitGroup
	states := make([]map[string]string, 3)
	for i := range states {
		states[i] = map[string]string{}
		readers.Go(func() {
			time.Sleep(time.Duration(i) * 50 * time.Millisecond)
			r, err := j.NewReader(topic, 0, 0)
			if err != nil {
				t.Error(err)
				return
			}
			defer r.Close()
			for last := int64(-1); last < batches-1; {
				records, err := r.Next(ctx)
				if err != nil {
					t.Errorf("after offset %d: %v", last, err)
					return
				}
				for _, record := range records {
					if record.Offset <= last {
						t.Errorf("offset %d after %d", record.Offset, last)
					}
					last = record.Offset
					states[i][string(record.Key)] = string(record.Value)
				}
			}
		})
	}
	for done := false; !done; {
		select {
		case <-written:
			done = true
		default:
		}
		j.compact(j.partitions[0])
	}
	readers.Wait()
	for i, state := range states {
		if !maps.Equal(state, want) {
			t.Errorf("reader %d ends with %v, want %v", i, state, want)
		}
	}
	if j.metrics.compacted.Value() == 0 {
		t.Error("nothing was compacted: the test does not test that")
	}
}

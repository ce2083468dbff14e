package journal

import (
	"context"
	"fmt"
	"testing"
	"time"

	"tollgate/internal/vfs"
	"tollgate/pkg/commitlog"
	"tollgate/pkg/recordbatch"
)

const topic = "tollgate.usage"

// batch makes a batch with these values.
func batch(partition int32, values ...string) *commitlog.Batch {
	var b recordbatch.Builder
	b.Reset(nil)
	for i, v := range values {
		b.Append(1000+int64(i), recordbatch.AppendBody(nil, []byte("key"), []byte(v)))
	}
	n := b.Records()
	return &commitlog.Batch{Topic: topic, Partition: partition, Bytes: b.Seal(), Records: n}
}

// readAll returns the values of a partition from offset on, and checks that the offsets are dense.
func readAll(t testing.TB, j *Journal, partition int32, offset int64) (values []string) {
	t.Helper()
	_, next, err := j.Bounds(t.Context(), topic, partition)
	if err != nil {
		t.Fatal(err)
	}
	r, err := j.NewReader(topic, partition, offset)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	}()
	for offset < next {
		records, err := r.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, record := range records {
			if record.Offset != offset {
				t.Fatalf("offset %d after %d", record.Offset, offset-1)
			}
			values = append(values, string(record.Value))
			offset++
		}
	}
	return values
}

func config(fs vfs.FS, dir string) Config {
	return Config{Dir: dir, FS: fs, Topics: []TopicConfig{{Name: topic, Partitions: 2}}, SegmentBytes: 1 << 20, ReserveBytes: 1}
}

func mustOpen(t testing.TB, cfg Config) *Journal {
	t.Helper()
	j, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return j
}

func mustClose(t testing.TB, j *Journal) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := j.Close(ctx); err != nil {
		t.Fatal(err)
	}
}

func TestWhatWasAppendedIsReadBackAfterReopening(t *testing.T) {
	for name, fs := range map[string]vfs.FS{"disk": vfs.OS, "memory": vfs.NewMem(1)} {
		t.Run(name, func(t *testing.T) {
			dir := "journal"
			if name == "disk" {
				dir = t.TempDir()
			}
			var want []string
			for round := range 3 {
				j := mustOpen(t, config(fs, dir))
				for i := range 10 {
					values := []string{fmt.Sprintf("%d/%d/a", round, i), fmt.Sprintf("%d/%d/b", round, i)}
					b := batch(1, values...)
					if err := commitlog.AppendWait(t.Context(), j, b); err != nil {
						t.Fatal(err)
					}
					if b.Base != int64(len(want)) {
						t.Fatalf("base %d, want %d", b.Base, len(want))
					}
					want = append(want, values...)
				}
				if got := readAll(t, j, 1, 0); fmt.Sprint(got) != fmt.Sprint(want) {
					t.Fatalf("read %v, want %v", got, want)
				}
				mustClose(t, j)
			}
		})
	}
}

package journal

import (
	"fmt"
	"strings"
	"testing"

	"tollgate/internal/vfs"
	kafkatest "tollgate/test/kafka"
)

func TestKafkasToolReadsACompactedSegment(t *testing.T) {
	b := newBench(t, func(c *Config) {
		c.FS, c.Dir = vfs.OS, t.TempDir()+"/journal"
		c.Topics[0].Compact, c.Topics[0].SegmentBytes = true, 1500
	})
	t.Cleanup(b.j.abandon)
	for i := range 30 {
		b.put(put("a", fmt.Sprint(i)), put(fmt.Sprint("b", i%5), filler), gone("c"))
	}
	b.put(put("d", strings.Repeat("x", 1400)))
	b.compact()
	var files []string
	for _, s := range b.j.partitions[0].segments {
		files = append(files, s.path)
	}
	out := kafkatest.Tool(t, "dump", "--print-data-log", "--files", strings.Join(files, ","))
	for _, want := range []string{"isvalid: true", "count: 0", "baseOffset: 0"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in what Kafka's tool says:\n%s", want, out)
		}
	}
	if len(files) < 3 || strings.Contains(out, "isvalid: false") || strings.Count(out, "Log starting offset: ") != len(files) {
		t.Errorf("Kafka's tool does not read %d segments:\n%s", len(files), out)
	}
}

package journal

import (
	"errors"
	"strings"
	"testing"
	"time"

	"tollgate/internal/vfs"
	"tollgate/pkg/commitlog"
)

func TestFewerPartitionsThanOnDiskAreRefusedWithWords(t *testing.T) {
	b := newBench(t, func(c *Config) { c.Topics[0].Partitions = 3 })
	b.j.abandon()
	b.cfg.Topics[0].Partitions = 2
	_, err := open(b.cfg)
	if err == nil || !strings.Contains(err.Error(), "at least 3") {
		t.Fatalf("open: %v", err)
	}
}

func TestATopicThatIsNotConfiguredIsLeftAloneAndReported(t *testing.T) {
	b := newBench(t, nil)
	b.want(b.append("a"), nil)
	b.j.abandon()
	b.cfg.Topics = []TopicConfig{{Name: "other", Partitions: 1}}
	b.reopen()
	b.wantTold(UnknownTopic)
	b.j.abandon()
	b.cfg.Topics = []TopicConfig{{Name: topic, Partitions: 1}}
	b.reopen()
	b.wantValues("a")
}

func TestBadConfigurationsAreRefusedWithWords(t *testing.T) {
	for want, change := range map[string]func(*Config){
		"no directory":       func(c *Config) { c.Dir = "" },
		"a segment of 10":    func(c *Config) { c.SegmentBytes = 10 },
		"batches of 2097152": func(c *Config) { c.BatchBytesMax = 2 << 20 },
		"configured twice":   func(c *Config) { c.Topics = append(c.Topics, c.Topics[0]) },
		`topic name "../x"`:  func(c *Config) { c.Topics[0].Name = "../x" },
		"has 0 partitions":   func(c *Config) { c.Topics[0].Partitions = 0 },
		"a reserve of -1":    func(c *Config) { c.ReserveBytes = -1 },
		"2 bytes cached":     func(c *Config) { c.CachedBytes = 2 },
		"keeps -1s":          func(c *Config) { c.Topics[0].RetentionAge = -time.Second },
	} {
		cfg := Config{Dir: "journal", FS: vfs.NewMem(1), Topics: []TopicConfig{{Name: topic, Partitions: 1}}, SegmentBytes: 1 << 20}
		change(&cfg)
		if _, err := open(cfg); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("open: %v, want %q", err, want)
		}
	}
}

func TestABatchThatIsNotOneIsRefused(t *testing.T) {
	b := newBench(t, func(c *Config) { c.BatchBytesMax = 200 })
	for name, change := range map[string]func(*commitlog.Batch){
		"too large":       func(c *commitlog.Batch) { *c = *batch(0, strings.Repeat("x", 200)) },
		"cut":             func(c *commitlog.Batch) { c.Bytes = c.Bytes[:len(c.Bytes)-1] },
		"two of them":     func(c *commitlog.Batch) { c.Bytes = append(c.Bytes, c.Bytes...) },
		"wrong count":     func(c *commitlog.Batch) { c.Records++ },
		"no such topic":   func(c *commitlog.Batch) { c.Topic = "other" },
		"partition -1":    func(c *commitlog.Batch) { c.Partition = -1 },
		"nothing":         func(c *commitlog.Batch) { c.Bytes = nil },
		"partition three": func(c *commitlog.Batch) { c.Partition = 3 },
	} {
		one := batch(0, "x")
		change(one)
		one.Done = func(*commitlog.Batch) {}
		b.j.Append([]*commitlog.Batch{one})
		b.j.step()
		if !errors.Is(one.Err, commitlog.ErrRefused) {
			t.Errorf("%s: %v", name, one.Err)
		}
	}
	b.wantValues()
}

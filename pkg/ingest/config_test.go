package ingest

import (
	"strings"
	"testing"
	"time"
)

func TestBoundsThatDoNotFitTogetherAreRefused(t *testing.T) {
	for want, change := range map[string]func(*Config){
		"":                         func(*Config) {},
		"Log and Topic":            func(c *Config) { c.Log = nil },
		"RingBytes is 5000000":     func(c *Config) { c.RingBytes = 5_000_000 },
		"RingBytes is -1":          func(c *Config) { c.RingBytes = -1 },
		"Rings is 1000":            func(c *Config) { c.Rings = 1000 },
		"SpareBytes 5000000":       func(c *Config) { c.SpareBytes = 5_000_000 },
		"SpareBytes is 524288":     func(c *Config) { c.SpareBytes = 512 << 10 },    // less than a ring
		"FrameBytesMax is 8388609": func(c *Config) { c.FrameBytesMax = 8<<20 + 1 }, // a ring takes frames of half its size
		"FrameBytesMax is 1572864": func(c *Config) { c.SpareBytes = 2 << 20 },      // the default frame, a spare of 2 MiB
		"Tickets is -1":            func(c *Config) { c.Tickets = -1 },
		"BatchRecordsMax is -5":    func(c *Config) { c.BatchRecordsMax = -5 },
		"PartitionBacklogBytesMax": func(c *Config) { c.PartitionBacklogBytesMax = 1 << 20 },
		"\ningest: BacklogBytesMax is": func(c *Config) {
			c.BacklogBytesMax, c.Tickets = 1<<20, ticketsMax+1
		},
		"WaitMax":  func(c *Config) { c.WaitMax = time.Millisecond },
		"PauseMin": func(c *Config) { c.PauseMin = -1 },
	} {
		c := Config{Log: discard{partitions: 1}, Topic: "usage"}
		change(&c)
		err := c.withDefaults().validate()
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("want an error with %q, got: %v", want, err)
		}
	}
}

package journal_test

import (
	"testing"
	"time"

	"tollgate/pkg/commitlog"
	"tollgate/pkg/commitlog/journal"
	"tollgate/pkg/commitlog/logtest"
)

func TestConformance(t *testing.T) {
	logtest.Run(t, func(t *testing.T) logtest.Opened {
		const topic = "tollgate.usage"
		cfg := journal.Config{
			Dir:    t.TempDir(),
			Topics: []journal.TopicConfig{{Name: topic, Partitions: 3, RetentionAge: 24 * time.Hour}},
		}
		open := func() commitlog.Log {
			j, err := journal.Open(cfg)
			if err != nil {
				t.Fatal(err)
			}
			return j
		}
		return logtest.Opened{Log: open(), Topic: topic, Reopen: open}
	})
}

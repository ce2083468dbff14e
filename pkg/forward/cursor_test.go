package forward

import (
	"bufio"
	"bytes"
	"context"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// The schema of the topic is held against the same lines, by test/schema.
func TestCursorsHaveTheFormOfTheirSchema(t *testing.T) {
	golden, err := os.ReadFile("../../test/schema/testdata/cursors_valid.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for s := bufio.NewScanner(bytes.NewReader(golden)); s.Scan(); {
		if !bytes.Contains(s.Bytes(), []byte(`"object":"forward_cursor"`)) {
			continue
		}
		seen++
		keys := []string{"forward/acct_demo/testmode/3/0a1b", "forward/acct_demo/livemode/0/0a1b"}
		c, ours, err := parseCursor([]byte(keys[seen-1]), s.Bytes())
		if err != nil || !ours {
			t.Fatalf("%s: %v", s.Text(), err)
		}
		if got := c.encode(); !bytes.Equal(got, s.Bytes()) {
			t.Errorf("%s\ninstead of\n%s", got, s.Text())
		}
	}
	if seen != 2 {
		t.Errorf("%d golden lines", seen)
	}
}

func TestWhatIsNoCursorIsNotTaken(t *testing.T) {
	good := cursor{Object: cursorObject, Business: "acct_1", Partition: 1, Seq: 1, Writer: "w", Next: 3, End: 4, At: "2026-11-21T12:00:00.123Z"}
	for what, change := range map[string]func(*cursor){
		"another lane's": func(c *cursor) { c.Partition = 2 }, "an end before its beginning": func(c *cursor) { c.End = 2 },
		"another object": func(c *cursor) { c.Object = "x" }, "no time": func(c *cursor) { c.At = "" }, "nobody's": func(c *cursor) { c.Writer = "" },
	} {
		c := good
		change(&c)
		if _, ours, err := parseCursor([]byte(good.key()), c.encode()); err == nil || !ours {
			t.Errorf("%s was taken", what)
		}
	}
	if _, ours, _ := parseCursor([]byte("usage/1"), good.encode()); ours {
		t.Error("another room's key was taken")
	}
}

// A hundred lanes decide at once, on a broker whose batches are small.
func TestCursorsThatAreWrittenTogetherAreBatchesThatTheTopicTakes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newMemLog(1)
		log.batchBytesMax = 1_000
		cfg := Config{Log: log, CursorsTopic: cursorsTopic, Now: time.Now, Notify: func(Notice) {}}
		b, err := startBoard(&cfg, newCounts(nil).badCursors)
		if err != nil {
			t.Fatal(err)
		}
		var writers sync.WaitGroup
		for n := range int32(100) {
			writers.Go(func() {
				c := &cursor{Object: cursorObject, Business: "acct_a", Partition: n, Seq: 1, Writer: "w", Next: 1, End: 2, At: "2026-11-21T12:00:00.123Z"}
				if err := b.write(t.Context(), c); err != nil {
					t.Errorf("lane %d: %v", n, err)
				}
			})
		}
		writers.Wait()
		if n := len(b.all()); n != 100 {
			t.Errorf("%d lanes have a cursor", n)
		}
		if err := b.close(context.Background()); err != nil {
			t.Error(err)
		}
	})
}

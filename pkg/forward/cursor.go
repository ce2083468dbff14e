package forward

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"tollgate/pkg/stripe"
)

const (
	cursorPrefix = "forward/"
	cursorObject = "forward_cursor"
	timeForm     = stripe.TimeLayout
	// skipMax bounds what a range remembers of cancels. With more, both the event and its cancel are sent.
	skipMax = 1000
)

// cursor is how far a lane is: everything below next is at Stripe or set aside, and [next, end) may be on its way, the
// first of it as decided at at. It is the value of a record in the cursors topic, and immutable.
type cursor struct {
	Object    string `json:"object"`
	Business  string `json:"business"`
	Livemode  bool   `json:"livemode"`
	Partition int32  `json:"partition"`
	// Seq counts a lane's cursors, and Writer is one taking up of the lane by one gateway. See
	// follows.
	Seq    int64  `json:"seq"`
	Writer string `json:"writer"`
	Origin int64  `json:"origin"` // where the lane began: cancels of events before it are not sent
	Next   int64  `json:"next"`
	End    int64  `json:"end"`
	// Skip are the offsets of events that were cancelled before anything of them was sent, SkipCancels those of the
	// adjustments that did it, in this range or behind it.
	Skip        []int64 `json:"skip,omitempty"`
	SkipCancels []int64 `json:"skip_cancels,omitempty"`
	RollupMs    int64   `json:"rollup_ms,omitempty"`
	Gateway     string  `json:"gateway"`
	At          string  `json:"at"`

	tried []string // the writers of attempts at this cursor that may have come to something
}

// triedMax bounds them.
const triedMax = 20

func (c *cursor) lane() string { return laneKey(scope{c.Business, c.Livemode}, c.Partition) }

// key has the writer in it: compaction keeps the newest cursor of each, so that one that was not taken can not remove
// the one that was.
func (c *cursor) key() string { return c.lane() + "/" + c.Writer }

func laneKey(s scope, partition int32) string {
	return cursorPrefix + s.String() + "/" + strconv.Itoa(int(partition))
}

// with is a range together with the one behind it.
func (c *cursor) with(behind *cursor) cursor {
	both := *c
	both.End = behind.End
	both.Skip = slices.Concat(c.Skip, behind.Skip)
	both.SkipCancels = slices.Concat(c.SkipCancels, behind.SkipCancels)
	slices.Sort(both.SkipCancels)
	both.SkipCancels = slices.Compact(both.SkipCancels) // those that c has of the range behind it stand in both
	return both
}

// at is when the range was decided: nothing of it was tried before.
func (c *cursor) at() time.Time {
	at, err := time.Parse(timeForm, c.At)
	if err != nil {
		return time.Time{} // parse has refused it
	}
	return at
}

// is says whether a cursor that was taken is this one, or an earlier attempt at it. A writer makes one for each number.
func (c *cursor) is(taken *cursor) bool {
	return c.Seq == taken.Seq && (c.Writer == taken.Writer || slices.Contains(c.tried, taken.Writer))
}

// follows says whether a cursor replaces another: when its number is higher. Of two gateways that think they run a lane,
// the one whose cursor of a number is first in the topic decides a range, and the other finds out before it sends. It
// holds for what compaction has left, too: a higher number was only given by who had seen the lower one taken.
func (c *cursor) follows(before *cursor) bool { return before == nil || c.Seq > before.Seq }

func (c *cursor) encode() []byte {
	b, err := json.Marshal(c)
	if err != nil {
		panic(fmt.Sprintf("BUG: forward: a cursor that is no JSON: %v", err))
	}
	return b
}

var errCursor = errors.New("forward: it is no cursor")

// parseCursor reads a record of the cursors topic. ours is false for those of other rooms.
func parseCursor(key, value []byte) (c *cursor, ours bool, err error) {
	if !strings.HasPrefix(string(key), cursorPrefix) || value == nil {
		return nil, false, nil
	}
	c = new(cursor)
	if err := json.Unmarshal(value, c); err != nil {
		return nil, true, fmt.Errorf("%w: %s: %w", errCursor, key, err)
	}
	if _, err := time.Parse(timeForm, c.At); err != nil || c.Object != cursorObject || c.key() != string(key) || c.Writer == "" || c.Next < 0 || c.End < c.Next {
		return nil, true, fmt.Errorf("%w: %s", errCursor, key)
	}
	return c, true, nil
}

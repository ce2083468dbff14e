package commitlog

import (
	"context"
	"time"
)

// Group shares the partitions of one topic among all members that run a group of its name on the same log. Each
// partition belongs to one member at a time.
type Group interface {
	// Run joins and serves until ctx ends, and returns when every Own has. Faults of the log are retried inside; an
	// error says what makes it hopeless (no such topic, not allowed, the log is closed). Run is called once.
	Run(ctx context.Context, m Member) error
}

// Member is one process's part in a Group.
type Member struct {
	// Held tells of which partitions this member has state, and up to which offset. It is asked before each join:
	// a partition is given to who holds most of it, as far as the partitions stay evenly shared. It may be nil.
	Held func() map[int32]int64
	// Own runs one partition, in a goroutine of its own, until ctx ends, which says that the partition is wanted back:
	// nobody else is given it before Own has returned. Own that returns earlier is called again after a pause.
	//
	// A member that can not reach the log any more is not heard when it wants more time. Its ctx ends while the
	// partition is still its own, but only for some seconds more: see the implementation for how many.
	Own func(ctx context.Context, c Claim)
}

// Claim is a partition that a member runs.
type Claim interface {
	Partition() int32
	// Commit tells the log up to which offset records were applied, for tools that show a group's lag. It is no
	// promise, does not block, and may be skipped when another follows soon: the member's own state is the truth.
	Commit(next int64)
}

// ownPause is how long a partition is left alone whose Own returned early: what ended it, a disk for example, should
// not be hammered at.
const ownPause = time.Second

// Hold calls Own until ctx ends, again after a pause when it returns earlier. It is for those who implement a Group.
func (m Member) Hold(ctx context.Context, c Claim) {
	for ctx.Err() == nil {
		m.Own(ctx, c)
		select {
		case <-ctx.Done():
		case <-time.After(ownPause):
		}
	}
}

package dedup

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"tollgate/internal/vfs"
)

// ErrClosed is returned by an Index after Close.
var ErrClosed = errors.New("dedup: the index is closed")

// BehindError says that a question was asked as of a clock at which entries counted that have been dropped since. It
// means that the log is being read from further back than the index remembers: the index has to be rebuilt with the rest.
type BehindError struct{ NowMs, ForgotMs int64 }

func (e *BehindError) Error() string {
	return fmt.Sprintf("dedup: asked as of %d ms, and what no longer counted at %d ms has been dropped: the duplicate "+
		"index has to be rebuilt from the log", e.NowMs, e.ForgotMs)
}

// Index is a duplicate index.
type Index struct {
	cfg  Config
	span span
	fs   vfs.FS

	queries []query // the writer's, as is what follows
	every   []int   // the positions of all of them
	old     []int   // of those that the cover does not call new
	maybe   []int   // of those that one filter does not call new
	clock   int64   // the largest that was told

	// mu is held for microseconds, never across a call to the disk.
	mu          sync.Mutex
	table       *table // changed by the writer, under mu
	view        *view  // nil after Close
	durable     manifest
	released    int64
	closing     []*run // no longer in any view
	failure     error  // of the last merge
	loadFailure error  // of the last loading of filters
	cover       *cover // nil until it is needed; the filler's
	coverViews  int    // that have the cover and are looked at
	// Of the last filling of the cover.
	coverFailure error

	// disk is held while the set of runs changes, across the writes that make it durable. It comes before mu.
	disk    sync.Mutex
	seq     uint64
	garbage []string // names of files that no durable manifest names, once one more is durable

	empty *table // stands in while the table is cleared; always empty

	fan         int           // runs of a level that become one: fanIn, and less in tests
	coverFrom   int           // coverFrom, and less in tests
	coverBlocks uint64        // the cover's share of the memory, and less in tests
	wake        chan struct{} // one token: there may be something to merge
	coverWake   chan struct{} // one token: there may be something to cover
	quit        chan struct{}
	goroutines  sync.WaitGroup

	asked, probed, passed, wrong atomic.Int64
	coverPassed                  atomic.Int64
	merged, covers               atomic.Int64
}

// view is a set of runs, from the oldest to the newest. Whoever looks at it holds a reference, and no file of it is closed
// meanwhile, nor the cover cleared.
type view struct {
	runs    []*run
	cover   *cover // nil when none of them is covered
	covered int    // so many of the oldest are
	end     int64  // behind the largest offset in them
	entries int64
	refs    int // guarded by Index.mu; the index itself holds one on its newest view
}

// Open opens the index in a directory, or makes one. A file that is not what was written is a *RotError.
func Open(cfg Config) (*Index, error) {
	x, err := open(cfg)
	if err != nil {
		return nil, err
	}
	x.start()
	return x, nil
}

// start starts the goroutines that merge and that cover.
func (x *Index) start() {
	x.goroutines.Go(func() { x.background(x.wake, x.mergeAll) })
	x.goroutines.Go(func() { x.background(x.coverWake, x.coverAll) })
}

// background works whenever something has changed.
func (x *Index) background(wake chan struct{}, work func()) {
	for {
		select {
		case <-x.quit:
			return
		case <-wake:
			work()
		}
	}
}

// open is Open without the goroutines.
func open(cfg Config) (*Index, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	x := &Index{
		cfg: cfg, span: cfg.span(), fs: cfg.FS,
		queries: make([]query, 0, chunkMax),
		every:   make([]int, chunkMax), old: make([]int, 0, chunkMax), maybe: make([]int, 0, chunkMax),
		table: newTable(cfg.tableSlotsMax()), empty: newTable(tableSlotsMin),
		fan: fanIn, coverFrom: coverFrom, coverBlocks: uint64(cfg.coverBytesMax() / blockBytes),
		wake: make(chan struct{}, 1), coverWake: make(chan struct{}, 1), quit: make(chan struct{}),
	}
	for i := range x.every {
		x.every[i] = i
	}
	m, err := recoverDir(cfg.FS, cfg.Dir)
	if err != nil {
		return nil, err
	}
	x.durable, x.seq, x.clock = *m, m.seq, m.clock
	runs, err := openRuns(cfg.FS, cfg.Dir, m.runs)
	if err == nil {
		x.mu.Lock()
		x.show(runs, 0)
		x.mu.Unlock()
		err = x.rebalance()
	}
	if err != nil {
		for _, r := range runs {
			_ = r.file.Close()
		}
		return nil, err
	}
	nudge(x.wake)
	return x, nil
}

// Close ends the merge and the filling that are running and closes the files. What was not sealed comes again from the log.
func (x *Index) Close() error {
	x.mu.Lock()
	if x.view == nil {
		x.mu.Unlock()
		return ErrClosed
	}
	x.mu.Unlock()
	close(x.quit)
	x.goroutines.Wait()
	x.mu.Lock()
	x.show(nil, 0)
	x.view = nil
	x.mu.Unlock()
	return x.closeFiles()
}

// Next is the offset from which on records have to be inserted again after Open: all before it are on disk.
func (x *Index) Next() int64 {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.durable.next
}

// Clock is the largest clock that was told before Next: the one with which reading the log again begins. 0 in a new
// index.
func (x *Index) Clock() int64 {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.durable.clock
}

// Advance tells the clock of records that were passed without an Insert, so that Clock is right when Seal comes next.
func (x *Index) Advance(nowMs int64) { x.clock = max(x.clock, nowMs) }

// Release tells that no record with an earlier clock will be inserted again: the caller's own state is durable as far as
// that. Without it nothing is ever dropped. It does not move back.
func (x *Index) Release(nowMs int64) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.released = max(x.released, nowMs)
}

// acquire takes a reference on the newest view, with mu held.
func (x *Index) acquire() *view {
	x.view.refs++
	return x.view
}

// hold is acquire for whoever reads for long and does not ask the cover: it may be cleared meanwhile.
func (x *Index) hold() *view { return newView(x.view.runs) }

// release gives a view back, with mu held.
func (x *Index) release(v *view) {
	if v.refs--; v.refs > 0 {
		return
	}
	for _, r := range v.runs {
		if r.views--; r.views == 0 {
			x.closing = append(x.closing, r)
			nudge(x.wake)
		}
	}
	if v.cover == nil {
		return
	}
	if x.coverViews--; x.coverViews == 0 {
		nudge(x.coverWake)
	}
}

// show makes runs the newest view, so many of the oldest covered, with mu held.
func (x *Index) show(runs []*run, covered int) {
	v := newView(runs)
	if covered > 0 {
		v.cover, v.covered = x.cover, covered
		x.coverViews++
	}
	if x.view != nil {
		x.release(x.view)
	}
	x.view = v
	nudge(x.coverWake)
}

// newView makes a view with one reference, with mu held.
func newView(runs []*run) *view {
	v := &view{runs: runs, refs: 1}
	for _, r := range runs {
		r.views++
		v.end = max(v.end, r.offsets.high+1)
		v.entries += r.count
	}
	return v
}

// closeFiles closes the files that nobody looks at any more. That frees the blocks of those that were removed, which
// takes a while.
func (x *Index) closeFiles() error {
	x.mu.Lock()
	closing := x.closing
	x.closing = nil
	x.mu.Unlock()
	var err error
	for _, r := range closing {
		err = errors.Join(err, r.file.Close())
	}
	return err
}

// rebalance gives the memory for filters to the newest runs, as far as it lasts. With disk held, or by Open.
func (x *Index) rebalance() error {
	x.mu.Lock()
	runs := x.view.runs
	x.mu.Unlock()
	left := x.cfg.filterBytesMax()
	var load []*run
	for _, r := range slices.Backward(runs) {
		switch bytes := r.residentBytes(); {
		case bytes > left:
			r.resident.Store(nil)
		default:
			left -= bytes
			if r.resident.Load() == nil {
				load = append(load, r)
			}
		}
	}
	buf := make([]byte, x.cfg.bufferBytes())
	for _, r := range load {
		if err := r.load(buf); err != nil {
			return err
		}
	}
	return nil
}

func nudge(wake chan struct{}) {
	select {
	case wake <- struct{}{}:
	default:
	}
}

package journal

// What of a partition stays in the system's page cache: the newest Config.CachedBytes of the active segment, and everything
// behind the slowest reader that has a file open. The rest goes as soon as it is durable and read, and its pages are used for
// what is written next. Left alone they would fill the memory, which then holds bytes that hardly anybody is going to
// read, and every write would begin by finding pages for it: docs/adr/0043-what-is-read-leaves-the-page-cache.md has the figures.
//
//	0              forgotten         position - CachedBytes      position
//	├── not in memory ──┼─ read by all ───┼────── in memory ────────┤
//
// It is best effort. What a reader leaves unread that closes in the middle of a segment, and what compaction, retention and
// recovery have read, stays until the system wants the room.

// forget lets the system drop what nobody needs of the active segment any more. It is the committer's.
func (p *partition) forget() {
	step := p.cfg.CachedBytes / cachedSteps
	to := (p.position - p.cfg.CachedBytes) / step * step
	if p.file == nil || to <= p.forgotten {
		return
	}
	if to = min(to, p.readByAll()/step*step); to > p.forgotten {
		p.file.Forget(p.forgotten, to-p.forgotten)
		p.forgotten = to
	}
}

// forgetRest is forget for a segment behind which another one begins. What a reader in it has not read, that one forgets
// when it leaves.
func (p *partition) forgetRest() {
	if to := p.readByAll(); p.file != nil && to > p.forgotten {
		p.file.Forget(p.forgotten, to-p.forgotten)
	}
}

// readByAll is up to where in the active segment every open reader has read, or a little less.
func (p *partition) readByAll() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	slowest := p.slowestLocked()
	switch {
	case slowest == p.next:
		return p.position
	case slowest < p.active.base:
		return 0
	}
	return p.active.seek(slowest).position
}

// slowestLocked is the offset that the slowest open reader wants next; the end when none is open.
func (p *partition) slowestLocked() int64 {
	slowest := p.next
	for _, offset := range p.readers {
		slowest = min(slowest, offset)
	}
	return slowest
}

// arrive notes that a reader has a file open. In wait it says how far it has come.
func (p *partition) arrive(r *reader) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.readers[r] = r.offset
}

// leave lets the system drop a closed segment that the reader has come to the end of, unless another one is still there.
func (p *partition) leave(r *reader, next int64) {
	p.mu.Lock()
	last := p.slowestLocked() >= next
	p.mu.Unlock()
	if last {
		r.file.Forget(0, r.w.position) // behind it there may be what was never acknowledged
	}
}

package dedup

import "errors"

// Stats is what an index has and has done.
type Stats struct {
	TableEntries int64 // in memory, not sealed
	RunEntries   int64 // on disk, those that have expired and are not dropped yet among them
	Runs         int
	// RunsOnDisk are runs whose filter has no room in memory: each look-up reads it from the file.
	RunsOnDisk int
	DiskBytes  int64
	// CoveredRuns and CoveredEntries are those that the coarse filter is over.
	CoveredRuns    int
	CoveredEntries int64
	Covers         int64 // how often it was begun since Open
	// MemoryBytes are the table, filters and fences, and what buffers take while something is written.
	MemoryBytes int64
	Merges      int64 // since Open
	// Asked are identifiers inserted or tried to; Probes the filters asked for them, the coarse one too; CoverPassed those
	// that it did not call new; Passed those that a run's filter did not call new, once for each run, and FalsePassed those
	// of them that were wrong, each of which is a page read for nothing. Since Open.
	Asked, Probes, CoverPassed, Passed, FalsePassed int64
	// MergeError is how the last merge ended, the last loading of filters and the last filling of the coarse one, nil when
	// well. It is tried again after the next Seal.
	MergeError error
}

// Stats tells what the index has now.
func (x *Index) Stats() Stats {
	s := Stats{
		Merges: x.merged.Load(), Covers: x.covers.Load(), Asked: x.asked.Load(), Probes: x.probed.Load(),
		CoverPassed: x.coverPassed.Load(), Passed: x.passed.Load(), FalsePassed: x.wrong.Load(),
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	s.TableEntries = int64(x.table.count)
	s.MergeError = errors.Join(x.failure, x.loadFailure, x.coverFailure)
	s.MemoryBytes = x.table.bytes() + x.empty.bytes() + int64(x.cfg.bufferBytes())*buffersMax
	if x.cover != nil {
		s.MemoryBytes += int64(len(x.cover.filter.words)) * 8
	}
	if x.view == nil {
		return s
	}
	s.CoveredRuns = x.view.covered
	for i, r := range x.view.runs {
		s.Runs++
		if i < s.CoveredRuns {
			s.CoveredEntries += r.count
		}
		s.RunEntries += r.count
		s.DiskBytes += r.pages() * pageBytes
		if r.resident.Load() == nil {
			s.RunsOnDisk++
		} else {
			s.MemoryBytes += r.residentBytes()
		}
	}
	return s
}

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
	// MemoryBytes are the table, filters and fences, and what buffers take while something is written.
	MemoryBytes int64
	Merges      int64 // since Open
	// Asked are identifiers inserted or tried to; Probes the filters asked for them, Passed those that did not say "new",
	// and FalsePassed those of them that were wrong, each of which is a page read for nothing. Since Open.
	Asked, Probes, Passed, FalsePassed int64
	// MergeError is how the last merge ended and the last loading of filters, nil when well. It is tried again after the next Seal.
	MergeError error
}

// Stats tells what the index has now.
func (x *Index) Stats() Stats {
	s := Stats{
		Merges: x.merged.Load(), Asked: x.asked.Load(), Probes: x.probed.Load(), Passed: x.passed.Load(), FalsePassed: x.wrong.Load(),
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	s.TableEntries = int64(x.table.count)
	s.MergeError = errors.Join(x.failure, x.loadFailure)
	s.MemoryBytes = x.table.bytes() + x.empty.bytes() + int64(x.cfg.bufferBytes())*buffersMax
	if x.view == nil {
		return s
	}
	for _, r := range x.view.runs {
		s.Runs++
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

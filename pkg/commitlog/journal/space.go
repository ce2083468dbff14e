package journal

import (
	"fmt"
	"sync"
	"time"

	"tollgate/pkg/commitlog"
)

// space keeps the reserve of free disk. A look at the file system is taken at most every spaceEvery; between looks
// what was written since is counted off.
//
// What the segments hold ahead (type ahead) counts as free here: the file system calls it used, but it is the
// journal's to fill. So a byte counts when it is written, into reserved blocks or others, and reserving changes nothing
// about what is taken. All that is held is a small part of the reserve: others find at least the rest of it free.
type space struct {
	cfg     *Config
	metrics *meters

	mu      sync.Mutex
	looked  time.Time // guards from here on
	free    int64     // with what is held
	held    int64     // reserved ahead by the segments and not written to yet
	flying  int64     // written and not counted off yet: it is in free
	reserve int64
	short   bool  // as it was told last
	slack   int64 // above the reserve that must be free to be no longer short
}

func newSpace(cfg *Config, m *meters) *space { return &space{cfg: cfg, metrics: m} }

// look returns nil when so many bytes may be written beside those that fly, and an ErrUnavailable that says why not.
func (s *space) look(bytes int64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.cfg.Now()
	if since := now.Sub(s.looked); since >= spaceEvery || since < 0 {
		got, err := s.cfg.FS.Space(s.cfg.Dir)
		if err != nil {
			return fmt.Errorf("%w: the free space can not be read: %w", commitlog.ErrUnavailable, err)
		}
		s.looked, s.free, s.reserve = now, got.Free+s.held+s.flying, s.cfg.ReserveBytes
		if s.reserve == 0 {
			s.reserve = min(got.Total/reserveShare, reserveBytesMax)
		}
		s.metrics.free.Set(got.Free)
	}
	want := s.reserve
	if s.short {
		want += s.slack
	}
	if s.free-s.flying-bytes >= want {
		if s.short {
			s.short, s.slack = false, 0
			s.cfg.Notify(Notice{What: Recovered, File: s.cfg.Dir})
		}
		return nil
	}
	// As much as was refused, within bounds, so that the answer does not change with each small append or file.
	s.slack = min(max(s.slack, bytes, s.reserve/reserveSlack), s.reserve)
	err := fmt.Errorf("%w: the file system of %s has %d bytes free, of which %d are kept in reserve. Free some space, or "+
		"lower journal.retention or journal.reserve_bytes; appends are taken again by themselves when %d are free",
		commitlog.ErrUnavailable, s.cfg.Dir, s.free, s.reserve, s.reserve+s.slack)
	if !s.short {
		s.short = true
		s.cfg.Notify(Notice{What: Unavailable, File: s.cfg.Dir, Err: err})
	}
	return err
}

// spare returns nil when a file of so many bytes may be there for a while without touching the reserve.
func (s *space) spare(bytes int64) error {
	got, err := s.cfg.FS.Space(s.cfg.Dir)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if got.Free-bytes < s.reserve {
		return fmt.Errorf("%d bytes are free, and %d would be needed beside the reserve of %d", got.Free, bytes, s.reserve)
	}
	return nil
}

// spend counts off what was written and is durable.
func (s *space) spend(bytes int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.free -= bytes
	s.flying -= bytes
}

// chunk is how much each of so many partitions may hold ahead: nothing when that would take from the reserve.
func (s *space) chunk(partitions int) int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := int64(partitions)
	chunk := min(aheadBytesMax, s.reserve/aheadShare/n) / blockBytes * blockBytes
	if s.short || s.free-n*chunk < s.reserve {
		return 0
	}
	return chunk
}

// hold notes what the segments hold ahead, and what was written to them and will be spent when it is durable.
func (s *space) hold(ahead, flying int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.held, s.flying = ahead, flying
}

// forget makes the next look a new one: the file system has less room than the last one said.
func (s *space) forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.looked = time.Time{}
}

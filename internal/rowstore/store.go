package rowstore

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// Config says what a store is and whom it tells. Merger and Seed may be nil, everything else is required.
type Config[D error] struct {
	// Room and What are for messages: "usage", "the state".
	Room, What string
	Path       string
	FS         vfs.FS
	CacheBytes int64
	// MemtableBytes is collected before a file is written. The store holds up to three.
	MemtableBytes int
	Merger        *pebble.Merger

	// Format is of keys and rows, and stands in the row MetaKey. Another one is damage.
	Format  byte
	MetaKey []byte
	// Seed is called when the store is made; what it returns stands behind the format for good. nil: nothing does.
	Seed func() []byte
	// SeedBytes is how much that is.
	SeedBytes int

	// BadRow is what the room's parsers return, or wrap, for a row that is not what it should be. The store is refused then.
	BadRow error
	// Damage makes the room's error. unwritable: a write failed, and what is on disk is good as far as anybody knows.
	Damage func(path string, err error, unwritable bool) D
	// Failed is told once, when the store fails. Waiting is told of errors that the store tries again by itself. Neither
	// may block.
	Failed  func(D)
	Waiting func(error)
}

// Store is an embedded store that is open. Use Open.
type Store[D error] struct {
	// DB makes batches and snapshots. What is read and written goes through the methods.
	DB *pebble.DB

	cfg    Config[D]
	cache  *pebble.Cache
	seed   []byte
	failed atomic.Pointer[D]
	stuck  atomic.Bool
	up     context.Context
	down   context.CancelFunc
}

// Open opens a store, or makes it when there is none. What is there and can not be read is a D.
func Open[D error](cfg Config[D]) (*Store[D], error) {
	s := &Store[D]{cfg: cfg}
	s.up, s.down = context.WithCancel(context.Background())
	names, err := cfg.FS.List(cfg.Path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s: %s: %w", cfg.Room, cfg.Path, err)
	}
	// Without its manifest the library would begin anew and remove the tables that it does not know.
	exists := slices.ContainsFunc(names, func(name string) bool {
		return strings.HasSuffix(name, ".sst") || strings.HasPrefix(name, "marker.manifest")
	})
	s.cache = pebble.NewCache(cfg.CacheBytes)
	options := &pebble.Options{
		FS: cfg.FS, Cache: s.cache, MemTableSize: uint64(cfg.MemtableBytes), Merger: cfg.Merger,
		FormatMajorVersion: pebble.FormatNewest, ErrorIfNotExists: exists,
		Logger: logger[D]{s}, EventListener: &pebble.EventListener{BackgroundError: s.background, DataCorruption: s.rotten},
	}
	for i := range options.Levels {
		options.Levels[i].FilterPolicy = bloom.FilterPolicy(10)
	}
	if s.DB, err = pebble.Open(cfg.Path, options); err != nil {
		s.cache.Unref()
		if pebble.IsCorruptionError(err) || errors.Is(err, pebble.ErrDBDoesNotExist) || errors.Is(err, fs.ErrNotExist) {
			return nil, cfg.Damage(cfg.Path, err, false)
		}
		return nil, fmt.Errorf("%s: %s in %s can not be opened; another process may have it open: %w", cfg.Room, cfg.What, cfg.Path, err)
	}
	if err := s.loadMeta(exists); err != nil {
		_ = s.Close()
		return nil, err
	}
	return s, nil
}

// loadMeta reads the format and the seed, or writes them into a store that is empty.
func (s *Store[D]) loadMeta(exists bool) error {
	value, found, err := s.Get(s.DB, s.cfg.MetaKey)
	switch {
	case err != nil:
		return err
	case found && (len(value) != 1+s.cfg.SeedBytes || value[0] != s.cfg.Format):
		return s.cfg.Damage(s.cfg.Path, fmt.Errorf("its format is %x, and this program knows %d", value, s.cfg.Format), false)
	case found:
		s.seed = value[1:]
		return nil
	}
	if exists {
		// A crash may have come before the format was written. Then nothing else was.
		empty := true
		if err := s.Each(s.DB, nil, nil, func(_, _ []byte) (bool, error) { empty = false; return false, nil }); err != nil {
			return err
		}
		if !empty {
			return s.cfg.Damage(s.cfg.Path, errors.New("it has no format"), false)
		}
	}
	if s.cfg.Seed != nil {
		s.seed = s.cfg.Seed()
	}
	return s.Write(pebble.Sync, func(b *pebble.Batch) error {
		return b.Set(s.cfg.MetaKey, append([]byte{s.cfg.Format}, s.seed...), nil)
	})
}

// Seed is what Config.Seed returned when the store was made.
func (s *Store[D]) Seed() []byte { return s.seed }

// Path is where the store is.
func (s *Store[D]) Path() string { return s.cfg.Path }

// Up ends when the store fails, or is closed.
func (s *Store[D]) Up() context.Context { return s.up }

// Stuck says whether the library itself failed: what is in it may wait there for ever.
func (s *Store[D]) Stuck() bool { return s.stuck.Load() }

// Usable is nil unless the store failed.
func (s *Store[D]) Usable() error {
	if d := s.failed.Load(); d != nil {
		return *d
	}
	return nil
}

// Refuse notes that the store is not to be used any more for what is in it, and returns why: err, or what was first.
func (s *Store[D]) Refuse(err error) error {
	return s.refuse(s.cfg.Damage(s.cfg.Path, err, false))
}

func (s *Store[D]) refuse(d D) error {
	if s.failed.CompareAndSwap(nil, &d) {
		s.down()
		s.cfg.Failed(d)
	}
	return s.Usable()
}

// Fail notes that the library itself failed, and is Refuse otherwise: the store is stuck.
func (s *Store[D]) Fail(path string, err error, unwritable bool) error {
	s.stuck.Store(true)
	return s.refuse(s.cfg.Damage(path, err, unwritable))
}

// logger takes what the library would print. It calls Fatalf where it can not go on, and does not expect that to return:
// the goroutine ends, and whoever asks the store again is told that it failed.
type logger[D error] struct{ s *Store[D] }

func (logger[D]) Infof(string, ...any)  {}
func (logger[D]) Errorf(string, ...any) {}
func (l logger[D]) Fatalf(format string, args ...any) {
	rot := slices.ContainsFunc(args, func(arg any) bool {
		cause, ok := arg.(error)
		return ok && pebble.IsCorruptionError(cause)
	})
	_ = l.s.Fail(l.s.cfg.Path, fmt.Errorf(format, args...), !rot)
	runtime.Goexit()
}

// background takes errors of the library's own goroutines. It tries again by itself, except where bytes are wrong.
func (s *Store[D]) background(err error) {
	if pebble.IsCorruptionError(err) {
		_ = s.Fail(s.cfg.Path, err, false)
		return
	}
	s.cfg.Waiting(err)
}

// rotten takes what is found by reading. Without it the library would end the goroutine that asked.
func (s *Store[D]) rotten(info pebble.DataCorruptionInfo) {
	_ = s.Fail(info.Path, info.Details, false)
}

// Close closes the store, unless it is stuck. Nobody may be reading or writing.
func (s *Store[D]) Close() error {
	if s.stuck.Load() {
		s.Abandon()
		return nil
	}
	defer s.Abandon()
	if err := s.DB.Close(); err != nil {
		return fmt.Errorf("%s: closing %s in %s: %w", s.cfg.Room, s.cfg.What, s.cfg.Path, err)
	}
	return nil
}

// Abandon lets go of the store without closing it: in place of Close, where somebody may still be in it.
func (s *Store[D]) Abandon() {
	s.down()
	s.cache.Unref()
}

package usage

import (
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"

	"tollgate/pkg/dedup"
)

// store is the embedded store of all partitions.
type store struct {
	db     *pebble.DB
	cache  *pebble.Cache
	path   string
	seed   uint64
	failed atomic.Pointer[DamagedError]
	down   chan struct{} // closed once it has failed
	notify func(Notice)
}

// formatVersion is of keys and rows. Another one is refused.
const formatVersion = 2

// openStore opens the store, or makes it when there is none. What is there and can not be read is a DamagedError.
func openStore(cfg *Config) (*store, error) {
	s := &store{path: cfg.storeDir(), notify: cfg.Notify, down: make(chan struct{})}
	names, err := cfg.StoreFS.List(s.path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("usage: %s: %w", s.path, err)
	}
	exists := slices.ContainsFunc(names, func(name string) bool {
		return strings.HasSuffix(name, ".sst") || strings.HasPrefix(name, "marker.manifest")
	})
	s.cache = pebble.NewCache(cfg.CacheBytes)
	options := &pebble.Options{
		FS: cfg.StoreFS, Cache: s.cache, MemTableSize: uint64(cfg.MemtableBytes), Merger: merger,
		FormatMajorVersion: pebble.FormatNewest, ErrorIfNotExists: exists,
		Logger: storeLogger{s}, EventListener: &pebble.EventListener{BackgroundError: s.background, DataCorruption: s.rotten},
	}
	for i := range options.Levels {
		options.Levels[i].FilterPolicy = bloom.FilterPolicy(10)
	}
	if s.db, err = pebble.Open(s.path, options); err != nil {
		s.cache.Unref()
		return nil, s.openError(err)
	}
	if err := s.loadMeta(cfg, exists); err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

func (s *store) openError(err error) error {
	if pebble.IsCorruptionError(err) || errors.Is(err, pebble.ErrDBDoesNotExist) || errors.Is(err, fs.ErrNotExist) {
		return &DamagedError{Path: s.path, Err: err}
	}
	return fmt.Errorf("usage: the state in %s can not be opened; another process may have it open: %w", s.path, err)
}

// loadMeta reads the format and the seed, or makes them.
func (s *store) loadMeta(cfg *Config, exists bool) error {
	value, found, err := s.get(keyMeta)
	switch {
	case err != nil:
		return err
	case found && (len(value) != 9 || value[0] != formatVersion):
		return &DamagedError{Path: s.path, Err: fmt.Errorf("its format is %x, and this program knows %d", value, formatVersion)}
	case found:
		s.seed = binary.BigEndian.Uint64(value[1:])
		return nil
	}
	if exists {
		// A crash may have come before the seed was written. Then nothing else was.
		empty := true
		if err := s.each(nil, nil, func(_, _ []byte) error { empty = false; return errStop }); err != nil && err != errStop {
			return err
		}
		if !empty {
			return &DamagedError{Path: s.path, Err: errors.New("it has no seed")}
		}
	}
	value = make([]byte, 9)
	value[0] = formatVersion
	cfg.Random(value[1:])
	s.seed = binary.BigEndian.Uint64(value[1:])
	batch := s.db.NewBatch()
	if err := batch.Set(keyMeta, value, nil); err != nil {
		return err
	}
	return s.commit(batch, pebble.Sync)
}

var errStop = errors.New("usage: enough was read")

// storeLogger takes what the store would print. It calls Fatalf where it can not go on, and does not expect that to
// return: the goroutine ends, and whoever asks the store again is told that it failed.
type storeLogger struct{ s *store }

func (storeLogger) Infof(string, ...any)  {}
func (storeLogger) Errorf(string, ...any) {}
func (l storeLogger) Fatalf(format string, args ...any) {
	err := fmt.Errorf(format, args...)
	rot := slices.ContainsFunc(args, func(arg any) bool {
		cause, ok := arg.(error)
		return ok && pebble.IsCorruptionError(cause)
	})
	l.s.fail(&DamagedError{Path: l.s.path, Err: err, Unwritable: !rot})
	runtime.Goexit()
}

// fail notes that the store is not to be used any more.
func (s *store) fail(err *DamagedError) {
	if s.failed.CompareAndSwap(nil, err) {
		close(s.down)
		s.notify(Notice{What: Failed, Partition: -1, Detail: s.path, Err: err})
	}
}

// background takes errors of the store's own goroutines. It tries again by itself, except where bytes are wrong.
func (s *store) background(err error) {
	if pebble.IsCorruptionError(err) {
		s.fail(&DamagedError{Path: s.path, Err: err})
		return
	}
	s.notify(Notice{What: Waiting, Partition: -1, Detail: s.path, Err: err})
}

// rotten takes what is found by reading. Without it the store would end the goroutine that asked.
func (s *store) rotten(info pebble.DataCorruptionInfo) {
	s.fail(&DamagedError{Path: info.Path, Err: info.Details})
}

// usable is nil unless the store failed.
func (s *store) usable() error {
	if d := s.failed.Load(); d != nil {
		return d
	}
	return nil
}

// judgeError makes what the store says an error of ours.
func (s *store) judgeError(err error) error {
	if err == nil {
		return nil
	}
	var known *DamagedError
	if errors.As(err, &known) {
		return err
	}
	if pebble.IsCorruptionError(err) || errors.Is(err, errRow) {
		s.fail(&DamagedError{Path: s.path, Err: err})
		return s.usable()
	}
	return fmt.Errorf("usage: %s: %w", s.path, err)
}

func (s *store) commit(b *pebble.Batch, o *pebble.WriteOptions) error {
	if err := s.usable(); err != nil {
		return err
	}
	if err := s.judgeError(s.written(func() error { return b.Commit(o) })); err != nil {
		return err
	}
	return b.Close()
}

// written writes. Where the store's own log takes no more it panics, with the error; it keeps its locks, so that who
// waits for it to write does so for ever, which down is for.
func (s *store) written(write func() error) (err error) {
	defer func() {
		switch cause := recover().(type) {
		case nil:
		case runtime.Error:
			panic(cause) // a bug, of ours or of the store's
		case error:
			s.fail(&DamagedError{Path: s.path, Err: cause, Unwritable: !pebble.IsCorruptionError(cause)})
			err = s.usable()
		default:
			panic(cause)
		}
	}()
	return write()
}

// sync makes durable what was committed without it.
func (s *store) sync() error {
	if err := s.usable(); err != nil {
		return err
	}
	return s.judgeError(s.written(func() error { return s.db.LogData(nil, pebble.Sync) }))
}

// get returns a copy of a row.
func (s *store) get(key []byte) (value []byte, found bool, err error) {
	if err := s.usable(); err != nil {
		return nil, false, err
	}
	v, closer, err := s.db.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, s.judgeError(err)
	}
	value = append([]byte(nil), v...)
	return value, true, closer.Close()
}

// row reads a row that is JSON.
func (s *store) row(key []byte, row any) (found bool, err error) {
	value, found, err := s.get(key)
	if err != nil || !found {
		return false, err
	}
	if json.Unmarshal(value, row) != nil {
		return false, s.judgeError(errRow)
	}
	return true, nil
}

// each calls f for the rows from one key to before another, in order. What it is given is valid during the call.
func (s *store) each(from, to []byte, f func(key, value []byte) error) error {
	return s.iterate(s.db, from, to, func(it *pebble.Iterator) error {
		for ok := it.First(); ok; ok = it.Next() {
			if err := f(it.Key(), it.Value()); err != nil {
				return err
			}
		}
		return nil
	})
}

// eachBack is each in reverse, until f says no.
func (s *store) eachBack(from, to []byte, f func(key, value []byte) (bool, error)) error {
	return s.iterate(s.db, from, to, func(it *pebble.Iterator) error {
		for ok := it.Last(); ok; ok = it.Prev() {
			if more, err := f(it.Key(), it.Value()); err != nil || !more {
				return err
			}
		}
		return nil
	})
}

func (s *store) iterate(from pebble.Reader, lower, upper []byte, walk func(*pebble.Iterator) error) error {
	if err := s.usable(); err != nil {
		return err
	}
	it, err := from.NewIter(&pebble.IterOptions{LowerBound: lower, UpperBound: upper})
	if err != nil {
		return s.judgeError(err)
	}
	err = walk(it)
	if err == nil {
		err = it.Error()
	}
	if closed := it.Close(); err == nil {
		err = closed
	}
	if err == errStop {
		return err
	}
	return s.judgeError(err)
}

func (s *store) loadState(partition int32) (state, error) {
	value, found, err := s.get(appendTable(nil, partition, tableState))
	if err != nil || !found {
		return newState(), err
	}
	st, err := decodeState(value)
	return st, s.judgeError(err)
}

// indexDir is where a partition's index is. It is named after the seed too: identifiers hashed with another one are
// those of a state that was lost or set aside.
func (s *store) indexDir(cfg *Config, number int32) string {
	tag := hex.EncodeToString(binary.BigEndian.AppendUint64(nil, s.seed*0x9e3779b97f4a7c15))[:8]
	return filepath.Join(cfg.Dir, "dedup", tag, strconv.Itoa(int(number)))
}

// openIndex opens a partition's index.
func (s *store) openIndex(cfg *Config, number int32) (index, error) {
	dir := s.indexDir(cfg, number)
	x, err := dedup.Open(dedup.Config{FS: cfg.FS, Dir: dir, MemoryBytes: max(1<<20, cfg.DedupBytes/int64(max(1, cfg.Log.Partitions(cfg.Topic))))})
	if err != nil {
		return nil, judgeIndexError(dir, err)
	}
	return x, nil
}

// judgeIndexError makes it a DamagedError that an index can not be used any more. Other errors may pass.
func judgeIndexError(dir string, err error) error {
	var rot *dedup.RotError
	var behind *dedup.BehindError
	var known *DamagedError
	if !errors.As(err, &known) && (errors.As(err, &rot) || errors.As(err, &behind)) {
		return &DamagedError{Path: dir, Err: err}
	}
	return err
}

func (s *store) close() error {
	defer s.cache.Unref()
	if s.failed.Load() != nil {
		return nil // it may hold its own locks for ever
	}
	return s.db.Close()
}

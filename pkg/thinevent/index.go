package thinevent

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
)

// index is the embedded store. What it can not go on from makes it fail for good: usable says so from then on, and
// every call does.
type index struct {
	db     *pebble.DB
	cache  *pebble.Cache
	path   string
	notify func(Notice)

	failed atomic.Pointer[DamagedError]
	stuck  atomic.Bool     // the embedded store itself failed, and may hold its locks for ever
	up     context.Context // ends when it fails
	down   context.CancelFunc
}

// formatVersion is of keys and rows. Another one is refused.
const formatVersion = 1

// openIndex opens the index, or makes it when there is none. What is there and can not be read is a DamagedError.
func openIndex(cfg *Config) (*index, error) {
	x := &index{path: cfg.Dir, notify: cfg.Notify}
	x.up, x.down = context.WithCancel(context.Background())
	names, err := cfg.FS.List(x.path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("thinevent: %s: %w", x.path, err)
	}
	exists := slices.ContainsFunc(names, func(name string) bool {
		return strings.HasSuffix(name, ".sst") || strings.HasPrefix(name, "marker.manifest")
	})
	x.cache = pebble.NewCache(cfg.CacheBytes)
	options := &pebble.Options{
		FS: cfg.FS, Cache: x.cache, MemTableSize: uint64(cfg.MemtableBytes),
		FormatMajorVersion: pebble.FormatNewest, ErrorIfNotExists: exists,
		Logger: indexLogger{x}, EventListener: &pebble.EventListener{BackgroundError: x.background, DataCorruption: x.rotten},
	}
	for i := range options.Levels {
		options.Levels[i].FilterPolicy = bloom.FilterPolicy(10) // each new event asks for an id that is not there
	}
	if x.db, err = pebble.Open(x.path, options); err != nil {
		x.cache.Unref()
		return nil, x.openError(err)
	}
	if err := x.checkFormat(exists); err != nil {
		_ = x.close()
		return nil, err
	}
	return x, nil
}

func (x *index) openError(err error) error {
	if pebble.IsCorruptionError(err) || errors.Is(err, pebble.ErrDBDoesNotExist) || errors.Is(err, fs.ErrNotExist) {
		return &DamagedError{Path: x.path, Err: err}
	}
	return fmt.Errorf("thinevent: the index of events in %s can not be opened; another process may have it open: %w", x.path, err)
}

// checkFormat reads the format, or writes it into an index that is empty.
func (x *index) checkFormat(exists bool) error {
	value, found, err := x.get(x.db, keyMeta)
	switch {
	case err != nil:
		return err
	case found && (len(value) != 1 || value[0] != formatVersion):
		return &DamagedError{Path: x.path, Err: fmt.Errorf("its format is %x, and this program knows %d", value, formatVersion)}
	case found:
		return nil
	}
	if exists {
		// A crash may have come before the format was written. Then nothing else was.
		empty := true
		if err := x.each(x.db, nil, nil, func(_, _ []byte) error { empty = false; return errStop }); err != nil {
			return err
		}
		if !empty {
			return &DamagedError{Path: x.path, Err: errors.New("it has no format")}
		}
	}
	batch := x.db.NewBatch()
	if err := batch.Set(keyMeta, []byte{formatVersion}, nil); err != nil {
		return err
	}
	return x.commit(batch, pebble.Sync)
}

// errStop ends a walk.
var errStop = errors.New("thinevent: enough was read")

// indexLogger takes what the embedded store would print. It calls Fatalf where it can not go on, and does not expect that
// to return: the goroutine ends, and whoever asks again is told that the index failed.
type indexLogger struct{ x *index }

func (indexLogger) Infof(string, ...any)  {}
func (indexLogger) Errorf(string, ...any) {}
func (l indexLogger) Fatalf(format string, args ...any) {
	rot := slices.ContainsFunc(args, func(arg any) bool {
		cause, ok := arg.(error)
		return ok && pebble.IsCorruptionError(cause)
	})
	l.x.fail(&DamagedError{Path: l.x.path, Err: fmt.Errorf(format, args...), Unwritable: !rot})
	runtime.Goexit()
}

// fail notes that the embedded store failed and is not to be used any more, and returns why.
func (x *index) fail(err *DamagedError) error {
	x.stuck.Store(true)
	return x.refuse(err)
}

// refuse notes that the index is not to be used any more for what is in it, and returns why.
func (x *index) refuse(err *DamagedError) error {
	if x.failed.CompareAndSwap(nil, err) {
		x.down()
		x.notify(Notice{What: Failed, Detail: x.path, Err: err})
	}
	return x.failed.Load()
}

// background takes errors of the embedded store's own goroutines. It tries again by itself, except where bytes are wrong.
func (x *index) background(err error) {
	if pebble.IsCorruptionError(err) {
		_ = x.fail(&DamagedError{Path: x.path, Err: err})
		return
	}
	x.notify(Notice{What: Waiting, Detail: x.path, Err: err})
}

// rotten takes what is found by reading. Without it the embedded store would end the goroutine that asked.
func (x *index) rotten(info pebble.DataCorruptionInfo) {
	_ = x.fail(&DamagedError{Path: info.Path, Err: info.Details})
}

// usable is nil unless the index failed.
func (x *index) usable() error {
	if d := x.failed.Load(); d != nil {
		return d
	}
	return nil
}

// judge makes what the embedded store says an error of ours.
func (x *index) judge(err error) error {
	var known *DamagedError
	switch {
	case err == nil || errors.As(err, &known):
		return err
	case errors.Is(err, errRow):
		return x.refuse(&DamagedError{Path: x.path, Err: err})
	case pebble.IsCorruptionError(err):
		return x.fail(&DamagedError{Path: x.path, Err: err})
	}
	return fmt.Errorf("thinevent: %s: %w", x.path, err)
}

func (x *index) commit(b *pebble.Batch, o *pebble.WriteOptions) error {
	if err := x.usable(); err != nil {
		return err
	}
	if err := x.judge(x.written(func() error { return b.Commit(o) })); err != nil {
		return err
	}
	return b.Close()
}

// written writes. Where the embedded store's own log takes no more it panics, with the error; it keeps its locks, so that
// who waits for it to write does so for ever, which up is for.
func (x *index) written(write func() error) (err error) {
	defer func() {
		switch cause := recover().(type) {
		case nil:
		case runtime.Error:
			panic(cause) // a bug, of ours or of the embedded store's
		case error:
			err = x.fail(&DamagedError{Path: x.path, Err: cause, Unwritable: !pebble.IsCorruptionError(cause)})
		default:
			panic(cause)
		}
	}()
	return write()
}

// get returns a copy of a row.
func (x *index) get(from pebble.Reader, key []byte) (value []byte, found bool, err error) {
	if err := x.usable(); err != nil {
		return nil, false, err
	}
	v, closer, err := from.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, x.judge(err)
	}
	value = append([]byte(nil), v...)
	return value, true, closer.Close()
}

// each calls f for the rows from one key to before another, in order, until it returns errStop. What it is given is valid
// during the call.
func (x *index) each(from pebble.Reader, lower, upper []byte, f func(key, value []byte) error) error {
	it, err := x.iterator(from, lower, upper)
	if err != nil {
		return err
	}
	for ok := it.First(); ok && err == nil; ok = it.Next() {
		err = f(it.Key(), it.Value())
	}
	if err == nil {
		err = it.Error()
	}
	if closed := it.Close(); err == nil {
		err = closed
	}
	if errors.Is(err, errStop) {
		return nil
	}
	return x.judge(err)
}

func (x *index) iterator(from pebble.Reader, lower, upper []byte) (*pebble.Iterator, error) {
	if err := x.usable(); err != nil {
		return nil, err
	}
	it, err := from.NewIter(&pebble.IterOptions{LowerBound: lower, UpperBound: upper})
	if err != nil {
		return nil, x.judge(err)
	}
	return it, nil
}

// event returns the event at an offset, nil when there is none.
func (x *index) event(from pebble.Reader, offset int64) (*Event, error) {
	row, found, err := x.get(from, keyEvent(offset))
	if err != nil || !found {
		return nil, err
	}
	e, err := parseRow(offset, row)
	return e, x.judge(err)
}

// offsetOf returns where the event of an id is.
func (x *index) offsetOf(from pebble.Reader, id string) (offset int64, found bool, err error) {
	row, found, err := x.get(from, keyID(id))
	if err != nil || !found {
		return 0, false, err
	}
	if len(row) != 8 {
		return 0, false, x.judge(errRow)
	}
	return i64At(row), true, nil
}

// progress returns how far the index is.
func (x *index) progress(from pebble.Reader) (progress, error) {
	row, found, err := x.get(from, keyState)
	if err != nil || !found {
		return progress{newestMs: -1}, err
	}
	p, err := parseProgress(row)
	return p, x.judge(err)
}

func (x *index) close() error {
	defer x.down()
	if x.stuck.Load() {
		return nil
	}
	defer x.cache.Unref()
	if err := x.db.Close(); err != nil {
		return fmt.Errorf("thinevent: closing the index of events in %s: %w", x.path, err)
	}
	return nil
}

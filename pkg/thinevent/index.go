package thinevent

import (
	"github.com/cockroachdb/pebble/v2"

	"tollgate/internal/rowstore"
)

// index is the embedded store.
type index struct {
	*rowstore.Store[*DamagedError]
}

// room and whatItIs name the index in messages.
const room, whatItIs = "thinevent", "the index of events"

// formatVersion is of keys and rows. Another one is refused.
const formatVersion = 1

// openIndex opens the index, or makes it when there is none. What is there and can not be read is a DamagedError.
func openIndex(cfg *Config) (*index, error) {
	path, notify := cfg.Dir, cfg.Notify
	s, err := rowstore.Open(rowstore.Config[*DamagedError]{
		Room: room, What: whatItIs, Path: path, FS: cfg.FS,
		CacheBytes: cfg.CacheBytes, MemtableBytes: cfg.MemtableBytes,
		Format: formatVersion, MetaKey: keyMeta, BadRow: errRow,
		Damage: func(path string, err error, unwritable bool) *DamagedError {
			return &DamagedError{Path: path, Err: err, Unwritable: unwritable}
		},
		Failed:  func(d *DamagedError) { notify(Notice{What: Failed, Detail: path, Err: d}) },
		Waiting: func(err error) { notify(Notice{What: Waiting, Detail: path, Err: err}) },
	})
	if err != nil {
		return nil, err
	}
	return &index{s}, nil
}

// event returns the event at an offset, nil when there is none.
func (x *index) event(from pebble.Reader, offset int64) (*Event, error) {
	row, found, err := x.Get(from, keyEvent(offset))
	if err != nil || !found {
		return nil, err
	}
	e, err := parseRow(offset, row)
	return e, x.Judge(err)
}

// offsetOf returns where the event of an id is.
func (x *index) offsetOf(from pebble.Reader, id string) (offset int64, found bool, err error) {
	row, found, err := x.Get(from, keyID(id))
	if err != nil || !found {
		return 0, false, err
	}
	if len(row) != 8 {
		return 0, false, x.Judge(errRow)
	}
	return i64At(row), true, nil
}

// progress returns how far the index is.
func (x *index) progress(from pebble.Reader) (progress, error) {
	row, found, err := x.Get(from, keyState)
	if err != nil || !found {
		return progress{newestMs: -1}, err
	}
	p, err := parseProgress(row)
	return p, x.Judge(err)
}

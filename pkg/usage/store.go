package usage

import (
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"path/filepath"
	"strconv"

	"tollgate/internal/rowstore"
	"tollgate/pkg/dedup"
)

// store is the embedded store of all partitions.
type store struct {
	*rowstore.Store[*DamagedError]
	seed uint64
}

// room and whatItIs name the store in messages.
const room, whatItIs = "usage", "the state"

// formatVersion is of keys and rows. Another one is refused.
const formatVersion = 2

// openStore opens the store, or makes it when there is none. What is there and can not be read is a DamagedError.
func openStore(cfg *Config) (*store, error) {
	const seedBytes = 8
	path, notify := cfg.storeDir(), cfg.Notify
	s, err := rowstore.Open(rowstore.Config[*DamagedError]{
		Room: room, What: whatItIs, Path: path, FS: cfg.StoreFS,
		CacheBytes: cfg.CacheBytes, MemtableBytes: cfg.MemtableBytes, Merger: merger,
		Format: formatVersion, MetaKey: keyMeta, BadRow: errRow, SeedBytes: seedBytes,
		Seed: func() []byte {
			seed := make([]byte, seedBytes)
			cfg.Random(seed)
			return seed
		},
		Damage: func(path string, err error, unwritable bool) *DamagedError {
			return &DamagedError{Path: path, Err: err, Unwritable: unwritable}
		},
		Failed:  func(d *DamagedError) { notify(Notice{What: Failed, Partition: -1, Detail: path, Err: d}) },
		Waiting: func(err error) { notify(Notice{What: Waiting, Partition: -1, Detail: path, Err: err}) },
	})
	if err != nil {
		return nil, err
	}
	return &store{s, binary.BigEndian.Uint64(s.Seed())}, nil
}

// row reads a row that is JSON.
func (s *store) row(key []byte, row any) (found bool, err error) {
	value, found, err := s.Get(s.DB, key)
	if err != nil || !found {
		return false, err
	}
	if json.Unmarshal(value, row) != nil {
		return false, s.Judge(errRow)
	}
	return true, nil
}

// each calls f for the rows from one key to before another, in order. What it is given is valid during the call.
func (s *store) each(from, to []byte, f func(key, value []byte) error) error {
	return s.Each(s.DB, from, to, func(key, value []byte) (bool, error) { return true, f(key, value) })
}

func (s *store) loadState(partition int32) (state, error) {
	value, found, err := s.Get(s.DB, appendTable(nil, partition, tableState))
	if err != nil || !found {
		return newState(), err
	}
	st, err := decodeState(value)
	return st, s.Judge(err)
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

// close closes the store, or leaves a failed one alone: a partition that was not waited for may still be in it.
func (s *store) close() error {
	if s.Usable() != nil {
		s.Abandon()
		return nil
	}
	return s.Close()
}

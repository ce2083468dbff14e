package usage

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strconv"

	"github.com/cockroachdb/pebble/v2"

	"tollgate/internal/rowstore"
	"tollgate/pkg/meterevent"
)

// Report is what Verify found.
type Report struct {
	Partitions []PartitionReport
}

// PartitionReport is of one partition.
type PartitionReport struct {
	Partition int32
	Offset    int64 // as far as it was recomputed
	Rows      int64 // compared
	// PartialFromMs is 0 when all rows were compared. Otherwise retention has removed records, and only totals of this time
	// and later could be recomputed.
	PartialFromMs int64
	// Differences tells of the first rows that differ; Different is how many do.
	Differences []string
	Different   int64
}

// differencesMax bounds what a report tells of one partition.
const differencesMax = 10

// Verify reads the identifiers of every partition that the state knows, recomputes its totals from the log into a store
// of its own, and compares. Nobody else has the state open meanwhile. The control plane has to be caught up. The temporary state stands
// in a directory beside the state, and is removed at the end.
func Verify(ctx context.Context, cfg Config) (report Report, err error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return report, err
	}
	kept, err := openStore(&cfg)
	if err != nil {
		return report, err
	}
	defer func() { err = errors.Join(err, kept.close()) }()

	other := cfg
	// When parts were closed depends on the time, and what they say is in the events topic: they are not compared.
	other.Dir, other.Metrics, other.Events = cfg.Dir+".verify", nil, nil
	if err := other.removeState(); err != nil {
		return report, err
	}
	other.Random = func(b []byte) { copy(b, appendU64(nil, int64(kept.seed))) }
	made, err := openStore(&other)
	if err != nil {
		return report, err
	}
	defer func() {
		if err = errors.Join(err, made.close()); err == nil {
			err = other.removeState()
		}
	}()
	for n := range int32(cfg.Log.Partitions(cfg.Topic)) {
		st, err := kept.loadState(n)
		if err != nil {
			return report, err
		}
		if st.Offset == 0 {
			continue
		}
		if err := kept.verifyIndex(&cfg, n); err != nil {
			return report, err
		}
		r, err := verifyPartition(ctx, &other, kept, made, n, st)
		if err != nil {
			return report, err
		}
		report.Partitions = append(report.Partitions, r)
	}
	return report, nil
}

// verifyIndex reads all that is on disk of a partition's identifiers: it is not compared, since it forgets, but a page
// that is rotten stops the worker when it comes to it.
func (s *store) verifyIndex(cfg *Config, n int32) error {
	x, err := s.openIndex(cfg, n)
	if err != nil {
		return err
	}
	return judgeIndexError(s.indexDir(cfg, n), errors.Join(x.Verify(), x.Close()))
}

// verifyPartition recomputes one partition up to the state's offset.
func verifyPartition(ctx context.Context, cfg *Config, kept, made *store, n int32, st state) (r PartitionReport, err error) {
	p, err := newPartition(cfg, n, made, newCounts(nil))
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, p.close()) }()
	f := &follower{w: &Worker{cfg: *cfg, store: made, counts: p.counts, parts: map[int32]*partition{}}, p: p}
	if err := f.begin(ctx); err != nil {
		return r, err
	}
	r = PartitionReport{Partition: n, Offset: st.Offset}
	if p.state.Offset > 0 {
		r.PartialFromMs = 1
	}
	if err := f.applyUntil(ctx, st.Offset); err != nil {
		return r, err
	}
	if err := p.flush(ctx, false); err != nil {
		return r, err
	}
	if r.PartialFromMs != 0 && len(p.state.Gaps) > 0 {
		// What has its hour behind the gap is whole; the hour that the gap ends in is not.
		r.PartialFromMs = floorTo(p.state.Gaps[0].ToMs, hourMs) + hourMs
	}
	return r, compareStates(kept, made, &r)
}

// applyUntil applies records up to an offset.
func (f *follower) applyUntil(ctx context.Context, end int64) error {
	p := f.p
	if p.state.Offset >= end {
		return nil
	}
	reader, err := p.cfg.Log.NewReader(p.cfg.Topic, p.number, p.state.Offset)
	if err != nil {
		return err
	}
	defer reader.Close()
	for p.state.Offset < end {
		records, err := reader.Next(ctx)
		if err != nil {
			return err
		}
		for len(records) > 0 && records[len(records)-1].Offset >= end {
			records = records[:len(records)-1]
		}
		if len(records) == 0 {
			break // a gap of offsets reaches over the end
		}
		if err := p.apply(ctx, records, p.meters); err != nil {
			return err
		}
		if p.bucketsDirty > bucketsMax || p.batch.Len() > batchBytes || len(p.cancels) > cancelsMax {
			if err := p.flush(ctx, false); err != nil {
				return err
			}
		}
	}
	return nil
}

// verifiedTables are those with totals in them.
var verifiedTables = []byte{tableMinutes, tableHours, tableEvents, tableSurvivors}

// compareStates compares the rows of one partition.
func compareStates(kept, made *store, r *PartitionReport) error {
	for _, table := range verifiedTables {
		from := appendTable(nil, r.Partition, table)
		a, err := kept.Iterator(kept.DB, from, prefixEnd(from))
		if err != nil {
			return err
		}
		b, err := made.Iterator(made.DB, from, prefixEnd(from))
		if err != nil {
			return errors.Join(err, a.Close())
		}
		compareRows(a, b, r)
		if err := errors.Join(kept.Judge(a.Error()), made.Judge(b.Error()), a.Close(), b.Close()); err != nil {
			return err
		}
	}
	return nil
}

// compareRows walks over both tables at once.
func compareRows(kept, made *pebble.Iterator, r *PartitionReport) {
	haveKept, haveMade := kept.First(), made.First()
	for haveKept || haveMade {
		order := 0
		switch {
		case !haveMade:
			order = -1
		case !haveKept:
			order = 1
		default:
			order = bytes.Compare(kept.Key(), made.Key())
		}
		key := made
		if order <= 0 {
			key = kept
		}
		if r.PartialFromMs == 0 || rowTime(key.Key()) >= r.PartialFromMs {
			r.Rows++
			switch {
			case order < 0:
				r.differ(kept.Key(), kept.Value(), nil)
			case order > 0:
				r.differ(made.Key(), nil, made.Value())
			case !bytes.Equal(kept.Value(), made.Value()):
				r.differ(kept.Key(), kept.Value(), made.Value())
			}
		}
		if order <= 0 {
			haveKept = kept.Next()
		}
		if order >= 0 {
			haveMade = made.Next()
		}
	}
}

// rowTime is when what a row totals begins.
func rowTime(key []byte) int64 {
	switch key[tableAt] {
	case tableMinutes:
		return i32At(key[len(key)-4:]) * minuteMs
	case tableEvents:
		return i64At(key[len(key)-16:])
	}
	return i32At(key[len(key)-4:]) * hourMs
}

func (r *PartitionReport) differ(key, kept, made []byte) {
	if r.Different++; len(r.Differences) < differencesMax {
		r.Differences = append(r.Differences, fmt.Sprintf("%s: the state has %s, the log gives %s", rowName(key), rowValue(key, kept), rowValue(key, made)))
	}
}

// rowName tells a person which row it is.
func rowName(key []byte) string {
	names := map[byte]string{tableMinutes: "minute", tableHours: "hour", tableEvents: "event", tableSurvivors: "newest event of hour"}
	meter, rest, ok1 := cutBytes(key[tableKeyBytes+4:])
	customer, _, ok2 := cutBytes(rest)
	if !ok1 || !ok2 {
		return fmt.Sprintf("row %x", key)
	}
	return fmt.Sprintf("meter %s, customer %s, %s %s", meter, customer, names[key[tableAt]], clockText(rowTime(key)))
}

func rowValue(key, value []byte) string {
	if value == nil {
		return "nothing"
	}
	var d *meterevent.Decimal
	var t total
	var k kept
	switch key[tableAt] {
	case tableMinutes, tableHours:
		if t.decode(value) != nil {
			return fmt.Sprintf("bytes %x", value)
		}
		return fmt.Sprintf("%s in %d events", t.sum.AppendText(nil), t.count)
	case tableEvents:
		if k.decodeValue(value) != nil {
			return fmt.Sprintf("bytes %x", value)
		}
		d = &k.value
	default:
		if k.decode(value) != nil {
			return fmt.Sprintf("bytes %x", value)
		}
		d = &k.value
	}
	return string(d.AppendText(nil))
}

// Rebuild sets the state aside: the next worker counts anew from the log. It returns where the old one is, or nothing
// when there is none. Nobody has the state open.
func Rebuild(cfg Config) (aside string, err error) {
	cfg = cfg.withDefaults()
	if cfg.Dir == "" {
		return "", errors.New("usage: Dir is required")
	}
	now := cfg.Now()
	if aside, err = rowstore.SetAside(cfg.StoreFS, room, whatItIs, cfg.storeDir(), now); err != nil {
		return "", err
	}
	indexes := filepath.Join(cfg.Dir, "dedup")
	err = cfg.FS.Rename(indexes, rowstore.AsideName(indexes, now))
	if errors.Is(err, fs.ErrNotExist) {
		return aside, nil
	}
	if err == nil {
		err = cfg.FS.SyncDir(cfg.Dir) // the name is gone for good
	}
	if err != nil {
		return aside, fmt.Errorf("usage: setting the index of identifiers aside: %w", err)
	}
	return aside, nil
}

// removeState removes what a recomputation left.
func (c *Config) removeState() error {
	if err := c.StoreFS.RemoveAll(c.Dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("usage: removing %s: %w", c.Dir, err)
	}
	return c.removeIndexes(filepath.Join(c.Dir, "dedup"))
}

// removeIndexes removes the files under a directory. Empty directories stay: package vfs has no call for them.
func (c *Config) removeIndexes(dir string) error {
	entries, err := c.FS.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range entries {
		path := filepath.Join(dir, e.Name)
		if e.Dir {
			err = c.removeIndexes(path)
		} else {
			err = c.FS.Remove(path)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (p *PartitionReport) String() string {
	s := "partition " + strconv.Itoa(int(p.Partition)) + ": " + strconv.FormatInt(p.Rows, 10) + " rows compared up to offset " + strconv.FormatInt(p.Offset, 10)
	if p.PartialFromMs != 0 {
		s += ", those from " + clockText(p.PartialFromMs) + " on: older records are not in the log any more"
	}
	return s + ", " + strconv.FormatInt(p.Different, 10) + " differ"
}

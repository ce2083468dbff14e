package journal

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"
	"unicode/utf8"

	"tollgate/internal/vfs"
	"tollgate/pkg/recordbatch"
)

// DumpOptions say what Dump writes.
type DumpOptions struct {
	Topic     string // "": all
	Partition int32  // -1: all
	Offset    int64  // the first one
	Limit     int    // records a partition; 0: no limit
	Batches   bool   // a line for each batch instead of each record
}

// dumpedRecord is a line of the dump.
type dumpedRecord struct {
	Topic       string          `json:"topic"`
	Partition   int32           `json:"partition"`
	Offset      int64           `json:"offset"`
	Time        string          `json:"time"`
	Key         string          `json:"key,omitempty"`
	Value       json.RawMessage `json:"value,omitempty"`        // when it is JSON, as ours are
	ValueBase64 string          `json:"value_base64,omitempty"` // otherwise
}

type dumpedBatch struct {
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	File      string `json:"file"`
	Position  int64  `json:"position"`
	Bytes     int32  `json:"bytes"`
	Offset    int64  `json:"offset"`
	Records   int32  `json:"records"`
	Codec     string `json:"codec"`
	Time      string `json:"time"`
	MaxTime   string `json:"max_time"`
	CRC       string `json:"crc"`
}

// Dump writes records or batches of the journal in dir as JSON, one to a line. The journal may be open: what is behind
// the last whole batch is passed over. The error is a *RotError where a segment is damaged; a topic or partition that
// was asked for and is not there is an error too.
func Dump(fs vfs.FS, dir string, o DumpOptions, w io.Writer) error {
	partitions, err := findPartitions(fs, dir)
	if err != nil {
		return fmt.Errorf("journal: dump: %w", err)
	}
	asked, names := 0, make([]string, len(partitions))
	for i, p := range partitions {
		names[i] = filepath.Base(p.dir)
		if (o.Topic != "" && o.Topic != p.topic) || (o.Partition >= 0 && o.Partition != p.partition) {
			continue
		}
		asked++
		e := json.NewEncoder(w)
		e.SetEscapeHTML(false)
		if err := p.dump(fs, o, e); err != nil {
			return fmt.Errorf("journal: dump: %w", err)
		}
	}
	if asked == 0 && (o.Topic != "" || o.Partition >= 0) {
		return fmt.Errorf("journal: dump: %s in %s; there are: %s", o.missing(), dir, strings.Join(names, ", "))
	}
	return nil
}

func (o DumpOptions) missing() string {
	switch {
	case o.Partition < 0:
		return fmt.Sprintf("no topic %q", o.Topic)
	case o.Topic == "":
		return fmt.Sprintf("no partition %d of any topic", o.Partition)
	}
	return fmt.Sprintf("no partition %d of topic %q", o.Partition, o.Topic)
}

func (p *found) dump(fs vfs.FS, o DumpOptions, e *json.Encoder) error {
	left := o.Limit
	for i, s := range p.segments {
		limit := p.limit(i)
		if limit >= 0 && limit <= o.Offset {
			continue
		}
		if more, err := p.dumpSegment(fs, s, limit, o, &left, e); err != nil || !more {
			return err
		}
	}
	return nil
}

func (p *found) dumpSegment(
	fs vfs.FS, s *segment, limit int64, o DumpOptions, left *int, e *json.Encoder,
) (more bool, err error) {
	f, err := fs.OpenFile(s.path, os.O_RDONLY)
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if s.end, err = f.Size(); err != nil { // compaction may have put another file there
		return false, err
	}
	w := newWalker(f, s.end, 0, s.base, limit)
	var scanner recordbatch.Scanner
	for {
		position, ok := w.next(true)
		if !ok {
			break
		}
		if w.offset <= o.Offset {
			continue
		}
		if more, err := p.dumpBatch(s, position, w, &scanner, o, left, e); err != nil || !more {
			return false, err
		}
	}
	if w.err != nil || w.fault == "" {
		return true, w.err
	}
	if p.torn(s, flaw{position: w.position, bytes: s.end - w.position}, len(p.segments)-1) && limit < 0 {
		return true, nil
	}
	return false, w.rot(s.path)
}

func (p *found) dumpBatch(
	s *segment, position int64, w *walker, scanner *recordbatch.Scanner, o DumpOptions, left *int, e *json.Encoder,
) (more bool, err error) {
	h := &w.header
	if o.Batches {
		err := e.Encode(dumpedBatch{
			Topic: p.topic, Partition: p.partition, File: s.path, Position: position, Bytes: h.Length, Offset: h.BaseOffset,
			Records: h.Records, Codec: h.Codec().String(), Time: dumpedTime(h.BaseTimestamp), MaxTime: dumpedTime(h.MaxTimestamp),
			CRC: fmt.Sprintf("%08x", h.CRC),
		})
		return count(left), err
	}
	_ = scanner.Reset(w.batch, decompressedBytesMax) // Err says the same
	for scanner.Next() {
		r := scanner.Record()
		if r.Offset < o.Offset {
			continue
		}
		if err := e.Encode(p.dumpRecord(r)); err != nil {
			return false, err
		}
		if !count(left) {
			return false, nil
		}
	}
	if err := scanner.Err(); err != nil {
		return false, rotf(s.path, position, "%v", err)
	}
	return true, nil
}

// count counts one line down; false when it was the last one wanted.
func count(left *int) bool {
	*left--
	return *left != 0
}

func (p *found) dumpRecord(r recordbatch.Record) dumpedRecord {
	d := dumpedRecord{
		Topic: p.topic, Partition: p.partition, Offset: r.Offset, Time: dumpedTime(r.TimestampMs), Key: string(r.Key),
	}
	if utf8.Valid(r.Value) && json.Valid(r.Value) {
		d.Value = json.RawMessage(r.Value)
	} else {
		d.ValueBase64 = base64.StdEncoding.EncodeToString(r.Value)
	}
	return d
}

func dumpedTime(ms int64) string { return time.UnixMilli(ms).UTC().Format("2006-01-02T15:04:05.000Z") }

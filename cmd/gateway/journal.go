package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"tollgate/internal/vfs"
	"tollgate/pkg/commitlog/journal"
)

// journalCommand looks at the files of the embedded log.
type journalCommand struct {
	Verify journalVerify `cmd:"" help:"Read every byte and say what is damaged; exit 1 if anything is. The gateway must be stopped."`
	Dump   journalDump   `cmd:"" help:"Print records as JSON, one to a line. The gateway may run."`
	Repair journalRepair `cmd:"" help:"Set damaged bytes aside and make the rest readable. The gateway must be stopped."`
}

// journalPlace finds the journal: the flag or variable alone, since the file's other settings do not matter here.
type journalPlace struct {
	DataDir string `help:"The gateway's data dir (default ${default})." default:"./data" env:"GATEWAY_DATA_DIR" placeholder:"DIR"`
	Spill   bool   `help:"The journal of what is spilled while Kafka is away, in place of the embedded log."`
}

func (p journalPlace) dir() string {
	if p.Spill {
		return filepath.Join(p.DataDir, spillFolder)
	}
	return filepath.Join(p.DataDir, "journal")
}

// flags are those that name this journal.
func (p journalPlace) flags() string {
	if p.Spill {
		return "--spill --data-dir " + p.DataDir
	}
	return "--data-dir " + p.DataDir
}

// there is nil when the folder of a journal can be read.
func (p journalPlace) there() error {
	if _, err := vfs.OS.ReadDir(p.dir()); err != nil {
		return fmt.Errorf("%w; is --data-dir right, and may this user read it?", err)
	}
	return nil
}

// noSpill tells, on w, that there is no spill where one is asked for, on a data dir that is a gateway's. A folder that is
// not there says nothing by itself: the data dir may be another one.
func (p journalPlace) noSpill(w io.Writer) bool {
	if _, err := vfs.OS.ReadDir(p.dir()); !p.Spill || !errors.Is(err, fs.ErrNotExist) {
		return false
	}
	if _, err := vfs.OS.ReadDir((&Config{DataDir: p.DataDir}).stateDir()); err != nil {
		return false
	}
	fmt.Fprintf(w, "Nothing is spilled in %s: no gateway was started there with spill.enabled, which makes %s, or somebody took that away.\n", p.DataDir, p.dir())
	return true
}

// alone runs f while no gateway has the data dir. Without a spill that is asked for there is nothing to do.
func (p journalPlace) alone(w io.Writer, f func() error) (err error) {
	if p.noSpill(w) {
		return nil
	}
	if err := p.there(); err != nil {
		return err
	}
	return p.aloneIn(p.dir(), f)
}

// aloneIn is alone for those who work on another folder of the data dir.
func (p journalPlace) aloneIn(dir string, f func() error) (err error) {
	if err := owned(dir); err != nil {
		return err
	}
	lock, err := vfs.Lock(filepath.Join(p.DataDir, "lock"))
	var held *vfs.LockedError
	switch {
	case errors.As(err, &held):
		return fmt.Errorf("%w; stop the gateway first", err)
	case errors.Is(err, syscall.EROFS):
		return f() // a snapshot or backup: no gateway works in it
	case err != nil:
		return err
	}
	defer func() { err = errors.Join(err, lock.Close()) }()
	return f()
}

// owned refuses to work as another user than the gateway's, root as a rule: the gateway could not open the files that
// are made here, nor the lock.
func owned(dir string) error {
	info, err := os.Stat(dir)
	if err != nil {
		return err
	}
	if s, ok := info.Sys().(*syscall.Stat_t); ok && int(s.Uid) != os.Geteuid() {
		return fmt.Errorf("%s belongs to user %d and this is user %d, whose files the gateway could not open; "+
			"run it as that user, for example with `sudo -u '#%d'`", dir, s.Uid, os.Geteuid(), s.Uid)
	}
	return nil
}

type journalVerify struct{ journalPlace }

func (c *journalVerify) Run(m *Main) error {
	return c.alone(m.Stdout, func() error {
		faults, err := journal.Verify(vfs.OS, c.dir(), m.Stdout)
		if err == nil && faults > 0 {
			err = fmt.Errorf("%d faults in %s; `gateway journal repair %s` sets damaged bytes aside and keeps the rest", faults, c.dir(), c.flags())
		}
		return err
	})
}

type journalDump struct {
	journalPlace
	Topic     string `help:"Only this topic."`
	Partition int32  `help:"Only this partition; -1: all." default:"-1" placeholder:"N"`
	Offset    int64  `help:"Begin at this offset." placeholder:"N"`
	Limit     int    `help:"At most so many records of each partition; 0: all." placeholder:"N"`
	Batches   bool   `help:"A line for each batch, with its place in its file, instead of each record."`
}

func (c *journalDump) Run(m *Main) error {
	if c.noSpill(m.Stderr) {
		return nil
	}
	if err := c.there(); err != nil {
		return err
	}
	w := bufio.NewWriterSize(m.Stdout, 64<<10)
	err := journal.Dump(vfs.OS, c.dir(), journal.DumpOptions{
		Topic: c.Topic, Partition: c.Partition, Offset: c.Offset, Limit: c.Limit, Batches: c.Batches,
	}, w)
	return errors.Join(err, w.Flush())
}

type journalRepair struct{ journalPlace }

func (c *journalRepair) Run(m *Main) error {
	return c.alone(m.Stdout, func() error { return journal.Repair(vfs.OS, c.dir(), time.Now(), m.Stdout) })
}

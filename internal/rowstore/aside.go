package rowstore

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// AsideName is what a file or directory is called that was set aside at a time.
func AsideName(path string, now time.Time) string {
	return path + ".aside-" + strings.Replace(now.UTC().Format("2006-01-02T150405.000Z"), ".", "", 1)
}

// SetAside renames the store in dir, so that the next Open makes another one, and returns its AsideName, once a power cut
// can not bring it back; empty when there is none. One that is open stays where it is. room and what are for messages, as
// in Config.
func SetAside(disk vfs.FS, room, what, dir string, now time.Time) (aside string, err error) {
	lock, err := pebble.LockDirectory(dir, disk)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("%s: %s in %s is in use; stop the gateway first: %w", room, what, dir, err)
	}
	if err := lock.Close(); err != nil {
		return "", fmt.Errorf("%s: %s: %w", room, dir, err)
	}
	aside = AsideName(dir, now)
	if err := disk.Rename(dir, aside); err != nil {
		return "", fmt.Errorf("%s: setting %s aside: %w", room, what, err)
	}
	if err := syncDir(disk, disk.PathDir(dir)); err != nil {
		return "", fmt.Errorf("%s: %s was moved to %s, and a power cut may undo that: %w", room, what, aside, err)
	}
	return aside, nil
}

// syncDir makes the names in a directory durable.
func syncDir(disk vfs.FS, dir string) error {
	d, err := disk.OpenDir(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

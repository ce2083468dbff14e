package thinevent

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"github.com/cockroachdb/pebble/v2"
	pebblevfs "github.com/cockroachdb/pebble/v2/vfs"
)

// Rebuild sets the index in dir aside, so that the next start makes it anew from the topic, and returns where it is now;
// empty when there is none. now gives the name. Nobody has the index open.
func Rebuild(dir string, now time.Time) (aside string, err error) {
	return rebuild(pebblevfs.Default, dir, now)
}

func rebuild(disk pebblevfs.FS, dir string, now time.Time) (aside string, err error) {
	if dir == "" {
		return "", errors.New("thinevent: the directory of the index is required")
	}
	lock, err := pebble.LockDirectory(dir, disk)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("thinevent: the index of events in %s is in use; stop the gateway first: %w", dir, err)
	}
	if err := lock.Close(); err != nil {
		return "", fmt.Errorf("thinevent: %s: %w", dir, err)
	}
	aside = dir + ".aside-" + strings.NewReplacer(":", "", ".", "").Replace(clockText(now.UnixMilli()))
	if err := disk.Rename(dir, aside); err != nil {
		return "", fmt.Errorf("thinevent: setting the index of events aside: %w", err)
	}
	return aside, nil
}

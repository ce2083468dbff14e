package thinevent

import (
	"errors"
	"time"

	pebblevfs "github.com/cockroachdb/pebble/v2/vfs"

	"tollgate/internal/rowstore"
)

// Rebuild sets the index in dir aside, so that the next start makes it anew from the topic, and returns where it is now;
// empty when there is none. now gives the name. Nobody has the index open.
func Rebuild(dir string, now time.Time) (aside string, err error) {
	if dir == "" {
		return "", errors.New("thinevent: the directory of the index is required")
	}
	return rowstore.SetAside(pebblevfs.Default, room, whatItIs, dir, now)
}

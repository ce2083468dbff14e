package fleet

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

const (
	keyPrefix       = "usage/"
	ownerObject     = "usage_owner"
	addressBytesMax = 300
	gatewayBytesMax = 100
	// timeForm is RFC 3339 in UTC with three decimals, as in every record of ours.
	timeForm = "2006-01-02T15:04:05.000Z"
)

// announcement is a record of the cursors topic: who runs a partition, since when, and when that was said.
type announcement struct {
	Object    string `json:"object"`
	Partition int32  `json:"partition"`
	Gateway   string `json:"gateway"`
	Address   string `json:"address"`
	Since     string `json:"since"`
	At        string `json:"at"`
}

func announcementKey(partition int32) []byte {
	return strconv.AppendInt([]byte(keyPrefix), int64(partition), 10)
}

// record is the key and the value.
func (a announcement) record() (key, value []byte) {
	value, err := json.Marshal(a)
	if err != nil {
		panic(fmt.Sprintf("BUG: fleet: an announcement that is no JSON: %v", err))
	}
	return announcementKey(a.Partition), value
}

// parseAnnouncement reads a record. ours is false for a key that is not about owners of usage partitions: other rooms
// may keep theirs in the same topic.
func parseAnnouncement(key, value []byte) (a announcement, at time.Time, ours bool, err error) {
	text, ours := strings.CutPrefix(string(key), keyPrefix)
	if !ours {
		return a, at, false, nil
	}
	partition, err := strconv.ParseInt(text, 10, 32)
	if err != nil || partition < 0 {
		return a, at, true, fmt.Errorf("the key %q names no partition", key)
	}
	if value == nil { // a tombstone: nobody runs it
		return announcement{Partition: int32(partition)}, at, true, nil
	}
	if err := json.Unmarshal(value, &a); err != nil {
		return a, at, true, err
	}
	at, err = time.Parse(timeForm, a.At)
	switch {
	case err != nil:
		return a, at, true, err
	case a.Object != ownerObject || int64(a.Partition) != partition:
		return a, at, true, fmt.Errorf("the value of %q is not about its partition", key)
	case a.Gateway == "" || len(a.Gateway) > gatewayBytesMax || a.Address == "" || len(a.Address) > addressBytesMax:
		return a, at, true, errors.New("the announcement names no gateway or no address")
	}
	return a, at, true, nil
}

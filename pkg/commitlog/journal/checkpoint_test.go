package journal

import (
	"os"
	"testing"

	"tollgate/internal/vfs"
)

// Whatever a power loss makes of the slot that is being written, the mark that was synced last can be read.
func TestTheSyncedMarkSurvivesAnyDamageToTheSlotBeingWritten(t *testing.T) {
	fs := vfs.NewMem(1)
	c := newCheckpoint(fs, ".")
	if err := c.create(mark{}); err != nil {
		t.Fatal(err)
	}
	for round := range int64(10) {
		synced := mark{base: 0, position: round * 1000, next: round}
		if err := c.write(synced); err != nil {
			t.Fatal(err)
		}
		if err := c.sync(); err != nil {
			t.Fatal(err)
		}
		for i := range int64(3) {
			if err := c.write(mark{position: round*1000 + i, next: round}); err != nil {
				t.Fatal(err)
			}
		}
		f, err := fs.OpenFile(checkpointName, os.O_RDWR)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteAt(c.slot*slotDistance, make([]byte, slotBytes)); err != nil {
			t.Fatal(err)
		}
		again := newCheckpoint(fs, ".")
		if got, found, err := again.read(); got != synced || !found || err != nil {
			t.Fatalf("round %d: read %v, %t, %v, want %v", round, got, found, err, synced)
		}
	}
}

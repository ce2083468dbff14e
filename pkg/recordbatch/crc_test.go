package recordbatch

import (
	"hash/crc32"
	"math/rand/v2"
	"testing"
)

// TestCRCsOfPartsMakeTheCRCOfTheWhole holds the algebra against the one that reads everything.
func TestCRCsOfPartsMakeTheCRCOfTheWhole(t *testing.T) {
	dice := rand.New(rand.NewPCG(1, 2))
	whole := make([]byte, 100_000)
	for i := range whole {
		whole[i] = byte(dice.Uint32())
	}
	for range 2_000 {
		n := dice.IntN(len(whole) + 1)
		if dice.IntN(2) == 0 {
			n = dice.IntN(200)
		}
		cut := dice.IntN(n + 1)
		first, second := crc32.Checksum(whole[:cut], castagnoli), crc32.Checksum(whole[cut:n], castagnoli)
		if got, want := timesX8(first, n-cut)^second, crc32.Checksum(whole[:n], castagnoli); got != want {
			t.Fatalf("%d and %d bytes: %08x, want %08x", cut, n-cut, got, want)
		}
	}
}

// TestEveryBatchIsValidFromSealOn: of all sizes around those at which records are taken into the CRC, with any producer
// afterwards, several times.
func TestEveryBatchIsValidFromSealOn(t *testing.T) {
	dice := rand.New(rand.NewPCG(3, 4))
	var b Builder
	var buf []byte
	for range 3_000 {
		b.Reset(buf)
		for range 1 + dice.IntN(200) {
			b.Append(dice.Int64N(1<<40), AppendBody(nil, []byte("key"), make([]byte, dice.IntN(1+dice.IntN(2*crcStep)))))
			if b.Len() > 20*crcStep || dice.IntN(40) == 0 {
				break
			}
		}
		batch := b.Seal()
		if _, err := Verify(batch); err != nil {
			t.Fatalf("%d bytes, sealed: %v", len(batch), err)
		}
		for range dice.IntN(4) {
			p := Producer{ID: dice.Int64(), Epoch: int16(dice.Uint32()), Sequence: int32(dice.Uint32())}
			if dice.IntN(3) == 0 {
				p = NoProducer
			}
			Stamp(batch, p)
			if h, err := Verify(batch); err != nil || h.Producer != p {
				t.Fatalf("%d bytes, stamped %+v: %+v, %v", len(batch), p, h.Producer, err)
			}
		}
		buf = batch
	}
}

// TestStampDoesNotHideWhatChanged: bytes that were changed behind Seal are found, whatever was stamped since.
func TestStampDoesNotHideWhatChanged(t *testing.T) {
	var b Builder
	b.Reset(nil)
	for range 100 {
		b.Append(1, AppendBody(nil, nil, make([]byte, 300)))
	}
	batch := b.Seal()
	batch[len(batch)/2] ^= 1
	Stamp(batch, Producer{ID: 1, Epoch: 2, Sequence: 3})
	if _, err := Verify(batch); err == nil {
		t.Fatal("a bit was changed, and the CRC does not say so")
	}
}

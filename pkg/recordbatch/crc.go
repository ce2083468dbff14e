package recordbatch

import (
	"encoding/binary"
	"hash/crc32"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// crcStep is how many bytes of records a Builder lets gather before it takes them into the CRC: enough for crc32 to be at
// its fastest, and few enough that they still are in the processor's first cache.
const crcStep = 8 << 10

// setCRC computes the CRC from all that it covers.
func setCRC(batch []byte) {
	binary.BigEndian.PutUint32(batch[posCRC:], crc32.Checksum(batch[posAttributes:], castagnoli))
}

// A CRC is the remainder of a polynomial over GF(2): CRCs add up by exclusive or, and n zero bytes behind a string multiply
// its CRC by x^8n. So the CRC of two strings behind one another is timesX8(that of the first, length of the second) ^ that
// of the second; what the algorithm inverts at both ends cancels out.

// squares[k] is x^(2^k) by the CRC's polynomial.
var squares = func() (s [32]uint32) {
	s[0] = 1 << 30 // x: the highest bit is x^0
	for k := range s[1:] {
		s[k+1] = times(s[k], s[k])
	}
	return s
}()

// timesX8 is a·x^8n.
func timesX8(a uint32, n int) uint32 {
	for k := 3; n > 0; n >>= 1 {
		if n&1 != 0 {
			a = times(a, squares[k])
		}
		k++
	}
	return a
}

// times is a·b by the CRC's polynomial. The highest bit is x^0.
func times(a, b uint32) (product uint32) {
	for ; a != 0; a <<= 1 {
		if a>>31 != 0 {
			product ^= b
		}
		carry := b & 1
		b = b>>1 ^ crc32.Castagnoli&-carry
	}
	return product
}

package meterevent

import (
	"encoding/binary"
	"errors"
	"math/big"
	"math/bits"
	"strconv"
)

// The binary form of a Decimal, the same bytes for equal numbers; integers are unsigned varints:
//
//	┌──────────────────────┬───────────┬─────────────────────────────┐
//	│ scale × 2 + negative │ length    │ units, without sign         │
//	│ varint, scale ≤ 500  │ varint    │ big-endian, first byte ≠ 0  │
//	└──────────────────────┴───────────┴─────────────────────────────┘
//
// The units end with the digit 0 only at scale 0, and 0 is the two bytes 0 0.

// errDecimalBinary says that bytes are not the binary form of a Decimal.
var errDecimalBinary = errors.New("meterevent: not the binary form of a decimal number")

// AppendText appends d as a JSON number with all its digits: no exponent, no zeros at the end behind a point.
func (d *Decimal) AppendText(dst []byte) []byte {
	s := d.stripped()
	if s.Sign() < 0 {
		dst = append(dst, '-')
	}
	start := len(dst)
	dst = s.appendUnits(dst)
	if s.scale == 0 {
		return dst
	}
	digits := len(dst) - start
	if missing := s.scale + 1 - digits; missing > 0 {
		for range missing {
			dst = append(dst, '0')
		}
		copy(dst[start+missing:], dst[start:start+digits])
		for i := range missing {
			dst[start+i] = '0'
		}
	}
	dst = append(dst, 0)
	point := len(dst) - 1 - s.scale
	copy(dst[point+1:], dst[point:])
	dst[point] = '.'
	return dst
}

// appendUnits appends the digits of the units.
func (d *Decimal) appendUnits(dst []byte) []byte {
	if d.big != nil {
		start := len(dst)
		dst = d.big.Append(dst, 10)
		if dst[start] == '-' {
			dst = append(dst[:start], dst[start+1:]...)
		}
		return dst
	}
	_, hi, lo := d.magnitude()
	if hi == 0 {
		return strconv.AppendUint(dst, lo, 10)
	}
	const split = wordDigitsMax
	high, low := div128(hi, lo, tenPowers[split])
	if high.hi != 0 {
		panic("BUG: meterevent: 127 bits have more than 39 digits")
	}
	dst = strconv.AppendUint(dst, high.lo, 10)
	start := len(dst)
	dst = append(dst, "0000000000000000000"...)
	for i := start + split - 1; low > 0; i-- {
		dst[i] += byte(low % 10)
		low /= 10
	}
	return dst
}

// AppendBinary appends d's binary form.
func (d *Decimal) AppendBinary(dst []byte) []byte {
	s := d.stripped()
	head := uint64(s.scale) << 1
	if s.Sign() < 0 {
		head |= 1
	}
	dst = binary.AppendUvarint(dst, head)
	if s.big != nil {
		units := s.big.Bytes()
		return append(binary.AppendUvarint(dst, uint64(len(units))), units...)
	}
	_, hi, lo := s.magnitude()
	var units [16]byte
	binary.BigEndian.PutUint64(units[:8], hi)
	binary.BigEndian.PutUint64(units[8:], lo)
	zeros := bits.LeadingZeros64(hi)
	if hi == 0 {
		zeros = 64 + bits.LeadingZeros64(lo)
	}
	from := zeros / 8
	return append(append(dst, byte(len(units)-from)), units[from:]...)
}

// Decode sets d from the binary form that src begins with, and returns what follows it. It refuses what AppendBinary
// does not write, and then leaves d alone.
func (d *Decimal) Decode(src []byte) (rest []byte, err error) {
	head, n := binary.Uvarint(src)
	if n <= 0 || n > 2 || head>>1 > DecimalScaleMax || n == 2 && head < 0x80 {
		return nil, errDecimalBinary
	}
	src = src[n:]
	size, n := binary.Uvarint(src)
	if n <= 0 || n > 1 && size < 1<<(7*(n-1)) || size > uint64(len(src)-n) {
		return nil, errDecimalBinary
	}
	units, rest := src[n:n+int(size)], src[n+int(size):]
	negative, scale := head&1 != 0, int(head>>1)
	if size == 0 {
		if head != 0 {
			return nil, errDecimalBinary
		}
		*d = Decimal{}
		return rest, nil
	}
	if units[0] == 0 {
		return nil, errDecimalBinary
	}
	var number Decimal
	if size < 16 || size == 16 && units[0] < 0x80 {
		var hi, lo uint64
		for _, c := range units {
			hi, lo = hi<<8|lo>>56, lo<<8|uint64(c)
		}
		number.scale = scale
		number.setMagnitude(negative, hi, lo)
	} else {
		number = Decimal{scale: scale, big: new(big.Int).SetBytes(units)}
		if negative {
			number.big.Neg(number.big)
		}
	}
	if s := number.stripped(); s.scale != scale {
		return nil, errDecimalBinary
	}
	*d = number
	return rest, nil
}

// stripped is d without zeros at the end behind the point.
func (d *Decimal) stripped() Decimal {
	if d.scale == 0 || d.lo&1 != 0 && d.big == nil {
		return *d
	}
	if d.big != nil {
		return fromBig(d.big, d.scale)
	}
	s := *d
	negative, hi, lo := d.magnitude()
	if hi|lo == 0 {
		return Decimal{}
	}
	for s.scale > 0 {
		q, rest := div128(hi, lo, 10)
		if rest != 0 {
			break
		}
		hi, lo, s.scale = q.hi, q.lo, s.scale-1
	}
	s.setMagnitude(negative, hi, lo)
	return s
}

type uint128 struct{ hi, lo uint64 }

// div128 divides by a divisor that is not 0.
func div128(hi, lo, by uint64) (quotient uint128, rest uint64) {
	if hi == 0 {
		return uint128{0, lo / by}, lo % by
	}
	quotient.hi, rest = hi/by, hi%by
	quotient.lo, rest = bits.Div64(rest, lo, by)
	return quotient, rest
}

package meterevent

import (
	"errors"
	"math/big"
	"math/bits"
)

// DecimalScaleMax is how many digits behind the point a Decimal may have: more than a payload's value has room for.
const DecimalScaleMax = 500

// Decimal is an exact decimal number of any size with up to DecimalScaleMax digits behind the point, for sums of the
// values that CheckValue takes. The zero value is 0. A Decimal may be copied; changing a copy leaves the other as it is.
// Two that are equal may differ inside: compare with Cmp, or their binary or text forms, which are canonical.
//
// It is a whole number of units of 10^-scale. Up to 127 bits, 38 digits, that stands in two words and nothing allocates:
// ten billion values of 15 digits of the same scale can be added, or values whose digits lie 20 places apart. Beyond, it
// is a big.Int, that is never written to once it is somebody's, and only there adding allocates.
type Decimal struct {
	hi    int64 // with lo the units in two's complement, while big is nil
	lo    uint64
	scale int
	big   *big.Int
}

// tenPowers are the powers of ten that fit a word.
var tenPowers = func() (powers [20]uint64) {
	powers[0] = 1
	for i := 1; i < len(powers); i++ {
		powers[i] = powers[i-1] * 10
	}
	return powers
}()

// bigTen is 10.
var bigTen = big.NewInt(10)

// errDecimalText says what is no decimal number.
var errDecimalText = errors.New("meterevent: not a decimal number: it must be -?digits[.digits] with at most 500 digits behind the point")

// wordDigitsMax digits surely fit a word.
const wordDigitsMax = 19

// DecimalOf is a whole number.
func DecimalOf(n int64) Decimal { return Decimal{hi: n >> 63, lo: uint64(n)} }

// ParseDecimal reads -?digits[.digits]. It takes any number of digits, of which CheckValue takes 15.
func ParseDecimal(text []byte) (Decimal, error) {
	digits := text
	negative := len(text) > 0 && text[0] == '-'
	if negative {
		digits = text[1:]
	}
	var units uint64
	point, significant := -1, 0
	for i, c := range digits {
		switch {
		case isDigit(c):
			if units != 0 || c != '0' {
				significant++
			}
			if significant <= wordDigitsMax {
				units = units*10 + uint64(c-'0')
			}
		case c == '.' && point < 0:
			point = i
		default:
			return Decimal{}, errDecimalText
		}
	}
	scale := 0
	if point >= 0 {
		scale = len(digits) - 1 - point
	}
	if len(digits) == 0 || point == 0 || point >= 0 && scale == 0 || scale > DecimalScaleMax {
		return Decimal{}, errDecimalText
	}
	if significant > wordDigitsMax {
		return parseBig(text, scale)
	}
	d := Decimal{lo: units, scale: scale}
	if negative {
		d.Neg()
	}
	return d, nil
}

// parseBig reads what was found to be a decimal number.
func parseBig(text []byte, scale int) (Decimal, error) {
	units := make([]byte, 0, len(text))
	for _, c := range text {
		if c != '.' {
			units = append(units, c)
		}
	}
	n, ok := new(big.Int).SetString(string(units), 10)
	if !ok {
		return Decimal{}, errDecimalText
	}
	return fromBig(n, scale), nil
}

// Add adds e to d.
func (d *Decimal) Add(e *Decimal) {
	if d.scale == e.scale && d.big == nil && e.big == nil {
		lo, carry := bits.Add64(d.lo, e.lo, 0)
		hi := d.hi + e.hi + int64(carry)
		if (d.hi^hi)&(e.hi^hi) >= 0 {
			d.hi, d.lo = hi, lo
			return
		}
	}
	d.addOf(e)
}

// addOf adds numbers of different scales, or large ones.
func (d *Decimal) addOf(e *Decimal) {
	switch {
	case e.IsZero():
		return
	case d.IsZero():
		*d = *e
		return
	case d.scale != e.scale && d.big == nil && e.big == nil:
		fine, coarse := d, e
		if d.scale < e.scale {
			fine, coarse = e, d
		}
		if c := *coarse; c.rescale(fine.scale) {
			sum := *fine
			lo, carry := bits.Add64(sum.lo, c.lo, 0)
			hi := sum.hi + c.hi + int64(carry)
			if (sum.hi^hi)&(c.hi^hi) >= 0 {
				sum.hi, sum.lo = hi, lo
				*d = sum
				return
			}
		}
	}
	scale := max(d.scale, e.scale)
	*d = fromBig(new(big.Int).Add(d.bigAt(scale), e.bigAt(scale)), scale)
}

// rescale writes a number of two words with more digits behind the point, unless it does not fit then.
func (d *Decimal) rescale(scale int) bool {
	negative, hi, lo := d.magnitude()
	for more := scale - d.scale; more > 0; {
		step := min(more, wordDigitsMax)
		more -= step
		over, low := bits.Mul64(hi, tenPowers[step])
		carried, lowest := bits.Mul64(lo, tenPowers[step])
		high, carry := bits.Add64(low, carried, 0)
		if over != 0 || carry != 0 || high > 1<<63-1 {
			return false
		}
		hi, lo = high, lowest
	}
	d.setMagnitude(negative, hi, lo)
	d.scale = scale
	return true
}

// Sub subtracts e from d.
func (d *Decimal) Sub(e *Decimal) {
	n := *e
	n.Neg()
	d.Add(&n)
}

// Neg changes the sign of d.
func (d *Decimal) Neg() {
	switch {
	case d.big != nil:
		*d = fromBig(new(big.Int).Neg(d.big), d.scale)
	case d.hi == -1<<63 && d.lo == 0: // whose negative has no room
		*d = fromBig(new(big.Int).Neg(d.bigAt(d.scale)), d.scale)
	default:
		lo, borrow := bits.Sub64(0, d.lo, 0)
		d.hi, d.lo = -d.hi-int64(borrow), lo
	}
}

// IsZero says whether d is 0.
func (d *Decimal) IsZero() bool { return d.big == nil && d.hi == 0 && d.lo == 0 }

// Sign is -1, 0 or 1.
func (d *Decimal) Sign() int {
	switch {
	case d.big != nil:
		return d.big.Sign()
	case d.hi < 0:
		return -1
	case d.hi == 0 && d.lo == 0:
		return 0
	}
	return 1
}

// Cmp is -1 when d is less than e, 0 when they are equal, 1 when d is greater.
func (d *Decimal) Cmp(e *Decimal) int {
	difference := *d
	difference.Sub(e)
	return difference.Sign()
}

// magnitude is a number of two words without its sign.
func (d *Decimal) magnitude() (negative bool, hi, lo uint64) {
	if d.hi >= 0 {
		return false, uint64(d.hi), d.lo
	}
	lo, borrow := bits.Sub64(0, d.lo, 0)
	hi, _ = bits.Sub64(0, uint64(d.hi), borrow)
	return true, hi, lo
}

// setMagnitude sets the units of a number of two words, whose sign and magnitude these are.
func (d *Decimal) setMagnitude(negative bool, hi, lo uint64) {
	d.hi, d.lo = int64(hi), lo
	if negative && d.hi >= 0 { // -2^127 looks like its magnitude
		d.Neg()
	}
}

// bigAt is d's units at a scale that is no less than its own. It is not to be written to.
func (d *Decimal) bigAt(scale int) *big.Int {
	n := d.big
	if n == nil {
		negative, hi, lo := d.magnitude()
		n = new(big.Int).SetUint64(hi)
		n.Lsh(n, 64).Or(n, new(big.Int).SetUint64(lo))
		if negative {
			n.Neg(n)
		}
	}
	if scale == d.scale {
		return n
	}
	ten := new(big.Int).Exp(bigTen, big.NewInt(int64(scale-d.scale)), nil)
	return ten.Mul(ten, n)
}

// fromBig takes n, and finds room for it in two words when there is, for which it also drops zeros at the end. So a big
// number has none, and whatever fits is small again.
func fromBig(n *big.Int, scale int) Decimal {
	var rest big.Int
	for scale > 0 && n.Bit(0) == 0 { // a number that ends with 0 is even
		q, _ := new(big.Int).QuoRem(n, bigTen, &rest)
		if rest.Sign() != 0 {
			break
		}
		n, scale = q, scale-1
		if n.Sign() == 0 {
			return Decimal{}
		}
	}
	if n.BitLen() > 127 {
		return Decimal{scale: scale, big: n}
	}
	var d Decimal
	magnitude := new(big.Int).Abs(n)
	lo := new(big.Int).And(magnitude, new(big.Int).SetUint64(1<<64-1)).Uint64()
	d.scale = scale
	d.setMagnitude(n.Sign() < 0, magnitude.Rsh(magnitude, 64).Uint64(), lo)
	return d
}

package subject

import (
	"cmp"
	"errors"
	"math"
	"math/big"
	"math/bits"
	"strconv"
	"strings"
)

// Number is an exact decimal: coefficient × 10^exponent. Sums, differences and
// products are exact; quotients are exact where they are whole and rounded half
// to even to 18 significant digits otherwise. It is in normal form (no trailing zeros in the coefficient), so equal numbers have equal
// encodings. The zero Number is 0. Immutable.
type Number struct {
	coef int64
	exp  int32
	big  *big.Int // set, and coef 0, where the coefficient exceeds an int64
}

// Numbers of 10^308 and more are infinite in IEEE 754, hence null in the rule
// language; the smallest exponent bounds the digits an exact sum may need.
const (
	maxExponent = 308
	minExponent = -400
	maxDigits   = 800
)

var pow10 = func() (p [19]int64) {
	p[0] = 1
	for i := 1; i < len(p); i++ {
		p[i] = p[i-1] * 10
	}
	return
}()

// Int returns the number i.
func Int(i int64) Number { return normal(i, 0) }

// Decimal returns coef × 10^exp; ok is false beyond the range of numbers.
func Decimal(coef int64, exp int32) (n Number, ok bool) {
	n = normal(coef, exp)
	return n, n.inRange()
}

// DecimalBig returns coef × 10^exp; ok is false beyond the range of numbers.
// coef is copied.
func DecimalBig(coef *big.Int, exp int32) (n Number, ok bool) {
	return normalBig(new(big.Int).Set(coef), exp)
}

// Float returns the shortest decimal that reads back as f; ok is false for NaN and infinities.
func Float(f float64) (n Number, ok bool) {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return Number{}, false
	}
	return ParseNumber(strconv.FormatFloat(f, 'e', -1, 64))
}

// ParseNumber reads a JSON number (RFC 8259; leading zeros are let pass) with
// all its digits; ok is false if s is none or lies beyond the range of numbers.
func ParseNumber(s string) (n Number, ok bool) {
	d := digitScan{dot: -1}
	if s != "" && s[0] == '-' {
		d.start = 1
	}
	d.scan(s)
	if !d.sound(s) {
		return Number{}, false
	}
	exp, ok := exponentOf(s[d.end:])
	if !ok {
		return Number{}, false
	}
	if d.dot >= 0 {
		exp -= d.end - d.dot - 1
	}
	if d.wide {
		return parseWide(s[d.start:d.end], exp, d.start == 1)
	}
	if d.start == 1 {
		d.coef = -d.coef
	}
	n = normal(d.coef, int32(exp))
	return n, n.inRange()
}

// digitScan reads the digits of a number, from start.
type digitScan struct {
	start, end, dot int
	coef            int64
	digits          int  // without leading zeros
	wide            bool // more than 18 digits: coef is not all
}

func (d *digitScan) scan(s string) {
	for d.end = d.start; d.end < len(s); d.end++ {
		c := s[d.end]
		if c == '.' && d.dot < 0 {
			d.dot = d.end
			continue
		}
		if c < '0' || c > '9' {
			return
		}
		if d.digits > 0 || c != '0' {
			d.digits++
		}
		if d.digits > 18 {
			d.wide = true
		} else {
			d.coef = d.coef*10 + int64(c-'0')
		}
	}
}

// sound reports whether there are digits on both sides of a point.
func (d *digitScan) sound(s string) bool {
	return d.end > d.start && d.dot != d.start && s[d.end-1] != '.'
}

// maxExponentRead bounds what an exponent is read as: beyond it only 0 is in range.
const maxExponentRead = 1 << 20

// exponentOf reads the exponent part of a number, "" being 0.
func exponentOf(s string) (exp int, ok bool) {
	if s == "" {
		return 0, true
	}
	if s[0] != 'e' && s[0] != 'E' {
		return 0, false
	}
	e, err := strconv.ParseInt(s[1:], 10, 64)
	if err != nil && !errors.Is(err, strconv.ErrRange) {
		return 0, false
	}
	return int(max(min(e, maxExponentRead), -maxExponentRead)), true
}

func parseWide(text string, exp int, neg bool) (Number, bool) {
	t := strings.TrimLeft(strings.Replace(text, ".", "", 1), "0")
	if z := strings.TrimRight(t, "0"); len(z) < len(t) {
		exp += len(t) - len(z)
		t = z
	}
	if len(t) > maxDigits {
		return Number{}, false
	}
	b, ok := new(big.Int).SetString(t, 10)
	if !ok {
		return Number{}, false
	}
	if neg {
		b.Neg(b)
	}
	return normalBig(b, int32(exp))
}

func normal(coef int64, exp int32) Number {
	if coef == 0 {
		return Number{}
	}
	for coef%10 == 0 {
		coef /= 10
		exp++
	}
	return Number{coef: coef, exp: exp}
}

var ten = big.NewInt(10)

// normalBig takes ownership of b.
func normalBig(b *big.Int, exp int32) (Number, bool) {
	if b.Sign() == 0 {
		return Number{}, true
	}
	if b.IsInt64() {
		n := normal(b.Int64(), exp)
		return n, n.inRange()
	}
	q, r := new(big.Int), new(big.Int)
	for {
		q.QuoRem(b, ten, r)
		if r.Sign() != 0 {
			break
		}
		b, q = q, b
		exp++
	}
	if b.IsInt64() {
		n := normal(b.Int64(), exp)
		return n, n.inRange()
	}
	n := Number{big: b, exp: exp}
	return n, n.inRange()
}

// inRange bounds magnitude and digits; what lies below the smallest exponent is refused too.
func (n Number) inRange() bool {
	if n.big == nil && n.coef == 0 {
		return true
	}
	if n.exp < minExponent {
		return false
	}
	d := 1
	if n.big != nil {
		d = len(n.big.Text(10)) - boolInt(n.big.Sign() < 0)
	} else {
		for c := n.coef / 10; c != 0; c /= 10 {
			d++
		}
	}
	return int(n.exp)+d-1 <= maxExponent
}

func boolInt(b bool) int {
	if b {
		return 1
	}
	return 0
}

// Sign is -1, 0 or 1.
func (n Number) Sign() int {
	if n.big != nil {
		return n.big.Sign()
	}
	switch {
	case n.coef < 0:
		return -1
	case n.coef > 0:
		return 1
	}
	return 0
}

// Parts returns the number as coefficient and exponent; b is set, and coef 0,
// where the coefficient exceeds an int64 (shared; do not change).
func (n Number) Parts() (coef int64, exp int32, b *big.Int) { return n.coef, n.exp, n.big }

// Int64 returns n if it is a whole number that fits.
func (n Number) Int64() (int64, bool) {
	if n.exp == 0 {
		return n.coef, n.big == nil
	}
	if n.big != nil || n.exp < 0 {
		return 0, false
	}
	return scale(n.coef, n.exp)
}

// Float64 returns the nearest float64.
func (n Number) Float64() float64 {
	if n.big == nil && n.exp == 0 {
		return float64(n.coef)
	}
	f, _ := strconv.ParseFloat(n.scientific(), 64)
	return f
}

func (n Number) scientific() string {
	if n.big != nil {
		return n.big.Text(10) + "e" + strconv.Itoa(int(n.exp))
	}
	return strconv.FormatInt(n.coef, 10) + "e" + strconv.Itoa(int(n.exp))
}

// maxPlain is the most characters, sign aside, that String writes in plain notation.
const maxPlain = 40

// String writes plain decimal notation where that has at most 40 characters
// beside the sign, else all digits of the coefficient and the exponent ("12e50").
// ParseNumber reads both back as the same number.
func (n Number) String() string {
	digits := strconv.FormatInt(n.coef, 10)
	if n.big != nil {
		digits = n.big.Text(10)
	}
	sign := ""
	if digits[0] == '-' {
		sign, digits = "-", digits[1:]
	}
	e := int(n.exp)
	switch {
	case e >= 0 && len(digits)+e <= maxPlain:
		return sign + digits + strings.Repeat("0", e)
	case e < 0 && -e < len(digits) && len(digits)+1 <= maxPlain:
		return sign + digits[:len(digits)+e] + "." + digits[len(digits)+e:]
	case e < 0 && -e >= len(digits) && 2-e <= maxPlain:
		return sign + "0." + strings.Repeat("0", -e-len(digits)) + digits
	}
	return sign + digits + "e" + strconv.Itoa(e)
}

// scale returns c × 10^by unless it overflows.
func scale(c int64, by int32) (int64, bool) {
	if by < 0 || by > 18 {
		return 0, c == 0
	}
	hi, lo := bits.Mul64(uint64(abs(c)), uint64(pow10[by]))
	if hi != 0 || lo > math.MaxInt64 || c == math.MinInt64 {
		return 0, false
	}
	if c < 0 {
		return -int64(lo), true
	}
	return int64(lo), true
}

func abs(c int64) int64 {
	if c < 0 {
		return -c
	}
	return c
}

// align returns both coefficients at the smaller exponent, if they fit.
func align(a, b Number) (x, y int64, exp int32, ok bool) {
	if a.big != nil || b.big != nil {
		return 0, 0, 0, false
	}
	switch {
	case a.exp == b.exp || b.coef == 0 && b.exp <= a.exp:
		if a.exp == b.exp {
			return a.coef, b.coef, a.exp, true
		}
		return a.coef, 0, a.exp, true
	case a.coef == 0:
		return 0, b.coef, b.exp, true
	case b.coef == 0:
		return a.coef, 0, a.exp, true
	case a.exp > b.exp:
		x, ok = scale(a.coef, a.exp-b.exp)
		return x, b.coef, b.exp, ok
	}
	y, ok = scale(b.coef, b.exp-a.exp)
	return a.coef, y, a.exp, ok
}

func (n Number) bigCoef() *big.Int {
	if n.big != nil {
		return new(big.Int).Set(n.big)
	}
	return big.NewInt(n.coef)
}

func alignBig(a, b Number) (x, y *big.Int, exp int32) {
	x, y = a.bigCoef(), b.bigCoef()
	if x.Sign() == 0 {
		return x, y, b.exp
	}
	if y.Sign() == 0 {
		return x, y, a.exp
	}
	if d := int64(a.exp) - int64(b.exp); d > 0 {
		x.Mul(x, new(big.Int).Exp(ten, big.NewInt(d), nil))
		return x, y, b.exp
	} else if d < 0 {
		y.Mul(y, new(big.Int).Exp(ten, big.NewInt(-d), nil))
	}
	return x, y, a.exp
}

// Cmp is -1, 0 or 1 as n is less than, equal to or more than m.
func (n Number) Cmp(m Number) int {
	if n.exp == m.exp && n.big == nil && m.big == nil {
		return cmp.Compare(n.coef, m.coef)
	}
	if s, t := n.Sign(), m.Sign(); s != t {
		return cmp.Compare(int64(s), int64(t))
	}
	if x, y, _, ok := align(n, m); ok {
		return cmp.Compare(x, y)
	}
	x, y, _ := alignBig(n, m)
	return x.Cmp(y)
}

// Add returns n + m, exactly; ok is false beyond the range of numbers.
func (n Number) Add(m Number) (Number, bool) {
	if x, y, exp, ok := align(n, m); ok {
		if s := x + y; (s > x) == (y > 0) {
			r := normal(s, exp)
			return r, r.inRange()
		}
	}
	x, y, exp := alignBig(n, m)
	return normalBig(x.Add(x, y), exp)
}

// Neg returns -n.
func (n Number) Neg() Number {
	if n.big == nil && n.coef != math.MinInt64 {
		n.coef = -n.coef
		return n
	}
	b := n.bigCoef()
	r, _ := normalBig(b.Neg(b), n.exp)
	return r
}

// Sub returns n - m, exactly; ok is false beyond the range of numbers.
func (n Number) Sub(m Number) (Number, bool) { return n.Add(m.Neg()) }

// Mul returns n × m, exactly; ok is false beyond the range of numbers.
func (n Number) Mul(m Number) (Number, bool) {
	if n.big == nil && m.big == nil && n.coef != math.MinInt64 && m.coef != math.MinInt64 {
		hi, lo := bits.Mul64(uint64(abs(n.coef)), uint64(abs(m.coef)))
		if hi == 0 && lo <= math.MaxInt64 {
			c := int64(lo)
			if (n.coef < 0) != (m.coef < 0) {
				c = -c
			}
			r := normal(c, n.exp+m.exp)
			return r, r.inRange()
		}
	}
	x := n.bigCoef()
	return normalBig(x.Mul(x, m.bigCoef()), n.exp+m.exp)
}

// quotientDigits are the significant digits of a quotient that is not whole.
const quotientDigits = 18

// Quo returns n / m: exact where it is whole, else rounded half to even to 18
// significant digits. ok is false for division by zero and beyond the range of numbers.
func (n Number) Quo(m Number) (Number, bool) {
	if m.Sign() == 0 {
		return Number{}, false
	}
	x, y, _ := alignBig(n, m)
	neg := x.Sign() != y.Sign()
	x.Abs(x)
	y.Abs(y)
	q, r := new(big.Int).QuoRem(x, y, new(big.Int))
	exp := int32(0)
	if r.Sign() != 0 {
		q, exp = roundedQuotient(x, y)
	}
	if neg {
		q.Neg(q)
	}
	return normalBig(q, exp)
}

// roundedQuotient returns x / y of positive numbers as q × 10^exp, rounded half
// to even to quotientDigits digits.
func roundedQuotient(x, y *big.Int) (q *big.Int, exp int32) {
	// One digit more than needed, or two.
	shift := quotientDigits + 1 + len(y.Text(10)) - len(x.Text(10))
	if shift >= 0 {
		x = new(big.Int).Mul(x, pow(shift))
	} else {
		y = new(big.Int).Mul(y, pow(-shift))
	}
	q, r := new(big.Int).QuoRem(x, y, new(big.Int))
	drop := len(q.Text(10)) - quotientDigits
	unit := pow(drop)
	q, tail := q.QuoRem(q, unit, new(big.Int))
	c := tail.Lsh(tail, 1).Cmp(unit)
	if c > 0 || c == 0 && (r.Sign() != 0 || q.Bit(0) == 1) {
		q.Add(q, big.NewInt(1))
	}
	return q, int32(drop - shift)
}

func pow(n int) *big.Int { return new(big.Int).Exp(ten, big.NewInt(int64(n)), nil) }

// Rem returns n - m × trunc(n / m), the remainder with n's sign; ok is false for division by zero.
func (n Number) Rem(m Number) (Number, bool) {
	if m.Sign() == 0 {
		return Number{}, false
	}
	if x, y, exp, ok := align(n, m); ok && y != 0 {
		return normal(x%y, exp), true
	}
	x, y, exp := alignBig(n, m)
	if d := x.BitLen() + y.BitLen(); d > 16*maxDigits {
		return Number{}, false
	}
	return normalBig(x.Rem(x, y), exp)
}

// Trunc returns the whole part of n.
func (n Number) Trunc() Number {
	if n.exp >= 0 {
		return n
	}
	if n.big == nil {
		if n.exp < -18 {
			return Number{}
		}
		return normal(n.coef/pow10[-n.exp], 0)
	}
	b := n.bigCoef()
	r, _ := normalBig(b.Quo(b, new(big.Int).Exp(ten, big.NewInt(int64(-n.exp)), nil)), 0)
	return r
}

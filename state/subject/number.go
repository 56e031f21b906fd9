package subject

import (
	"math"
	"math/big"
	"math/bits"
	"strconv"
	"strings"
)

// Number is an exact decimal: coefficient × 10^exponent. Sums, differences and
// products are exact; quotients are exact where they end within 18 digits and
// are rounded half to even to 18 significant digits otherwise. It is in normal
// form (no trailing zeros in the coefficient), so equal numbers have equal
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

// ParseNumber reads a JSON number (RFC 8259) with all its digits; ok is false
// if s is none or lies beyond the range of numbers.
func ParseNumber(s string) (n Number, ok bool) {
	var coef int64
	var exp, digits int
	neg, i := false, 0
	if i < len(s) && s[i] == '-' {
		neg, i = true, 1
	}
	start, dot, seen, wide := i, -1, 0, false
	for ; i < len(s); i++ {
		c := s[i]
		if c == '.' && dot < 0 {
			dot = i
			continue
		}
		if c < '0' || c > '9' {
			break
		}
		seen++
		if digits > 0 || c != '0' {
			digits++
		}
		if digits > 18 {
			wide = true
		} else {
			coef = coef*10 + int64(c-'0')
		}
	}
	end := i
	if seen == 0 || s[end-1] == '.' || dot == start {
		return Number{}, false
	}
	if dot >= 0 {
		exp = -(end - dot - 1)
	}
	if i < len(s) {
		if s[i] != 'e' && s[i] != 'E' {
			return Number{}, false
		}
		e, err := strconv.ParseInt(s[i+1:], 10, 32)
		if err != nil {
			return Number{}, false
		}
		exp += int(max(min(e, 1<<20), -(1 << 20)))
	}
	if wide {
		return parseWide(s[start:end], exp, neg)
	}
	if neg {
		coef = -coef
	}
	n = normal(coef, int32(exp))
	return n, n.inRange()
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
	if n.big != nil || n.exp < 0 || n.exp > 18 {
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

// String writes plain decimal notation where that is at most 40 characters, else scientific.
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
	case e == 0:
		return sign + digits
	case e > 0 && len(digits)+e <= 40:
		return sign + digits + strings.Repeat("0", e)
	case e < 0 && -e < len(digits):
		return sign + digits[:len(digits)+e] + "." + digits[len(digits)+e:]
	case e < 0 && -e <= 40:
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
		return cmpInt(n.coef, m.coef)
	}
	if s, t := n.Sign(), m.Sign(); s != t {
		return cmpInt(int64(s), int64(t))
	}
	if x, y, _, ok := align(n, m); ok {
		return cmpInt(x, y)
	}
	x, y, _ := alignBig(n, m)
	return x.Cmp(y)
}

func cmpInt(a, b int64) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
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

// quotientDigits are the significant digits of a quotient that does not end.
const quotientDigits = 18

// Quo returns n / m; ok is false for division by zero and beyond the range of numbers.
func (n Number) Quo(m Number) (Number, bool) {
	if m.Sign() == 0 {
		return Number{}, false
	}
	if n.Sign() == 0 {
		return Number{}, true
	}
	x, y := n.bigCoef(), m.bigCoef()
	shift := quotientDigits + max(0, len(y.Text(10))-len(x.Text(10))+1)
	exp := int64(n.exp) - int64(m.exp) - int64(shift)
	x.Mul(x, new(big.Int).Exp(ten, big.NewInt(int64(shift)), nil))
	q, r := new(big.Int).QuoRem(x, y, new(big.Int))
	if r.Sign() == 0 {
		return normalBig(q, int32(exp))
	}
	return roundQuotient(q, r, y, int32(exp))
}

// roundQuotient rounds q + r/y half to even to quotientDigits digits.
func roundQuotient(q, r, y *big.Int, exp int32) (Number, bool) {
	neg := q.Sign() < 0
	q.Abs(q)
	drop := len(q.Text(10)) - quotientDigits
	unit := new(big.Int).Exp(ten, big.NewInt(int64(max(drop, 0))), nil)
	head, tail := new(big.Int).QuoRem(q, unit, new(big.Int))
	// compare tail + |r/y| with unit/2
	twice := new(big.Int).Mul(tail, big.NewInt(2))
	c := twice.Cmp(unit)
	if c == 0 && r.Sign() != 0 {
		c = 1
	}
	if c > 0 || c == 0 && head.Bit(0) == 1 {
		head.Add(head, big.NewInt(1))
	}
	if neg {
		head.Neg(head)
	}
	return normalBig(head, exp+int32(max(drop, 0)))
}

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

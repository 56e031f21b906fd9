package oracle

import (
	"math/big"
	"regexp"
	"strconv"
	"strings"
)

// Numbers from 1e309 on are null; so are texts with an exponent that would not
// fit in memory.
const (
	beyondExponent   = 309
	quotientDigits   = 18
	longestPlainText = 40
)

var (
	infinite      = new(big.Rat).SetInt(pow10(beyondExponent))
	decimalNumber = regexp.MustCompile(`^[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?$`)
)

func pow10(n int) *big.Int { return new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(n)), nil) }

func number(i int64) *big.Rat { return new(big.Rat).SetInt64(i) }

// bounded is r as a value: null if it is beyond the range of numbers.
func bounded(r *big.Rat) any {
	if r == nil || new(big.Rat).Abs(r).Cmp(infinite) >= 0 {
		return nil
	}
	return r
}

// parseNumber reads a decimal number; null if s is none or out of range.
func parseNumber(s string) any {
	if len(s) > 2000 || !decimalNumber.MatchString(s) {
		return nil
	}
	if i := strings.IndexAny(s, "eE"); i >= 0 {
		if e, err := strconv.Atoi(s[i+1:]); err != nil || e > 2400 || e < -2400 {
			return zeroOrNull(s[:i])
		}
	}
	r, ok := new(big.Rat).SetString(s)
	if !ok {
		return nil
	}
	return bounded(r)
}

func zeroOrNull(mantissa string) any {
	if strings.Trim(mantissa, "+-0.") == "" {
		return new(big.Rat)
	}
	return nil
}

// fromFloat is the shortest decimal that reads back as f.
func fromFloat(f float64) any { return parseNumber(strconv.FormatFloat(f, 'e', -1, 64)) }

// quotient is a / b: exact where it is whole or ends within 18 digits, else
// rounded half to even to 18 significant digits.
func quotient(a, b *big.Rat) any {
	if b.Sign() == 0 {
		return nil
	}
	q := new(big.Rat).Quo(a, b)
	if q.IsInt() {
		return bounded(q)
	}
	return bounded(roundDigits(q, quotientDigits))
}

// roundDigits rounds r, which is not 0, half to even to n significant digits.
func roundDigits(r *big.Rat, n int) *big.Rat {
	shift := n - magnitude(r)
	scaled := new(big.Rat).Mul(r, power(shift))
	whole, rest := new(big.Int).QuoRem(scaled.Num(), scaled.Denom(), new(big.Int))
	twice := new(big.Int).Abs(rest)
	twice.Lsh(twice, 1)
	if c := twice.Cmp(scaled.Denom()); c > 0 || c == 0 && whole.Bit(0) == 1 {
		whole.Add(whole, big.NewInt(int64(r.Sign())))
	}
	return new(big.Rat).Mul(new(big.Rat).SetInt(whole), power(-shift))
}

// magnitude is the n with 10^(n-1) <= |r| < 10^n.
func magnitude(r *big.Rat) int {
	abs := new(big.Rat).Abs(r)
	n := len(abs.Num().String()) - len(abs.Denom().String())
	for abs.Cmp(power(n)) >= 0 {
		n++
	}
	for abs.Cmp(power(n-1)) < 0 {
		n--
	}
	return n
}

func power(n int) *big.Rat {
	if n < 0 {
		return new(big.Rat).SetFrac(big.NewInt(1), pow10(-n))
	}
	return new(big.Rat).SetInt(pow10(n))
}

// truncated is r without its fraction.
func truncated(r *big.Rat) *big.Rat {
	return new(big.Rat).SetInt(new(big.Int).Quo(r.Num(), r.Denom()))
}

// remainder is a - b × trunc(a / b).
func remainder(a, b *big.Rat) any {
	if b.Sign() == 0 {
		return nil
	}
	t := truncated(new(big.Rat).Quo(a, b))
	return bounded(t.Sub(a, t.Mul(t, b)))
}

// plainText writes r without trailing zeros, in scientific notation only where
// plain notation has more than 40 characters of digits.
func plainText(r *big.Rat) string {
	places := 0
	for scaled := new(big.Rat).Set(r); !scaled.IsInt(); places++ {
		scaled.Mul(scaled, power(1))
	}
	text := r.FloatString(places)
	if len(strings.TrimLeft(text, "-")) <= longestPlainText {
		return text
	}
	return scientific(new(big.Rat).Mul(r, power(places)).Num(), -places)
}

func scientific(digits *big.Int, exponent int) string {
	text := digits.String()
	short := strings.TrimRight(text, "0")
	return short + "e" + strconv.Itoa(exponent+len(text)-len(short))
}

package subject

import (
	"encoding/json"
	"math"
	"math/big"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
)

func newRand(t testing.TB) *rand.Rand {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}

// rat is the oracle's view of a number.
func rat(n Number) *big.Rat {
	coef, exp, wide := n.Parts()
	c := big.NewInt(coef)
	if wide != nil {
		c = wide
	}
	return scaled(new(big.Rat).SetInt(c), int(exp))
}

// scaled is r × 10^n.
func scaled(r *big.Rat, n int) *big.Rat {
	p := new(big.Rat).SetInt(new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(max(n, -n))), nil))
	if n < 0 {
		return new(big.Rat).Quo(r, p)
	}
	return new(big.Rat).Mul(r, p)
}

// tooLarge reports |r| >= 10^309.
func tooLarge(r *big.Rat) bool {
	return new(big.Rat).Abs(r).Cmp(scaled(big.NewRat(1, 1), 309)) >= 0
}

// checkNormal holds a number to its normal form: equal numbers have equal parts.
func checkNormal(t *testing.T, n Number) {
	t.Helper()
	coef, exp, wide := n.Parts()
	switch {
	case wide == nil && coef == 0 && exp != 0:
		t.Errorf("zero with exponent %d", exp)
	case wide == nil && coef != 0 && coef%10 == 0:
		t.Errorf("coefficient %d ends in zeros", coef)
	case wide != nil && (coef != 0 || wide.IsInt64()):
		t.Errorf("coefficient %v is not as small as it could be", wide)
	case wide != nil && new(big.Int).Rem(wide, big.NewInt(10)).Sign() == 0:
		t.Errorf("coefficient %v ends in zeros", wide)
	}
}

var numberCorners = []string{"0", "1", "-1", "10", "0.1", "-0.5", "3", "7", "0.3", "1e18", "-1e19", "999999999999999999", "9223372036854775807", "-9223372036854775808",
	"9223372036854775808", "-9223372036854775809", "1e308", "-9.99e308", "1e-400", "123456789012345678901234567890.123456789", "4503599627370497.5", "5e-324", "0.000000000000000001", "18446744073709551616"}

func randomNumber(t testing.TB, rng *rand.Rand) Number {
	t.Helper()
	text := numberCorners[rng.IntN(len(numberCorners))]
	switch rng.IntN(4) {
	case 0:
	case 1:
		text = strconv.FormatInt((rng.Int64()-rng.Int64())>>rng.IntN(64), 10)
	case 2:
		text = strconv.FormatInt((rng.Int64()-rng.Int64())>>rng.IntN(64), 10) + "e" + strconv.Itoa(rng.IntN(60)-30)
	default:
		text = strconv.FormatUint(rng.Uint64(), 10) + strconv.FormatUint(rng.Uint64(), 10) + "." + strconv.FormatUint(rng.Uint64(), 10)
	}
	n, ok := ParseNumber(text)
	if !ok {
		t.Fatalf("%q is no number", text)
	}
	return n
}

func TestArithmeticIsThatOfRationals(t *testing.T) {
	rng := newRand(t)
	for range 30_000 {
		a, b := randomNumber(t, rng), randomNumber(t, rng)
		x, y := rat(a), rat(b)
		check := func(op string, got Number, ok bool, want *big.Rat) {
			t.Helper()
			if want == nil || tooLarge(want) {
				if ok {
					t.Errorf("%v %s %v = %v, want none", a, op, b, got)
				}
				return
			}
			_, exp, _ := got.Parts()
			if !ok && exp >= minExponent || ok && rat(got).Cmp(want) != 0 {
				t.Errorf("%v %s %v = %v (%v), want %v", a, op, b, got, ok, want.RatString())
			}
			checkNormal(t, got)
		}
		sum, ok := a.Add(b)
		check("+", sum, ok, new(big.Rat).Add(x, y))
		difference, ok := a.Sub(b)
		check("-", difference, ok, new(big.Rat).Sub(x, y))
		product, ok := a.Mul(b)
		check("*", product, ok, new(big.Rat).Mul(x, y))
		check("negated", a.Neg(), true, new(big.Rat).Neg(x))
		check("truncated", a.Trunc(), true, truncated(x))
		var quotient, rest *big.Rat
		if y.Sign() != 0 {
			exact := new(big.Rat).Quo(x, y)
			quotient = roundedTo18(exact)
			rest = new(big.Rat).Sub(x, new(big.Rat).Mul(y, truncated(exact)))
		}
		n, ok := a.Quo(b)
		check("/", n, ok, quotient)
		n, ok = a.Rem(b)
		check("%", n, ok, rest)
		if got, want := a.Cmp(b), x.Cmp(y); got != want || a.Sign() != x.Sign() {
			t.Errorf("%v compared with %v: %d, want %d", a, b, got, want)
		}
		if t.Failed() {
			return
		}
	}
}

func truncated(r *big.Rat) *big.Rat {
	return new(big.Rat).SetInt(new(big.Int).Quo(r.Num(), r.Denom()))
}

// roundedTo18 rounds what is not whole half to even to 18 significant digits.
func roundedTo18(r *big.Rat) *big.Rat {
	if r.IsInt() {
		return r
	}
	shift := 0
	limit := scaled(big.NewRat(1, 1), 18)
	abs := new(big.Rat).Abs(r)
	for scaled(abs, shift).Cmp(limit) >= 0 {
		shift--
	}
	for scaled(abs, shift+1).Cmp(limit) < 0 {
		shift++
	}
	up := scaled(abs, shift)
	whole := new(big.Int).Quo(up.Num(), up.Denom())
	rest := new(big.Rat).Sub(up, new(big.Rat).SetInt(whole))
	if c := rest.Cmp(big.NewRat(1, 2)); c > 0 || c == 0 && whole.Bit(0) == 1 {
		whole.Add(whole, big.NewInt(1))
	}
	if r.Sign() < 0 {
		whole.Neg(whole)
	}
	return scaled(new(big.Rat).SetInt(whole), -shift)
}

func TestQuotients(t *testing.T) {
	for _, c := range []struct{ a, b, want string }{
		{"1", "3", "0.333333333333333333"},
		{"-1", "3", "-0.333333333333333333"},
		{"2", "3", "0.666666666666666667"},
		{"-2", "3", "-0.666666666666666667"},
		{"2", "-3", "-0.666666666666666667"},
		{"1", "8", "0.125"},
		{"1", "67108864", "0.0000000149011611938476562"}, // 19 digits, a tie: to even
		{"100", "0.1", "1000"},
		{"123456789012345678901234567890", "10", "12345678901234567890123456789"},
		{"123456789012345678901234567891", "10", "12345678901234567900000000000"},
		{"0", "7", "0"},
	} {
		a, _ := ParseNumber(c.a)
		b, _ := ParseNumber(c.b)
		want, ok := ParseNumber(c.want)
		if got, fits := a.Quo(b); !ok || !fits || got.Cmp(want) != 0 {
			t.Errorf("%s / %s = %v, want %s", c.a, c.b, got, c.want)
		}
	}
}

func TestParseNumber(t *testing.T) {
	for text, want := range map[string]string{
		"0": "0", "-0": "0", "0.000": "0", "0e999999999999999": "0", "-0.0e-99999": "0",
		"1.50": "1.5", "-12e2": "-1200", "1E+2": "100", "0.00001e5": "1", "007": "7",
		"1000000000000000000000":                  "1000000000000000000000",
		"0.000000000000000000000000012":           "0.000000000000000000000000012",
		"12345678901234567890.123456789":          "12345678901234567890.123456789",
		"9.99e308":                                "999e306",
		"1" + strings.Repeat("0", 308):            "1e308",
		strings.Repeat("0", 5000) + "1":           "1",
		"1." + strings.Repeat("0", 5000):          "1",
		"100000000000000000000000000000000000000": "100000000000000000000000000000000000000",
		"1e39": "1000000000000000000000000000000000000000",
		"1e40": "1e40",
		"0.00000000000000000000000000000000000001":  "0.00000000000000000000000000000000000001",
		"0.000000000000000000000000000000000000001": "1e-39",
	} {
		if n, ok := ParseNumber(text); !ok || n.String() != want {
			t.Errorf("%.40q reads as %v (%v), want %s", text, n, ok, want)
		}
	}
	for _, text := range []string{"", "-", ".", "1.", ".5", "-.5", "+1", "1e", "1e+", "e5", "1.2.3", "1x", "0x10", " 1", "1 ", "NaN", "Infinity", "1_000", "1e1.5", "--1",
		"1e309", "-1e309", "1e999999999999999999999", "1" + strings.Repeat("0", 309), "1e-401", "1." + strings.Repeat("1", 900)} {
		if n, ok := ParseNumber(text); ok {
			t.Errorf("%.40q reads as %v, want none", text, n)
		}
	}
}

func TestNumbersReadBackFromTheirText(t *testing.T) {
	rng := newRand(t)
	for range 5_000 {
		n := randomNumber(t, rng)
		got, ok := ParseNumber(n.String())
		if !ok || got.Cmp(n) != 0 {
			t.Fatalf("%v reads back as %v (%v)", n, got, ok)
		}
		if text := strings.TrimLeft(n.String(), "-"); len(text) > maxPlain && !strings.Contains(text, "e") {
			t.Fatalf("%s is longer than %d characters", text, maxPlain)
		}
	}
}

func TestFloats(t *testing.T) {
	rng := newRand(t)
	for range 10_000 {
		f := math.Float64frombits(rng.Uint64())
		n, ok := Float(f)
		if math.IsNaN(f) || math.IsInf(f, 0) {
			if ok {
				t.Fatalf("%v is a number", f)
			}
			continue
		}
		if !ok || n.Float64() != f {
			t.Fatalf("%v becomes %v (%v), %v", f, n, ok, n.Float64())
		}
	}
	for _, f := range []float64{math.NaN(), math.Inf(1), math.Inf(-1)} {
		if _, ok := Float(f); ok {
			t.Errorf("%v is a number", f)
		}
	}
}

func TestInts(t *testing.T) {
	for _, i := range []int64{0, 1, -1, 10, 1e18, math.MaxInt64, math.MinInt64, math.MaxInt64 - 7, 9223372036854775800} {
		if got, ok := Int(i).Int64(); !ok || got != i {
			t.Errorf("%d becomes %d (%v)", i, got, ok)
		}
		checkNormal(t, Int(i))
	}
	for _, text := range []string{"0.5", "1e19", "9223372036854775808", "-9223372036854775809", "1e300", "1e-3"} {
		n, _ := ParseNumber(text)
		if got, ok := n.Int64(); ok {
			t.Errorf("%s becomes %d", text, got)
		}
	}
}

func TestDecimals(t *testing.T) {
	if n, ok := Decimal(1500, -3); !ok || n.Cmp(mustParse(t, "1.5")) != 0 {
		t.Errorf("1500e-3 = %v (%v)", n, ok)
	}
	if _, ok := Decimal(1, 309); ok {
		t.Error("1e309 is a number")
	}
	coef := big.NewInt(1200)
	n, ok := DecimalBig(coef, 0)
	if coef.SetInt64(7); !ok || n.Cmp(Int(1200)) != 0 {
		t.Errorf("the number changed with its coefficient: %v (%v)", n, ok)
	}
	if _, ok := DecimalBig(new(big.Int).Lsh(big.NewInt(1), 1100), 0); ok {
		t.Error("2^1100 is a number")
	}
}

func mustParse(t testing.TB, text string) Number {
	t.Helper()
	n, ok := ParseNumber(text)
	if !ok {
		t.Fatalf("%q is no number", text)
	}
	return n
}

func FuzzParseNumber(f *testing.F) {
	for _, text := range append(numberCorners, "1e", "-", "1.5E+10", "0x1p4", "00.1", "1e-0") {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		n, ok := ParseNumber(text)
		if !ok {
			return
		}
		checkNormal(t, n)
		if again, ok := ParseNumber(n.String()); !ok || again.Cmp(n) != 0 {
			t.Fatalf("%q reads as %v, which reads as %v (%v)", text, n, again, ok)
		}
		digits := strings.TrimLeft(strings.TrimPrefix(text, "-"), "0")
		if digits == "" || digits[0] < '1' || digits[0] > '9' {
			digits = "0" + digits
		}
		if !json.Valid([]byte(digits)) {
			t.Fatalf("%q is no JSON number and reads as %v", text, n)
		}
		if len(text) > 200 || strings.ContainsAny(text, "eE") && n.Sign() == 0 {
			return
		}
		if want, ok := new(big.Rat).SetString(text); !ok || rat(n).Cmp(want) != 0 {
			t.Fatalf("%q reads as %v", text, n)
		}
	})
}

func BenchmarkNumber(b *testing.B) {
	price, total := mustParse(b, "49.95"), mustParse(b, "1234.5")
	for name, f := range map[string]func(){
		"parse": func() { ParseNumber("1234.56") },
		"add":   func() { total.Add(price) },
		"mul":   func() { total.Mul(price) },
		"quo":   func() { total.Quo(price) },
		"cmp":   func() { total.Cmp(price) },
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				f()
			}
		})
	}
}

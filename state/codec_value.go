package state

import (
	"encoding/binary"
	"math/big"

	"github.com/segmentd/segmentd/state/subject"
)

// The first byte of a value. Numbers are in normal form, times in the coarsest
// unit, so that equal values have equal bytes.
const (
	valueNull = iota
	valueFalse
	valueTrue
	valueInt         // varint
	valueDecimal     // varint exponent (not 0), varint coefficient
	valueBig         // varint exponent, uvarint length<<1 | negative, magnitude big-endian
	valueString      // text
	valueTimeMicros  // varint
	valueTimeMillis  // varint
	valueTimeSeconds // varint
	valueDuration    // varint, microseconds
	valueList        // uvarint n, n values
	valueMap         // uvarint n, n keys and values
)

// maxValueDepth bounds how deep values nest; JSON decoders stop at the same depth.
const maxValueDepth = 10_000

func appendValue(b []byte, v subject.Value) []byte {
	switch v.Kind() {
	case subject.Bool:
		if v.IsTrue() {
			return append(b, valueTrue)
		}
		return append(b, valueFalse)
	case subject.NumberKind:
		return appendNumber(b, v.Number())
	case subject.String:
		b = binary.AppendUvarint(append(b, valueString), uint64(len(v.Str())))
		return append(b, v.Str()...)
	case subject.Time:
		return appendTimeValue(b, int64(v.Instant()))
	case subject.Duration:
		return binary.AppendVarint(append(b, valueDuration), v.Micros())
	case subject.List:
		return appendList(b, v.List())
	case subject.Map:
		return appendMap(b, v.Fields())
	}
	return append(b, valueNull)
}

func appendNumber(b []byte, n subject.Number) []byte {
	coef, exp, wide := n.Parts()
	switch {
	case wide != nil:
		b = binary.AppendVarint(append(b, valueBig), int64(exp))
		magnitude := wide.Bytes()
		head := uint64(len(magnitude)) << 1
		if wide.Sign() < 0 {
			head |= 1
		}
		return append(binary.AppendUvarint(b, head), magnitude...)
	case exp == 0:
		return binary.AppendVarint(append(b, valueInt), coef)
	}
	b = binary.AppendVarint(append(b, valueDecimal), int64(exp))
	return binary.AppendVarint(b, coef)
}

func appendTimeValue(b []byte, t int64) []byte {
	unit := len(timeUnits) - 1
	for t%timeUnits[unit] != 0 {
		unit--
	}
	return binary.AppendVarint(append(b, valueTimeMicros+byte(unit)), t/timeUnits[unit])
}

func appendList(b []byte, l []subject.Value) []byte {
	b = binary.AppendUvarint(append(b, valueList), uint64(len(l)))
	for i := range l {
		b = appendValue(b, l[i])
	}
	return b
}

func appendMap(b []byte, fields []subject.Field) []byte {
	b = binary.AppendUvarint(append(b, valueMap), uint64(len(fields)))
	for i := range fields {
		b = binary.AppendUvarint(b, uint64(len(fields[i].Key)))
		b = append(b, fields[i].Key...)
		b = appendValue(b, fields[i].Value)
	}
	return b
}

func (d *Decoder) value(depth int) subject.Value {
	if depth > maxValueDepth {
		d.fail()
		return subject.Value{}
	}
	tag := d.byte()
	switch tag {
	case valueNull:
		return subject.Value{}
	case valueFalse, valueTrue:
		return subject.OfBool(tag == valueTrue)
	case valueInt, valueDecimal:
		return d.decimal(tag)
	case valueBig:
		return d.bigNumber()
	case valueString:
		return subject.OfString(string(d.bytes()))
	case valueTimeMicros, valueTimeMillis, valueTimeSeconds:
		return d.timeValue(tag)
	case valueDuration:
		return subject.OfDuration(d.varint())
	case valueList:
		return d.list(depth)
	case valueMap:
		return d.mapping(depth)
	}
	d.fail()
	return subject.Value{}
}

func (d *Decoder) decimal(tag byte) subject.Value {
	exp := int64(0)
	if tag == valueDecimal {
		exp = d.varint()
		d.require(exp != 0 && exp == int64(int32(exp)))
	}
	coef := d.varint()
	n, ok := subject.Decimal(coef, int32(exp))
	c, e, _ := n.Parts()
	// A whole number with trailing zeros has another normal form.
	d.require(ok && c == coef && int64(e) == exp)
	return subject.OfNumber(n)
}

func (d *Decoder) bigNumber() subject.Value {
	exp, head := d.varint(), d.uvarint()
	magnitude := d.take(head >> 1)
	d.require(exp == int64(int32(exp)) && len(magnitude) > 0 && magnitude[0] != 0)
	if d.bad || len(magnitude) > maxBigBytes {
		d.fail()
		return subject.Value{}
	}
	coef := new(big.Int).SetBytes(magnitude)
	if head&1 == 1 {
		coef.Neg(coef)
	}
	n, ok := subject.DecimalBig(coef, int32(exp))
	_, e, wide := n.Parts()
	d.require(ok && wide != nil && int64(e) == exp)
	return subject.OfNumber(n)
}

// maxBigBytes bounds the coefficient of a number: 10^1109 lies beyond the range of numbers.
const maxBigBytes = 512

func (d *Decoder) timeValue(tag byte) subject.Value {
	unit := int(tag - valueTimeMicros)
	n := d.varint()
	t := n * timeUnits[unit]
	d.require(t/timeUnits[unit] == n)
	if unit+1 < len(timeUnits) {
		d.require(t%timeUnits[unit+1] != 0)
	}
	return subject.OfTime(subject.Instant(t))
}

func (d *Decoder) list(depth int) subject.Value {
	l := make([]subject.Value, d.count(1))
	for i := range l {
		l[i] = d.value(depth + 1)
	}
	return subject.OfList(l)
}

func (d *Decoder) mapping(depth int) subject.Value {
	fields := make([]subject.Field, d.count(2))
	for i := range fields {
		fields[i].Key = string(d.bytes())
		fields[i].Value = d.value(depth + 1)
	}
	d.require(d.bad || uniqueKeys(fields))
	return subject.OfMap(fields)
}

func uniqueKeys(fields []subject.Field) bool {
	if len(fields) <= 8 {
		for i := range fields {
			for j := range i {
				if fields[i].Key == fields[j].Key {
					return false
				}
			}
		}
		return true
	}
	seen := make(map[string]struct{}, len(fields))
	for i := range fields {
		seen[fields[i].Key] = struct{}{}
	}
	return len(seen) == len(fields)
}

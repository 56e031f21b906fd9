package portable

import (
	"bytes"
	"errors"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/segmentd/segmentd/state/subject"
)

// Value is a value as the document writes it: JSON, whose numbers are exact and whose
// objects keep their order. What JSON has no word for is an object of one member:
// {"$timestamp":"2026-01-31T10:00:00Z"}, {"$duration":microseconds}; an object that
// would look like one of these is {"$object":[member's name, its value]}.
type Value struct{ subject.Value }

const (
	asTimestamp = "$timestamp"
	asDuration  = "$duration"
	asObject    = "$object"
)

var errValue = errors.New("not a value as segmentd writes it")

// MarshalJSON implements json.Marshaler.
func (v Value) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	if err := write(jsontext.NewEncoder(&b), v.Value); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

func write(e *jsontext.Encoder, v subject.Value) error {
	switch v.Kind() {
	case subject.Bool:
		return e.WriteToken(jsontext.Bool(v.IsTrue()))
	case subject.NumberKind:
		return e.WriteValue(jsontext.Value(v.Number().String()))
	case subject.String:
		return e.WriteToken(jsontext.String(v.Str()))
	case subject.Time:
		return writeObject(e, []subject.Field{{Key: asTimestamp, Value: subject.OfString(v.Instant().String())}})
	case subject.Duration:
		return writeObject(e, []subject.Field{{Key: asDuration, Value: subject.OfInt(v.Micros())}})
	case subject.List:
		return writeList(e, v.List())
	case subject.Map:
		fields := v.Fields()
		if isSpecial(fields) {
			pair := subject.OfList([]subject.Value{subject.OfString(fields[0].Key), fields[0].Value})
			fields = []subject.Field{{Key: asObject, Value: pair}}
		}
		return writeObject(e, fields)
	}
	return e.WriteToken(jsontext.Null)
}

func isSpecial(fields []subject.Field) bool {
	return len(fields) == 1 && strings.HasPrefix(fields[0].Key, "$")
}

func writeObject(e *jsontext.Encoder, fields []subject.Field) error {
	if err := e.WriteToken(jsontext.BeginObject); err != nil {
		return err
	}
	for i := range fields {
		if err := e.WriteToken(jsontext.String(fields[i].Key)); err != nil {
			return err
		}
		if err := write(e, fields[i].Value); err != nil {
			return err
		}
	}
	return e.WriteToken(jsontext.EndObject)
}

func writeList(e *jsontext.Encoder, list []subject.Value) error {
	if err := e.WriteToken(jsontext.BeginArray); err != nil {
		return err
	}
	for i := range list {
		if err := write(e, list[i]); err != nil {
			return err
		}
	}
	return e.WriteToken(jsontext.EndArray)
}

// UnmarshalJSON implements json.Unmarshaler.
func (v *Value) UnmarshalJSON(b []byte) (err error) {
	v.Value, err = read(jsontext.NewDecoder(bytes.NewReader(b)))
	return err
}

func read(d *jsontext.Decoder) (subject.Value, error) {
	t, err := d.ReadToken()
	if err != nil {
		return subject.Value{}, err
	}
	switch t.Kind() {
	case 't', 'f':
		return subject.OfBool(t.Bool()), nil
	case '"':
		return subject.OfString(t.String()), nil
	case '0':
		n, ok := subject.ParseNumber(t.String())
		if !ok {
			return subject.Value{}, errValue
		}
		return subject.OfNumber(n), nil
	case '[':
		return readList(d)
	case '{':
		fields, err := readObject(d)
		if err != nil || !isSpecial(fields) {
			return subject.OfMap(fields), err
		}
		return special(fields[0])
	}
	return subject.Value{}, nil
}

func readList(d *jsontext.Decoder) (subject.Value, error) {
	var list []subject.Value
	for d.PeekKind() != ']' {
		v, err := read(d)
		if err != nil {
			return v, err
		}
		list = append(list, v)
	}
	_, err := d.ReadToken()
	return subject.OfList(list), err
}

func readObject(d *jsontext.Decoder) (fields []subject.Field, err error) {
	for d.PeekKind() != '}' {
		name, err := d.ReadToken()
		if err != nil {
			return nil, err
		}
		key := name.String() // the token is valid until the next read only
		v, err := read(d)
		if err != nil {
			return nil, err
		}
		fields = append(fields, subject.Field{Key: key, Value: v})
	}
	_, err = d.ReadToken()
	return fields, err
}

// special reads what an object of one member means.
func special(f subject.Field) (subject.Value, error) {
	switch {
	case f.Key == asObject:
		if pair := f.Value.List(); len(pair) == 2 && pair[0].Kind() == subject.String {
			return subject.OfMap([]subject.Field{{Key: pair[0].Str(), Value: pair[1]}}), nil
		}
	case f.Key == asTimestamp && f.Value.Kind() == subject.String:
		at, err := subject.ParseInstant(f.Value.Str())
		return subject.OfTime(at), err
	case f.Key == asDuration:
		if us, ok := f.Value.Number().Int64(); ok && f.Value.Kind() == subject.NumberKind {
			return subject.OfDuration(us), nil
		}
	}
	return subject.Value{}, errValue
}

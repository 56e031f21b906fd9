package mapping

import (
	"bytes"
	"errors"
	"reflect"

	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/segmentd/segmentd/processor/wire/scan"
	"github.com/segmentd/segmentd/state/subject"
)

// wrap makes a CEL value of validated JSON. Objects and lists are taken apart
// when they are first asked, one level at a time, and keep their text.
func wrap(raw []byte) ref.Val {
	switch raw[0] {
	case '{':
		return &jsonObject{raw: raw}
	case '[':
		return &jsonList{raw: raw}
	case '"':
		text, _ := scan.Unquote(raw, nil)
		return types.String(text)
	case 't':
		return types.True
	case 'f':
		return types.False
	case 'n':
		return null
	}
	n, ok := subject.ParseNumber(string(raw))
	if !ok {
		return null
	}
	return ofNumber(n)
}

// valid checks that text is one JSON value and returns it without space around.
func valid(text []byte) (raw []byte, ok bool) {
	raw = bytes.Trim(text, " \t\r\n")
	return raw, len(raw) > 0 && jsontext.Value(raw).IsValid()
}

var errNoNative = errors.New("no native value")

// jsonObject is an object of a record. A member that is missing is null.
type jsonObject struct {
	raw     []byte
	read    bool
	members []jsonMember // in the record's order
	byName  map[string]int
}

type jsonMember struct {
	name  string
	raw   []byte
	value ref.Val // nil: not asked for yet
}

// manyMembers is from where on a map finds a member faster than comparing all.
const manyMembers = 16

func (o *jsonObject) open() {
	if o.read {
		return
	}
	o.read = true
	for m := scan.MembersOf(o.raw); ; {
		quoted, raw, ok := m.Next()
		if !ok {
			break
		}
		name, _ := scan.Unquote(quoted, nil)
		o.members = append(o.members, jsonMember{name: string(name), raw: raw})
	}
	if len(o.members) >= manyMembers {
		o.byName = make(map[string]int, len(o.members))
		for i := range o.members {
			o.byName[o.members[i].name] = i
		}
	}
}

func (o *jsonObject) at(i int) ref.Val {
	m := &o.members[i]
	if m.value == nil {
		m.value = wrap(m.raw)
	}
	return m.value
}

// member returns the index of the member of that name, -1 if there is none.
func (o *jsonObject) member(key ref.Val) int {
	name, ok := key.(types.String)
	if !ok {
		return -1
	}
	o.open()
	if o.byName != nil {
		if i, ok := o.byName[string(name)]; ok {
			return i
		}
		return -1
	}
	for i := range o.members {
		if o.members[i].name == string(name) {
			return i
		}
	}
	return -1
}

// Find returns the member of that name, null where there is none.
func (o *jsonObject) Find(key ref.Val) (ref.Val, bool) { return o.Get(key), true }

// Get is Find.
func (o *jsonObject) Get(key ref.Val) ref.Val {
	if i := o.member(key); i >= 0 {
		return o.at(i)
	}
	return null
}

// Contains reports whether there is a member of that name, be it null.
func (o *jsonObject) Contains(key ref.Val) ref.Val { return types.Bool(o.member(key) >= 0) }

// Size is the number of members.
func (o *jsonObject) Size() ref.Val {
	o.open()
	return types.Int(len(o.members))
}

// Iterator goes over the names, in the record's order.
func (o *jsonObject) Iterator() traits.Iterator {
	o.open()
	names := make([]string, len(o.members))
	for i := range o.members {
		names[i] = o.members[i].name
	}
	return types.NewStringList(types.DefaultTypeAdapter, names).Iterator()
}

// Fold visits the members in the record's order.
func (o *jsonObject) Fold(f traits.Folder) {
	o.open()
	for i := range o.members {
		if !f.FoldEntry(types.String(o.members[i].name), o.at(i)) {
			return
		}
	}
}

// Equal reports whether the other is a map with equal members.
func (o *jsonObject) Equal(other ref.Val) ref.Val {
	m, ok := other.(traits.Mapper)
	if !ok || m.Type() != types.MapType || m.Size() != o.Size() {
		return types.False
	}
	for i := range o.members {
		name := types.String(o.members[i].name)
		if m.Contains(name) != types.True || types.Equal(o.at(i), m.Get(name)) != types.True {
			return types.False
		}
	}
	return types.True
}

// Type is CEL's map.
func (*jsonObject) Type() ref.Type { return types.MapType }

// Value is the object's text.
func (o *jsonObject) Value() any { return jsontext.Value(o.raw) }

// ConvertToNative is not supported.
func (*jsonObject) ConvertToNative(reflect.Type) (any, error) { return nil, errNoNative }

// ConvertToType converts to map alone.
func (o *jsonObject) ConvertToType(t ref.Type) ref.Val { return convert(o, t) }

// jsonList is a list of a record.
type jsonList struct {
	raw      []byte
	elements traits.Lister // nil: not asked for yet
}

func (l *jsonList) open() traits.Lister {
	if l.elements == nil {
		var all []ref.Val
		for e := scan.ElementsOf(l.raw); ; {
			raw, ok := e.Next()
			if !ok {
				break
			}
			all = append(all, wrap(raw))
		}
		l.elements = types.NewRefValList(types.DefaultTypeAdapter, all)
	}
	return l.elements
}

// Add is both lists, one after the other.
func (l *jsonList) Add(other ref.Val) ref.Val { return l.open().Add(other) }

// Contains reports whether an element equals the value.
func (l *jsonList) Contains(v ref.Val) ref.Val { return l.open().Contains(v) }

// Get returns the element at an index, or an error.
func (l *jsonList) Get(i ref.Val) ref.Val { return l.open().Get(i) }

// Iterator goes over the elements.
func (l *jsonList) Iterator() traits.Iterator { return l.open().Iterator() }

// Size is the number of elements.
func (l *jsonList) Size() ref.Val { return l.open().Size() }

// Equal reports whether the other is a list with equal elements.
func (l *jsonList) Equal(other ref.Val) ref.Val {
	if o, ok := other.(*jsonList); ok {
		other = o.open()
	}
	return l.open().Equal(other)
}

// Type is CEL's list.
func (*jsonList) Type() ref.Type { return types.ListType }

// Value is the list's text.
func (l *jsonList) Value() any { return jsontext.Value(l.raw) }

// ConvertToNative is not supported.
func (*jsonList) ConvertToNative(reflect.Type) (any, error) { return nil, errNoNative }

// ConvertToType converts to list alone.
func (l *jsonList) ConvertToType(t ref.Type) ref.Val { return convert(l, t) }

func convert(v ref.Val, t ref.Type) ref.Val {
	if t == v.Type() {
		return v
	}
	return types.NoSuchOverloadErr()
}

// nothing is null: of records, of missing members, and the literal. Asked for a
// member it gives itself; a loop over it sees nothing.
type nothing struct{ types.Null }

var null ref.Val = nothing{}

// Find is null.
func (nothing) Find(ref.Val) (ref.Val, bool) { return null, true }

// Get is null.
func (nothing) Get(ref.Val) ref.Val { return null }

// Contains is false.
func (nothing) Contains(ref.Val) ref.Val { return types.False }

// Size is 0.
func (nothing) Size() ref.Val { return types.IntZero }

// Iterator goes over nothing.
func (nothing) Iterator() traits.Iterator {
	return types.NewStringList(types.DefaultTypeAdapter, nil).Iterator()
}

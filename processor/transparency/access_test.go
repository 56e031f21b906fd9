package transparency

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/segmentd/segmentd/processor/core"
	"github.com/segmentd/segmentd/rules/schematest"
)

// The text of an access document has everything that the document has.
func TestAccessTextIsComplete(t *testing.T) {
	a := &Access{}
	f := filler{t: t}
	f.fill("Access", reflect.ValueOf(a).Elem())
	b, err := json.Marshal(a)
	if err != nil {
		t.Fatal(err)
	}
	read, err := ReadAccess(b)
	if err != nil {
		t.Fatal(err)
	}
	text := strings.ToLower(read.Text())
	if len(f.filled) < 80 {
		t.Errorf("only %d values were put in", len(f.filled))
	}
	for path, value := range f.filled {
		if !strings.Contains(text, value) {
			t.Errorf("%s %q is not in\n%s", path, value, text)
		}
	}
	if _, err := ReadAccess([]byte("{")); err == nil {
		t.Error("half a document was read")
	}
}

// filler puts a value of its own into every field, so that it can be looked for.
type filler struct {
	t      *testing.T
	filled map[string]string // by path
}

// untold are fields whose value no reader needs: the language, a purpose's key beside
// its words, and what JSON has not.
var untold = map[string]bool{"Language": true, "Key": true, "Gaps": true, "Hash": true, "NoDPO": true}

func (f *filler) fill(path string, v reflect.Value) {
	if f.filled == nil {
		f.filled = map[string]string{}
	}
	name := path[strings.LastIndexByte(path, '.')+1:]
	if untold[name] {
		return
	}
	token := fmt.Sprintf("v%dv", len(f.filled)+1000)
	switch v.Kind() {
	case reflect.String:
		v.SetString(token)
		f.filled[path] = token
	case reflect.Uint64:
		v.SetUint(uint64(len(f.filled) + 5000))
		f.filled[path] = fmt.Sprint(v.Uint())
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Interface:
		v.Set(reflect.ValueOf(token))
		f.filled[path] = token
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		f.fill(path, v.Elem())
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		for i := range 2 {
			f.fill(fmt.Sprintf("%s[%d]", path, i), v.Index(i))
		}
	case reflect.Struct:
		for i := range v.NumField() {
			f.fill(path+"."+v.Type().Field(i).Name, v.Field(i))
		}
	default:
		f.t.Errorf("%s is a %s: say here how it is filled", path, v.Type())
	}
}

// With the data goes what GDPR article 15(1) asks for, of the purposes that something
// is kept for.
func TestAccessSaysWhatArticle15Asks(t *testing.T) {
	schema, _ := Schema("notice")
	for _, c := range []struct {
		name string
		kept core.AccessDocument
		want int
	}{
		{"nothing", core.AccessDocument{}, 0},
		{"one", core.AccessDocument{Purposes: []core.AccessPurpose{{Purpose: "ads"}}}, 1},
		{"under new rules", core.AccessDocument{New: []core.AccessPurpose{{Purpose: "ads"}}}, 1},
		{"one that is gone", core.AccessDocument{Purposes: []core.AccessPurpose{{Purpose: "old"}}}, 0},
	} {
		s := sourceOf(t, told, nil)
		s.Config.Privacy.Authority = "Data Protection Commission"
		a := NewAccess(s, c.kept)
		if len(a.About.Purposes) != c.want {
			t.Errorf("%s: it is about %d purposes, want %d", c.name, len(a.About.Purposes), c.want)
		}
		b, err := json.Marshal(a)
		if err != nil {
			t.Fatal(err)
		}
		for _, words := range []string{"Shop Ltd", "privacy@shop.example", "Data Protection Commission", "You can have wrong data corrected", "You can have your data deleted", "We answer within a month", "newest 128"} {
			if !strings.Contains(string(b), words) {
				t.Errorf("%s: %q is not in %s", c.name, words, b)
			}
		}
		if c.want == 0 {
			continue
		}
		about, err := json.Marshal(a.About)
		if err != nil {
			t.Fatal(err)
		}
		if err := schematest.Compile(t, schema).Validate(schematest.JSON(t, about)); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		for _, words := range []string{"whether, how often and when you did this", "at most 38 days", "Mail House"} { // 15(1)(h), (d), (c)
			if !strings.Contains(string(about), words) {
				t.Errorf("%s: %q is not in %s", c.name, words, about)
			}
		}
	}
}

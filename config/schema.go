package config

import (
	"reflect"
	"slices"
	"strings"
)

const envPrefix = "SEGMENTD_"

// field is one setting, or one block of settings, as the struct declares it.
type field struct {
	key   string // in the file; "" for one that only the environment gives
	path  string // keys joined by dots; in a list "inputs[]", while reading one "inputs[0]"
	name  string // of the Go field
	index int    // in its struct
	typ   reflect.Type
	tag   reflect.StructTag
}

// fieldsOf lists the settings of a struct type, with paths below path.
func fieldsOf(t reflect.Type, path string) []field {
	var fields []field
	for i := range t.NumField() {
		sf := t.Field(i)
		key := sf.Tag.Get("yaml")
		if key == "" {
			continue
		}
		f := field{key: key, name: sf.Name, index: i, typ: sf.Type, tag: sf.Tag}
		if key == "-" {
			f.key, key = "", strings.ToLower(sf.Tag.Get("env"))
		}
		f.path = joinPath(path, key)
		fields = append(fields, f)
	}
	return fields
}

func joinPath(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

// isBlock reports whether the field is a struct of further settings.
func (f field) isBlock() bool { return f.typ.Kind() == reflect.Struct }

// isListOfBlocks reports whether the field is a list of structs.
func (f field) isListOfBlocks() bool {
	return f.typ.Kind() == reflect.Slice && f.typ.Elem().Kind() == reflect.Struct
}

// allowed are the words the field may be, nil if it may be anything.
func (f field) allowed() []string {
	words := f.tag.Get("allowed")
	if words == "" {
		return nil
	}
	return strings.Split(words, "|")
}

// env is the environment variable of the field.
func (f field) env() string {
	return envPrefix + strings.ToUpper(strings.ReplaceAll(f.path, ".", "_"))
}

// settings lists every setting that has a variable of its own: all but blocks
// and what is in lists.
func settings(t reflect.Type, path string) []field {
	var all []field
	for _, f := range fieldsOf(t, path) {
		if f.isBlock() {
			all = append(all, settings(f.typ, f.path)...)
			continue
		}
		all = append(all, f)
	}
	return all
}

// settingAt returns the setting with a path.
func settingAt(path string) field {
	all := settings(reflect.TypeFor[Config](), "")
	return all[slices.IndexFunc(all, func(f field) bool { return f.path == path })]
}

// at returns the value at a path without list indices.
func at(v reflect.Value, path string) reflect.Value {
	for _, f := range fieldsOf(v.Type(), "") {
		if f.path == path {
			return v.Field(f.index)
		}
		if rest, below := strings.CutPrefix(path, f.path+"."); below {
			return at(v.Field(f.index), rest)
		}
	}
	panic("config: no setting " + path)
}

// setDefaults gives every setting of a struct its default.
func setDefaults(v reflect.Value) {
	for _, f := range fieldsOf(v.Type(), "") {
		fv := v.Field(f.index)
		if f.isBlock() {
			setDefaults(fv)
			continue
		}
		text, has := f.tag.Lookup("default")
		if !has {
			continue
		}
		if err := setText(fv, f, text); err != nil {
			panic("config: default of " + f.path + ": " + err.Error())
		}
	}
}

// Default returns the configuration where no source says anything.
func Default() *Config {
	c := &Config{origins: map[string]string{}}
	setDefaults(reflect.ValueOf(c).Elem())
	return c
}

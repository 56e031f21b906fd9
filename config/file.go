package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"
)

// yamlLine is how the YAML parser names the line of a syntax error.
var yamlLine = regexp.MustCompile(`^yaml: line (\d+): `)

// readFile reads the configuration file; where names what asked for it.
func (l *loader) readFile(path, where string) {
	text, err := os.ReadFile(path)
	if err != nil {
		l.problem(where, "", err.Error())
		return
	}
	r := reader{loader: l, source: path, numbered: true}
	root := r.parse(text)
	if root == nil {
		return
	}
	if root.Kind != yaml.MappingNode {
		r.problem(root, "", "the file is not a mapping of keys to values")
		return
	}
	r.block(root, reflect.ValueOf(l.cfg).Elem(), "")
}

// readList reads a list of blocks given as YAML in a variable.
func (l *loader) readList(f field, text, where string) {
	r := reader{loader: l, source: where}
	l.cfg.forget(f.path)
	if root := r.parse([]byte(text)); root != nil {
		r.value(root, at(reflect.ValueOf(l.cfg).Elem(), f.path), f)
	}
}

// reader decodes YAML strictly, with the line of every problem.
type reader struct {
	*loader
	source   string // name of the file or of the variable
	numbered bool   // it has lines that are worth naming
}

func (r reader) where(n *yaml.Node) string {
	if !r.numbered {
		return r.source
	}
	return fmt.Sprintf("%s:%d", r.source, n.Line)
}

func (r reader) problem(n *yaml.Node, path, text string) {
	r.loader.problem(r.where(n), path, text)
}

// parse returns the only document's root, nil if it is empty or broken.
func (r reader) parse(text []byte) *yaml.Node {
	dec := yaml.NewDecoder(bytes.NewReader(text))
	var doc, next yaml.Node
	err := dec.Decode(&doc)
	if errors.Is(err, io.EOF) {
		return nil
	}
	if err != nil {
		r.syntax(err)
		return nil
	}
	if err := dec.Decode(&next); err == nil {
		r.problem(&next, "", "a second YAML document; only one is allowed")
	} else if !errors.Is(err, io.EOF) {
		r.syntax(err)
	}
	root := resolve(doc.Content[0])
	if isNull(root) {
		return nil
	}
	return root
}

func (r reader) syntax(err error) {
	text, where := err.Error(), r.source
	if m := yamlLine.FindStringSubmatch(text); m != nil {
		text = text[len(m[0]):]
		if r.numbered {
			where += ":" + m[1]
		}
	}
	r.loader.problem(where, "", "not YAML: "+strings.TrimPrefix(text, "yaml: "))
}

// block decodes a mapping into a struct.
func (r reader) block(n *yaml.Node, v reflect.Value, path string) {
	fields := fieldsOf(v.Type(), path)
	seen := map[string]int{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, val := n.Content[i], resolve(n.Content[i+1])
		if first, twice := seen[key.Value]; twice {
			r.problem(key, joinPath(path, key.Value), fmt.Sprintf("given twice, first in line %d", first))
			continue
		}
		seen[key.Value] = key.Line
		at := slices.IndexFunc(fields, func(f field) bool { return f.key != "" && f.key == key.Value })
		if at < 0 {
			r.unknown(key, path, fields)
			continue
		}
		r.value(val, v.Field(fields[at].index), fields[at])
	}
}

// unknown reports a key that is none, with the nearest that is.
func (r reader) unknown(key *yaml.Node, path string, fields []field) {
	var keys []string
	for _, f := range fields {
		if f.key != "" {
			keys = append(keys, f.key)
		}
	}
	hint := didYouMean(key.Value, keys)
	if hint == "" {
		hint = "; known here: " + strings.Join(keys, ", ")
	}
	r.problem(key, joinPath(path, key.Value), "unknown key"+hint)
}

// value decodes one node into one field. Null leaves the default.
func (r reader) value(n *yaml.Node, v reflect.Value, f field) {
	switch {
	case isNull(n):
	case f.isBlock():
		if r.is(n, yaml.MappingNode, f) {
			r.block(n, v, f.path)
		}
	case f.isListOfBlocks():
		if r.is(n, yaml.SequenceNode, f) {
			r.blocks(n, v, f)
		}
	case f.typ.Kind() == reflect.Map:
		if r.is(n, yaml.MappingNode, f) {
			r.words(n, v, f)
		}
	case f.typ.Kind() == reflect.Slice && n.Kind != yaml.ScalarNode:
		if r.is(n, yaml.SequenceNode, f) {
			r.list(n, v, f)
		}
	default:
		r.scalar(n, v, f)
	}
}

// blocks decodes a list of mappings, each upon the defaults of its type.
func (r reader) blocks(n *yaml.Node, v reflect.Value, f field) {
	r.cfg.forget(f.path)
	list := reflect.MakeSlice(f.typ, len(n.Content), len(n.Content))
	for i, item := range n.Content {
		item, elem := resolve(item), list.Index(i)
		setDefaults(elem)
		path := indexPath(f.path, i)
		r.cfg.origins[path] = r.where(item)
		if r.is(item, yaml.MappingNode, field{path: path, typ: elem.Type()}) {
			r.block(item, elem, path)
		}
	}
	v.Set(list)
	r.cfg.origins[f.path] = r.where(n)
}

// words decodes a mapping of words to words.
func (r reader) words(n *yaml.Node, v reflect.Value, f field) {
	words := reflect.MakeMap(f.typ)
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, val := n.Content[i], resolve(n.Content[i+1])
		item := field{path: joinPath(f.path, key.Value), typ: f.typ.Elem()}
		if r.is(val, yaml.ScalarNode, item) {
			if words.MapIndex(reflect.ValueOf(key.Value)).IsValid() {
				r.problem(key, item.path, "given twice")
			}
			words.SetMapIndex(reflect.ValueOf(key.Value), reflect.ValueOf(val.Value))
			r.cfg.origins[item.path] = r.where(val)
		}
	}
	v.Set(words)
	r.cfg.origins[f.path] = r.where(n)
}

// list decodes a list of words.
func (r reader) list(n *yaml.Node, v reflect.Value, f field) {
	items := make([]string, 0, len(n.Content))
	for i, item := range n.Content {
		item = resolve(item)
		if r.is(item, yaml.ScalarNode, field{path: indexPath(f.path, i), typ: f.typ.Elem()}) {
			items = append(items, item.Value)
		}
	}
	v.Set(reflect.ValueOf(items))
	r.cfg.origins[f.path] = r.where(n)
}

// scalar decodes a single value.
func (r reader) scalar(n *yaml.Node, v reflect.Value, f field) {
	if !r.is(n, yaml.ScalarNode, f) {
		return
	}
	if err := setText(v, f, n.Value); err != nil {
		r.problem(n, f.path, err.Error())
		return
	}
	r.cfg.origins[f.path] = r.where(n)
}

var nodeKinds = map[yaml.Kind]string{
	yaml.MappingNode: "a mapping", yaml.SequenceNode: "a list", yaml.ScalarNode: "a single value",
}

// is reports whether the node has the kind that the field needs, and a problem if not.
func (r reader) is(n *yaml.Node, kind yaml.Kind, f field) bool {
	if n.Kind == kind {
		return true
	}
	r.problem(n, f.path, nodeKinds[n.Kind]+" is given; "+nodeKinds[kind]+" is needed")
	return false
}

func resolve(n *yaml.Node) *yaml.Node {
	if n.Kind == yaml.AliasNode {
		return n.Alias
	}
	return n
}

func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.Tag == "!!null" }

package config

import (
	"bytes"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"
)

// Render returns the effective configuration as YAML that could be a
// configuration file, with secrets masked and, behind each value that is no
// default, what gave it.
func (c *Config) Render() string {
	var b bytes.Buffer
	enc := yaml.NewEncoder(&b)
	enc.SetIndent(2)
	if err := enc.Encode(c.renderBlock(reflect.ValueOf(c).Elem(), "")); err != nil {
		panic(fmt.Sprintf("config: render: %v", err)) // nodes of our own making always encode
	}
	if c.Secret != "" {
		fmt.Fprintf(&b, "# secret: %s from %s\n", masked, c.origin("secret"))
	}
	return b.String()
}

func (c *Config) renderBlock(v reflect.Value, path string) *yaml.Node {
	n := &yaml.Node{Kind: yaml.MappingNode}
	for _, f := range fieldsOf(v.Type(), path) {
		if f.key == "" {
			continue
		}
		key := &yaml.Node{Kind: yaml.ScalarNode, Value: f.key}
		n.Content = append(n.Content, key, c.renderValue(v.Field(f.index), f, key))
	}
	return n
}

// renderValue renders one value; the origin of a list goes to its key.
func (c *Config) renderValue(v reflect.Value, f field, key *yaml.Node) *yaml.Node {
	switch {
	case f.isBlock():
		return c.renderBlock(v, f.path)
	case f.isListOfBlocks():
		n := &yaml.Node{Kind: yaml.SequenceNode}
		for i := range v.Len() {
			n.Content = append(n.Content, c.renderBlock(v.Index(i), indexPath(f.path, i)))
		}
		if v.Len() == 0 {
			n.Style = yaml.FlowStyle
		}
		key.LineComment = c.comment(f.path)
		return n
	case f.typ.Kind() == reflect.Slice:
		n := &yaml.Node{Kind: yaml.SequenceNode, Style: yaml.FlowStyle, LineComment: c.comment(f.path)}
		for i := range v.Len() {
			n.Content = append(n.Content, scalarNode(v.Index(i).String()))
		}
		return n
	case f.typ.Kind() == reflect.Map:
		return renderMap(v)
	}
	return c.renderScalar(v, f)
}

func (c *Config) renderScalar(v reflect.Value, f field) *yaml.Node {
	n := &yaml.Node{Kind: yaml.ScalarNode, Value: formatValue(v, f)}
	if v.Kind() == reflect.String {
		n = scalarNode(n.Value)
	}
	n.LineComment = c.comment(f.path)
	return n
}

func renderMap(v reflect.Value) *yaml.Node {
	n := &yaml.Node{Kind: yaml.MappingNode, Style: yaml.FlowStyle}
	keys := v.MapKeys()
	slices.SortFunc(keys, func(a, b reflect.Value) int { return strings.Compare(a.String(), b.String()) })
	for _, k := range keys {
		n.Content = append(n.Content, scalarNode(k.String()), scalarNode(v.MapIndex(k).String()))
	}
	return n
}

// scalarNode is a text, quoted where it would be read as something else.
func scalarNode(text string) *yaml.Node {
	n := &yaml.Node{}
	n.SetString(text)
	if text == "" {
		n.Style = yaml.DoubleQuotedStyle
	}
	return n
}

// comment names the source of a value that is no default. What a list's item
// says comes from where the list does, so it has none.
func (c *Config) comment(path string) string {
	if strings.Contains(path, "[") {
		return ""
	}
	return c.origins[path]
}

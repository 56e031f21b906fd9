package oracle

import (
	"fmt"
	"slices"
	"strings"
)

var (
	sourceMethods = map[string]bool{"where": true, "within": true, "between": true, "since": true, "until": true}
	aggregates    = map[string]function{
		"exists": anyEvent, "count": countEvents, "first": firstEvent, "last": lastEvent, "distinct": distinctValues,
		"sum": sumValues, "avg": averageValue, "min": smallestValue, "max": largestValue,
	}
)

func (c *converter) events(args []*node) (*node, error) {
	name, ok := args[0].value.(string)
	if !ok {
		return nil, errRule
	}
	if strings.HasSuffix(name, "*") {
		return nil, fmt.Errorf("event names with *: %w", ErrNotAvailable)
	}
	return c.source(&source{name: name}), nil
}

// source makes a node of a source and notes that the purpose reads it.
func (c *converter) source(s *source) *node {
	r := &c.seg.purpose.reads
	r.events[s.name] = true
	return &node{kind: sourceNode, src: s}
}

// narrow adds a method to a source.
func (c *converter) narrow(method string, args []*node) (*node, error) {
	f := filter{method: method}
	var err error
	switch method {
	case "where":
		f.predicate = c.remembered(args[1])
	case "within":
		f.far, err = c.span(args[1])
	case "between":
		if f.far, err = c.span(args[1]); err == nil {
			f.near, err = c.span(args[2])
		}
	default:
		f.at = args[1]
	}
	old := args[0].src
	return c.source(&source{name: old.name, filters: append(slices.Clone(old.filters), f)}), err
}

func (c *converter) aggregate(name string, args []*node) (*node, error) {
	f, ok := aggregates[name]
	if !ok {
		return nil, fmt.Errorf("%s: %w", name, ErrNotAvailable)
	}
	for _, a := range args[1:] {
		c.remembered(a)
	}
	r := &c.seg.purpose.reads
	r.sources = append(r.sources, args[0].src)
	return &node{kind: callNode, name: name, args: args, call: f}, nil
}

// remembered gives a node a memo slot.
func (c *converter) remembered(n *node) *node {
	n.memo = c.set.memos
	c.set.memos++
	return n
}

// span reads a literal duration and notes that answers can change by it.
func (c *converter) span(n *node) (span, error) {
	text, _ := n.value.(string)
	d, err := parseDuration(text)
	c.seg.purpose.reads.spans[d] = true
	return d, err
}

package oracle

import (
	"errors"
	"fmt"
	"math/big"
	"slices"
)

// forgetful is the memo of an expression whose value for an event is not always the same.
const forgetful = -1

var (
	errWhole   = errors.New("not a whole number")
	aggregates = map[string]function{
		"exists": anyEvent, "count": countEvents, "first": firstEvent, "last": lastEvent, "distinct": distinctValues,
		"sum": sumValues, "avg": averageValue, "min": smallestValue, "max": largestValue,
		"most_frequent": mostFrequentValue, "days": countDays, "periods": countPeriods,
	}
)

func (c *converter) events(args []*node) (*node, error) {
	name, ok := args[0].value.(string)
	if !ok {
		return nil, errRule
	}
	return c.source(&source{name: name}), nil
}

// source makes a node of a source and notes that the purpose reads it.
func (c *converter) source(s *source) *node {
	r := &c.seg.purpose.reads
	r.names = append(r.names, s)
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
	case "since_midnight":
		if f.days, err = whole(args[1]); err == nil {
			text, _ := args[2].value.(string)
			f.zone, err = c.set.zone(text)
		}
	case "followed_by", "not_followed_by":
		f.then, f.gap, err = c.follower(args[1:])
	default:
		f.at = (&scope{}).eval(args[1])
	}
	return c.source(args[0].src.with(f)), err
}

// follower reads the pairs of a funnel: a.followed_by(b, d1, c, d2) is
// a.followed_by(b.followed_by(c, d2), d1).
func (c *converter) follower(args []*node) (then *source, gap span, err error) {
	if len(args) < 2 || args[0].kind != sourceNode {
		return nil, 0, errRule
	}
	then = args[0].src
	if len(args) > 2 {
		next, after, err := c.follower(args[2:])
		if err != nil {
			return nil, 0, err
		}
		then = then.with(filter{method: "followed_by", then: next, gap: after})
	}
	gap, err = c.span(args[1])
	return then, gap, err
}

func (s *source) with(f filter) *source {
	return &source{name: s.name, filters: append(slices.Clone(s.filters), f)}
}

func (c *converter) aggregate(name string, args []*node) (*node, error) {
	f, ok := aggregates[name]
	if !ok {
		return nil, fmt.Errorf("%s: %w", name, ErrNotAvailable)
	}
	n := &node{kind: callNode, name: name, args: args, call: f}
	u := use{source: args[0].src}
	var err error
	switch name {
	case "days":
		text, _ := args[1].value.(string)
		n.zone, err = c.set.zone(text)
	case "periods":
		n.least = 1
		if u.width, err = c.span(args[1]); err == nil && len(args) > 2 {
			n.least, err = whole(args[2])
		}
		n.value = u.width
	default:
		for _, a := range args[1:] {
			c.remembered(a)
		}
	}
	c.seg.uses = append(c.seg.uses, u)
	return n, err
}

// remembered gives a node a memo slot, if its value depends on one event alone.
func (c *converter) remembered(n *node) *node {
	if n.mentions("previous") {
		n.memo = forgetful
		return n
	}
	n.memo = c.set.memos
	c.set.memos++
	return n
}

func (n *node) mentions(name string) bool {
	return n.kind == nameNode && n.name == name || slices.ContainsFunc(n.args, func(a *node) bool { return a.mentions(name) })
}

// span reads a literal duration and notes that answers can change by it.
func (c *converter) span(n *node) (span, error) {
	text, _ := n.value.(string)
	d, err := parseDuration(text)
	c.seg.purpose.reads.spans[d] = true
	return d, err
}

// whole reads a literal whole number.
func whole(n *node) (int, error) {
	r, ok := n.value.(*big.Rat)
	if !ok || !r.IsInt() || r.Sign() < 0 || !r.Num().IsInt64() {
		return 0, errWhole
	}
	return int(r.Num().Int64()), nil
}

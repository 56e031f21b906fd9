package rules

import (
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/segmentd/segmentd/state/subject"
)

// origin is the instant tests count seconds from.
var origin = subject.FromTime(time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC))

func second(n int) subject.Instant { return origin + subject.Instant(n)*1_000_000 }

// ruleSource is a rule set in a test: one purpose "p" unless purposes is set.
type ruleSource struct {
	retention time.Duration // 0: 400 days
	purposes  []Purpose
	mins      map[string]int64
	lists     map[string]*list
	lets      [][2]string
	rules     []string          // segments r000, r001 … of the first purpose
	named     map[string]string // further segments by key
	of        map[string]int    // purposes of named ones
}

// checked type-checks the rules under newEnv, as the front-end does.
func (r ruleSource) checked(t testing.TB) *checked {
	t.Helper()
	if r.retention == 0 {
		r.retention = 400 * 24 * time.Hour
	}
	c := &checked{purposes: r.purposes, lists: r.lists}
	if c.purposes == nil {
		c.purposes = []Purpose{{Key: "p", Retention: r.retention}}
	}
	for path, n := range r.mins {
		m := subject.Int(n)
		c.fields = append(c.fields, dataField{path: path, min: &m})
	}
	var decls []letDecl
	for _, l := range r.lets {
		a := checkExpr(t, l[1], decls...)
		c.lets = append(c.lets, checkedLet{name: l[0], ast: a, outType: a.GetType(a.Expr().ID())})
		decls = append(decls, letDecl{name: l[0], typ: a.GetType(a.Expr().ID())})
	}
	for i, text := range r.rules {
		c.segments = append(c.segments, checkedSegment{key: fmt.Sprintf("r%03d", i), when: text, ast: checkExpr(t, text, decls...)})
	}
	for key, text := range r.named {
		c.segments = append(c.segments, checkedSegment{key: key, purpose: r.of[key], when: text, ast: checkExpr(t, text, decls...)})
	}
	return c
}

// compile compiles the rules and fails the test on problems.
func (r ruleSource) compile(t testing.TB) *Set {
	t.Helper()
	s, problems := compileSet(r.checked(t))
	for _, p := range problems {
		t.Errorf("%+v", p)
	}
	if s == nil {
		t.FailNow()
	}
	return s
}

// problems compiles rules that must not compile and returns the messages.
func (r ruleSource) problems(t testing.TB) (messages []string) {
	t.Helper()
	_, problems := compileSet(r.checked(t))
	for _, p := range problems {
		messages = append(messages, p.message)
	}
	return messages
}

// segment returns a compiled segment by key.
func (s *Set) segment(t testing.TB, key string) *Segment {
	t.Helper()
	i, ok := s.SegmentByKey(key)
	if !ok {
		t.Fatalf("no segment %q", key)
	}
	return &s.Segments[i]
}

// event builds an event from property texts and values, by the set's slots.
func (s *Set) event(name string, at subject.Instant, properties map[string]subject.Value) *subject.Event {
	ev := &subject.Event{Name: name, Time: at, Fields: make([]subject.Value, len(s.Fields.Slots))}
	for path, v := range properties {
		for i, slot := range s.Fields.Slots {
			if slot.Path == path {
				ev.Fields[i] = v
			}
		}
	}
	return ev
}

// apply inserts an event into every leaf that it touches and reports whether
// any changed.
func (s *Set) apply(p *subject.Purpose, ev *subject.Event, at subject.Instant, v *View) (changed bool) {
	for _, l := range s.Touched(ev, nil) {
		if s.Purposes[l.Purpose].Key == p.Key {
			_, c := l.Insert(p, ev, at, v)
			changed = changed || c
		}
	}
	return changed
}

// val makes a value of a Go value; text "2024-01-02T…" after "t:" is a timestamp.
func val(x any) subject.Value {
	switch x := x.(type) {
	case nil:
		return subject.Value{}
	case bool:
		return subject.OfBool(x)
	case int:
		return subject.OfInt(int64(x))
	case float64:
		n, _ := subject.Float(x)
		return subject.OfNumber(n)
	case string:
		return subject.OfString(x)
	case subject.Instant:
		return subject.OfTime(x)
	case []any:
		var l []subject.Value
		for _, e := range x {
			l = append(l, val(e))
		}
		return subject.OfList(l)
	case map[string]any:
		var f []subject.Field
		for k, e := range x {
			f = append(f, subject.Field{Key: k, Value: val(e)})
		}
		return subject.OfMap(f)
	}
	panic("no value: " + strconv.Quote(fmt.Sprint(x)))
}

package rules

import "github.com/segmentd/segmentd/state/subject"

// maxLocals bounds the nesting of list macros.
const maxLocals = 8

// scratch is what evaluation needs beside the view's state; it is part of the
// view so that nothing is allocated.
type scratch struct {
	event  *subject.Event           // in the scope of where() and of aggregates' arguments
	locals [maxLocals]subject.Value // variables of list macros, by nesting
	turns  int                      // that list macros have left
	seen   seen
	tally  tally
	moving moving // of periods

	matching matching     // of sequences
	former   []formerMark // marks that the present pass has changed
}

// Compiled expressions. They are total: no error, no panic.
type (
	valueFn func(*View) subject.Value
	truthFn func(*View) bool
	nextFn  func(*View) subject.Instant
)

// field returns a slot of the event in scope.
func (s *scratch) field(slot int) *subject.Value {
	if slot < len(s.event.Fields) {
		return &s.event.Fields[slot]
	}
	return &missing
}

// missing is what a slot holds that the decoder did not fill. Never written.
var missing subject.Value

package rules

import (
	"time"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"

	"github.com/segmentd/segmentd/state/subject"
)

// checked is a rule set that has been parsed, type-checked under newEnv's
// declarations and walked for what the checker lets through: what compileSet
// makes a Set of.
type checked struct {
	revision int64
	purposes []Purpose // sorted by key; Segments and Traits not yet filled
	fields   []dataField
	lists    map[string]*list
	lets     []checkedLet // in order of definition: each may refer to earlier ones
	segments []checkedSegment
}

// dataField is an entry of the data section.
type dataField struct {
	path     string // as Slot.Path writes it
	category string
	special  bool
	min      *subject.Number // nil: none
}

// list is a static list of subject ids.
type list struct {
	members map[string]struct{}
}

// checkedLet is a named expression, most often a source of events.
type checkedLet struct {
	name    string
	ast     *ast.AST
	outType *cel.Type
}

// checkedSegment is one rule before compilation.
type checkedSegment struct {
	key         string
	name        string
	description string
	purpose     int // index into checked.purposes
	infers      []string
	when        string // source text
	ast         *ast.AST
	stayWhile   string   // source text; "": none
	stayAST     *ast.AST // nil: none
	minDwell    time.Duration
	cooldown    time.Duration
}

// letDecl declares a let as a variable of its type.
type letDecl struct {
	name string
	typ  *cel.Type
}

// exprPlace is where an expression of a checked set stands. Exactly one of
// segment and let is an index into the set, the other is -1: the expression's id
// belongs to that one's AST.
type exprPlace struct {
	segment int
	stay    bool // of the segment's stay_while
	let     int
	exprID  int64
}

// exprError is a problem of an expression that only compilation can see.
type exprError struct {
	exprPlace
	message string
}

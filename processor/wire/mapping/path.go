package mapping

import (
	"strings"

	"cel.dev/cel-go/common/ast"
)

// Path is what an expression reads of a record's value: names, one below the other.
type Path struct {
	Key   string // the member whose expression reads it
	Names []string
}

// String is the path as expressions write it.
func (p Path) String() string { return varValue + "." + strings.Join(p.Names, ".") }

// LeadsTo reports whether the path leads to anything in a value, which is valid
// JSON without space around it. Null is nothing.
func (p Path) LeadsTo(value []byte) bool {
	found, wrong := follow(value, p.Names)
	return wrong == "" && found != nil && found[0] != 'n'
}

// Paths lists what the expressions read below value, each path to its end.
func (m *Mapping) Paths() []Path {
	var all []Path
	for _, e := range m.entries {
		if e.path != nil {
			all = appendPath(all, e.name, e.path)
		}
		if e.tracer != nil {
			all = appendPaths(all, e.name, e.tracer.checked.Expr())
		}
	}
	return all
}

func appendPath(all []Path, key string, names []string) []Path {
	if len(names) == 0 {
		return all // the whole value
	}
	return append(all, Path{key, names})
}

// appendPaths looks for paths in an expression, not for those within a path.
func appendPaths(all []Path, key string, e ast.Expr) []Path {
	if names := pathOf(e); names != nil {
		return appendPath(all, key, names)
	}
	for _, part := range parts(e) {
		all = appendPaths(all, key, part)
	}
	return all
}

package mapping

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/segmentd/segmentd/rules/nearest"
)

// otherNames are what functions of ours are called in other languages.
var otherNames = map[string]string{
	"lower": "lowerAscii", "toLower": "lowerAscii", "toLowerCase": "lowerAscii", "upper": "upperAscii", "toUpper": "upperAscii", "toUpperCase": "upperAscii",
	"len": "size", "length": "size", "count": "size", "strip": "trim", "substr": "substring", "toString": "string", "str": "string", "replaceAll": "replace",
	"parseJson": "parse_json", "fromJson": "parse_json", "includes": "contains", "any": "exists", "some": "exists", "every": "all", "number": "double", "float": "double",
}

var identifier = regexp.MustCompile(`^[A-Za-z]\w*$`)

// functionNames lists what can be called, sorted.
var functionNames = sync.OnceValue(func() []string {
	env, err := newEnv()
	if err != nil {
		return nil // Compile says so
	}
	names := map[string]bool{}
	for name := range env.Functions() {
		names[name] = identifier.MatchString(name) && name != "in"
	}
	for _, macro := range env.Macros() {
		names[macro.Function()] = true
	}
	maps.DeleteFunc(names, func(_ string, callable bool) bool { return !callable })
	return slices.Sorted(maps.Keys(names))
})

// unknownFunction says that there is no such function, and which may be meant.
func unknownFunction(name string) string {
	meant := otherNames[name]
	if meant == "" {
		meant = nearest.To(name, functionNames())
	}
	if meant == "" {
		return fmt.Sprintf("unknown function '%s'; there are %s", name, strings.Join(functionNames(), ", "))
	}
	return fmt.Sprintf("unknown function '%s' (nearest: %s)", name, meant)
}

// calledAt returns where the name in front of a bracket begins, in runes; ok is
// false where at is no bracket that the name is called with.
func calledAt(line []rune, at int, name string) (begin int, ok bool) {
	if at >= len(line) || line[at] != '(' {
		return at, false
	}
	begin = len([]rune(strings.TrimRight(string(line[:at]), " \t"))) - len([]rune(name))
	return begin, begin >= 0 && strings.HasPrefix(string(line[begin:]), name)
}

package main_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// The tests of this file hold the repository to its own rules; ARCHITECTURE.md
// has the reasons.

const (
	root   = "../.."
	module = "github.com/segmentd/segmentd/"
)

// layer is what a package may import of our own packages and of the heavy libraries.
type layer struct {
	own   []string
	heavy []string
}

// layers has every package. Arrows run one way.
var layers = map[string]layer{
	"state/subject":          {},
	"state/arena":            {},
	"state":                  {own: []string{"state/arena", "state/subject"}, heavy: []string{"badger"}},
	"rules":                  {own: []string{"rules/clip", "rules/nearest", "state/subject"}, heavy: []string{"cel", "yaml"}},
	"rules/nearest":          {},
	"rules/clip":             {},
	"rules/ruletest":         {own: []string{"rules", "state/subject"}, heavy: []string{"yaml"}},
	"processor/consent":      {own: []string{"state/subject"}},
	"processor/portable":     {own: []string{"rules", "state/subject"}},
	"processor/core":         {own: []string{"processor/consent", "rules", "state/subject"}},
	"processor/stream":       {own: []string{"state/subject"}},
	"processor/wire":         {own: []string{"processor/portable", "processor/stream", "processor/wire/mapping", "processor/wire/scan", "rules", "rules/nearest", "state/arena", "state/subject"}},
	"processor/wire/mapping": {own: []string{"processor/stream", "processor/wire/scan", "rules/nearest", "state/subject"}, heavy: []string{"cel"}},
	"processor/wire/scan":    {},
	"processor/replay":       {own: []string{"processor/core", "processor/stream", "processor/wire", "rules", "state/subject"}},
	"processor/metrics":      {own: []string{"state/subject"}, heavy: []string{"prometheus"}},
	"processor/kafka":        {own: []string{"processor/stream", "state/subject"}, heavy: []string{"kafka-go", "kmsg"}},
	"processor/embedded":     {heavy: []string{"kfake", "kmsg"}},
	"processor/transparency": {own: []string{"config", "processor/core", "rules", "state/subject"}},
	"processor/access":       {heavy: []string{"yaml"}},
	"processor/audit":        {},
	"processor/audit/verify": {}, // and so not the writer's
	"processor/opendsr":      {own: []string{"state/subject"}},
	"processor/admin":        {own: []string{"processor", "processor/access", "processor/audit", "processor/metrics", "processor/opendsr", "processor/portable", "processor/wire", "rules", "rules/clip", "state/subject"}, heavy: []string{"prometheus"}},
	"config":                 {own: []string{"processor/access", "processor/wire/mapping", "rules/clip", "rules/nearest"}, heavy: []string{"pflag", "yaml"}},
	"deployments":            {},
	"deployments/example":    {},
	// The probe of the container image, a program of its own.
	"deployments/healthprobe": {},
	// What the demo sells.
	"cmd/segmentd/internal/shop": {},
	// The input of the load benchmark.
	"cmd/segmentd/internal/load": {},
	// The partition loop.
	"processor": {own: []string{"processor/consent", "processor/core", "processor/metrics", "processor/portable", "processor/stream", "processor/wire", "rules", "state", "state/subject"}},
	// Only tests import these three. The oracle shares no code with the engine.
	"processor/core/oracle": {own: []string{"state/subject"}, heavy: []string{"cel", "yaml"}},
	"processor/core/cdnow":  {own: []string{"state/subject"}},
	// What must not be in files any more.
	"state/canary": {},
	// Brokers for tests, Apache Kafka's among them.
	"processor/kafka/kafkatest": {own: []string{"processor/embedded"}, heavy: []string{"kfake", "kmsg"}},
	// JSON Schemas in tests.
	"rules/schematest": {heavy: []string{"yaml"}},
	// Planted bugs.
	"processor/mutation": {},
}

// wiring may import everything but what only tests may.
const wiring = "cmd/segmentd"

var onlyByTests = []string{"state/canary", "processor/core/oracle", "processor/core/cdnow", "processor/kafka/kafkatest", "rules/schematest", "processor/mutation"}

// heavy are the libraries that shape a package, by the prefix of their paths.
var heavy = map[string][]string{
	"badger":     {"github.com/dgraph-io/"},
	"cel":        {"cel.dev/"},
	"kafka-go":   {"github.com/segmentio/kafka-go"},
	"kfake":      {"github.com/twmb/franz-go/pkg/kadm", "github.com/twmb/franz-go/pkg/kfake", "github.com/twmb/franz-go/pkg/kgo"},
	"kmsg":       {"github.com/twmb/franz-go/pkg/kmsg"},
	"pflag":      {"github.com/spf13/pflag"},
	"prometheus": {"github.com/prometheus/"},
	"yaml":       {"gopkg.in/yaml", "go.yaml.in/yaml"},
}

// banned are imports that no file has, with what to use instead.
var banned = map[string]string{
	"log":                         "log/slog, with the logger of Deps",
	"io/ioutil":                   "io and os",
	"math/rand":                   "math/rand/v2",
	"github.com/stretchr/testify": "plain comparisons, or a diff of go-cmp",
	"github.com/pkg/errors":       "fmt.Errorf with %w",
}

// pure packages know no clock: time comes in as an argument.
var pure = []string{"state/subject", "rules", "processor/consent", "processor/core", "processor/portable"}

var clockCalls = []string{"Now", "Since", "Until", "Sleep", "After", "AfterFunc", "NewTimer", "NewTicker", "Tick"}

const (
	maxFileLines     = 600
	maxFunctionLines = 100
)

type goPackage struct {
	ImportPath, Name, Doc string
	Imports, TestImports  []string
	XTestImports          []string
	GoFiles, TestGoFiles  []string
}

func (p goPackage) path() string { return strings.TrimPrefix(p.ImportPath, module) }

// TestRepositoryImports holds every package to its layer.
func TestRepositoryImports(t *testing.T) {
	for _, p := range packages(t) {
		l, known := layers[p.path()]
		if !known && p.path() != wiring {
			t.Errorf("%s is a new package: say in layers (%s) what it may import, and in ARCHITECTURE.md why it is there", p.path(), "cmd/segmentd/repo_test.go")
			continue
		}
		for _, imported := range p.Imports {
			if why := refused(p.path(), l, imported); why != "" {
				t.Errorf("%s imports %s: %s", p.path(), imported, why)
			}
		}
		for _, imported := range slices.Concat(p.Imports, p.TestImports, p.XTestImports) {
			for path, instead := range banned {
				if imported == path || strings.HasPrefix(imported, path+"/") && strings.Contains(path, ".") {
					t.Errorf("%s imports %s: use %s", p.path(), imported, instead)
				}
			}
		}
	}
}

// refused says why a package may not import another outside its tests, "" if it may.
func refused(path string, l layer, imported string) string {
	own, ours := strings.CutPrefix(imported, module)
	switch {
	case ours && slices.Contains(onlyByTests, own):
		return "only tests may"
	case path == wiring:
		return ""
	case ours && !slices.Contains(l.own, own):
		return fmt.Sprintf("of our own it may import %q", l.own)
	case ours:
		return ""
	}
	for name, prefixes := range heavy {
		for _, prefix := range prefixes {
			if strings.HasPrefix(imported, prefix) && !slices.Contains(l.heavy, name) {
				return fmt.Sprintf("of the heavy libraries it may import %q", l.heavy)
			}
		}
	}
	return ""
}

// TestRepositoryRefuses shows that the check of imports can fail.
func TestRepositoryRefuses(t *testing.T) {
	for _, c := range []struct {
		path, imported string
		refused        bool
	}{
		{"processor/core", module + "state", true},
		{"processor/core", module + "rules", false},
		{"processor/core", "github.com/dgraph-io/badger/v4", true},
		{"rules", "cel.dev/cel-go/cel", false},
		{"state/subject", module + "rules", true},
		{"state", "github.com/dgraph-io/badger/v4/options", false},
		{"processor", "github.com/segmentio/kafka-go/protocol", true},
		{"cmd/segmentd", "github.com/segmentio/kafka-go", false},
		{"cmd/segmentd", module + "processor/core/oracle", true},
		{"config", "time", false},
	} {
		if why := refused(c.path, layers[c.path], c.imported); (why != "") != c.refused {
			t.Errorf("%s imports %s: %q", c.path, c.imported, why)
		}
	}
}

// TestRepositoryLayersPointOneWay holds the table itself to have no cycle.
func TestRepositoryLayersPointOneWay(t *testing.T) {
	const onTheWay, done = 1, 2
	state := map[string]int{}
	var visit func(path string)
	visit = func(path string) {
		state[path] = onTheWay
		for _, next := range layers[path].own {
			if state[next] == onTheWay {
				t.Errorf("%s and %s may import each other", path, next)
			} else if state[next] != done {
				visit(next)
			}
		}
		state[path] = done
	}
	for path := range layers {
		visit(path)
	}
}

// TestRepositoryPackagesHaveADoc asks every package what it is.
func TestRepositoryPackagesHaveADoc(t *testing.T) {
	for _, p := range packages(t) {
		if p.Doc == "" && len(p.GoFiles) > 0 {
			t.Errorf("package %s has no comment: say in one file, above the package clause, what it owns and what it promises", p.path())
		}
	}
}

// TestRepositoryCode checks sizes and calls of every Go file that is no test.
func TestRepositoryCode(t *testing.T) {
	for _, path := range files(t) {
		if !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			continue
		}
		set := token.NewFileSet()
		file, err := parser.ParseFile(set, filepath.Join(root, path), nil, 0)
		if err != nil {
			t.Errorf("%s: %v", path, err)
			continue
		}
		c := codeCheck{t: t, path: path, set: set}
		if n := set.File(file.Pos()).LineCount(); n > maxFileLines {
			t.Errorf("%s has %d lines, more than %d: it is two concepts", path, n, maxFileLines)
		}
		ast.Inspect(file, c.node)
	}
}

type codeCheck struct {
	t    *testing.T
	path string // from the root, with slashes
	set  *token.FileSet
}

func (c codeCheck) node(n ast.Node) bool {
	switch n := n.(type) {
	case *ast.FuncDecl:
		first, last := c.set.Position(n.Pos()), c.set.Position(n.End())
		if lines := last.Line - first.Line + 1; lines > maxFunctionLines {
			c.t.Errorf("%s:%d: %s has %d lines, more than %d", c.path, first.Line, n.Name.Name, lines, maxFunctionLines)
		}
	case *ast.SelectorExpr:
		if pkg, ok := n.X.(*ast.Ident); ok {
			c.selector(pkg.Name, n.Sel.Name, c.set.Position(n.Pos()).Line)
		}
	}
	return true
}

func (c codeCheck) selector(pkg, name string, line int) {
	dir := filepath.ToSlash(filepath.Dir(c.path))
	library := !strings.HasPrefix(dir, "cmd/") && !strings.HasPrefix(dir, "deployments")
	switch {
	case library && pkg == "fmt" && strings.HasPrefix(name, "Print"):
		c.t.Errorf("%s:%d: fmt.%s in a library: only commands write to stdout", c.path, line, name)
	case library && pkg == "os" && (name == "Exit" || name == "Stdout"):
		c.t.Errorf("%s:%d: os.%s in a library: return an error, take a writer", c.path, line, name)
	case slices.Contains(pure, dir) && pkg == "time" && slices.Contains(clockCalls, name):
		c.t.Errorf("%s:%d: time.%s in a pure package: time comes in as an argument", c.path, line, name)
	}
}

var topLevel = []string{"cmd", "config", "deployments", "processor", "rules", "state", "go.mod", "go.sum", "Makefile", "LICENSE", "NOTICE"}

var document = regexp.MustCompile(`^[A-Z]+\.md$`)

// TestRepositoryTopLevel keeps the house in order.
func TestRepositoryTopLevel(t *testing.T) {
	for _, path := range files(t) {
		top, _, _ := strings.Cut(path, "/")
		if !slices.Contains(topLevel, top) && !document.MatchString(top) && !strings.HasPrefix(top, ".") {
			t.Errorf("%s: %s does not belong at the top; there are %s and documents", path, top, strings.Join(topLevel, ", "))
		}
	}
}

// strange are words that belong to the machine or the moment of writing, not
// to the project. Their letters are put apart so that this file has none.
var strange = []*regexp.Regexp{
	regexp.MustCompile(`/(wor[k]|far[m])/`),
	regexp.MustCompile(`/tm[p]/[a-z]`),
	regexp.MustCompile(`(?i)\b(GOPROX[Y]|GONOSUMD[B]|artifactor[y]|proxy\.golan[g]\.org|npmj[s]\.org|pypi[.]org)\b`),
	regexp.MustCompile(`(?i)\b(this sessio[n]|subagen[t]|AI agen[t]|language mode[l])\b`),
	regexp.MustCompile(`(?i)\bissue #?[0-9]`),
	regexp.MustCompile(`\b(TOD[O]|FIXM[E]|XX[X])\b`),
}

// TestRepositoryWords looks for strange words in every text file.
func TestRepositoryWords(t *testing.T) {
	for _, path := range files(t) {
		text, err := os.ReadFile(filepath.Join(root, path))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Error(err)
		}
		if path == "go.sum" || bytes.IndexByte(text, 0) >= 0 {
			continue
		}
		for i, line := range bytes.Split(text, []byte("\n")) {
			for _, word := range strange {
				if found := word.Find(line); found != nil {
					t.Errorf("%s:%d: %q does not belong into the project", path, i+1, found)
				}
			}
		}
	}
}

// packages lists the module's packages; one that does not compile is listed all the same.
func packages(t *testing.T) []goPackage {
	t.Helper()
	cmd := exec.Command("go", "list", "-e", "-json=ImportPath,Name,Doc,Imports,TestImports,XTestImports,GoFiles,TestGoFiles", "./...")
	cmd.Dir = root
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var all []goPackage
	for dec := json.NewDecoder(bytes.NewReader(out)); dec.More(); {
		var p goPackage
		if err := dec.Decode(&p); err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
	if len(all) == 0 {
		t.Fatal("go list found no package")
	}
	return all
}

// files lists what is or could be committed, with slashes, from the root;
// without git, everything but what is built.
func files(t *testing.T) []string {
	t.Helper()
	cmd := exec.Command("git", "ls-files", "--cached", "--others", "--exclude-standard", "-z")
	cmd.Dir = root
	if out, err := cmd.Output(); err == nil && len(out) > 0 {
		return existing(strings.Split(strings.TrimSuffix(string(out), "\x00"), "\x00"))
	}
	var all []string
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && slices.Contains([]string{".git", "bin", ".kafka", "segmentd-data"}, d.Name()) {
			return filepath.SkipDir
		}
		if rel, _ := filepath.Rel(root, path); !d.IsDir() {
			all = append(all, filepath.ToSlash(rel))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// existing leaves out what git lists and is deleted, and what only links to elsewhere.
func existing(paths []string) []string {
	return slices.DeleteFunc(paths, func(path string) bool {
		info, err := os.Lstat(filepath.Join(root, path))
		return err != nil || !info.Mode().IsRegular()
	})
}

var (
	namedTest   = regexp.MustCompile(`\bTest[A-Z]\w+`)
	writtenTest = regexp.MustCompile(`(?m)^func (Test[A-Z]\w+)\(`)
)

// TestRepositoryNamedTests: what documents say is shown by a test is, by one that exists.
func TestRepositoryNamedTests(t *testing.T) {
	written, named := map[string]bool{}, map[string]string{}
	for _, path := range files(t) {
		text, err := os.ReadFile(filepath.Join(root, path))
		switch {
		case err != nil && !errors.Is(err, fs.ErrNotExist):
			t.Error(err)
		case strings.HasSuffix(path, "_test.go"):
			for _, found := range writtenTest.FindAllSubmatch(text, -1) {
				written[string(found[1])] = true
			}
		case strings.HasSuffix(path, ".md"):
			for _, name := range namedTest.FindAllString(string(text), -1) {
				named[name] = path
			}
		}
	}
	for name, path := range named {
		if !written[name] {
			t.Errorf("%s: there is no test %s", path, name)
		}
	}
	if len(named) < 100 {
		t.Errorf("documents name %d tests", len(named))
	}
}

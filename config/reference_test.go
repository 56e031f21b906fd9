package config

import (
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write CONFIG.md anew")

// TestReference compares CONFIG.md with what the struct says.
func TestReference(t *testing.T) {
	path := filepath.Join("..", "CONFIG.md")
	want := reference(t)
	if *update {
		if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	have, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, string(have)); diff != "" {
		t.Errorf("CONFIG.md is not what the code says; run make generate (-code +file):\n%s", diff)
	}
}

const referenceHead = `<!-- Generated from package config by "make generate". Do not edit. -->
# Configuration

Each setting comes from the last of these that gives it: its default, the configuration file
(YAML; ` + "`--config FILE` or `SEGMENTD_CONFIG`" + `), the environment, flags. ` + "`segmentd config`" + ` shows what results, what gave each
value, and masks secrets.

- The path of a setting is its keys in the file joined by dots: ` + "`kafka.tls.ca_file`" + ` is the key ` + "`ca_file`" + ` of ` + "`tls`" + ` of ` + "`kafka`" + `.
- An unknown key in the file is an error. Of the environment, a variable that is empty counts as not set, and an unknown
  one that begins with ` + "`SEGMENTD_`" + ` is a warning.
- Durations are written ` + "`10ms`, `5m`, `24h`, `30d` or `1d12h`" + `, sizes ` + "`1048576`, `256KiB` or `1MiB`" + `. Lists of words are split by
  commas in the environment and in flags. Relative paths are taken from the working directory.
- All problems are reported at once, and segmentd exits with 2.
`

func reference(t *testing.T) string {
	r := &referenceWriter{docs: readDocs(t), flags: map[string]string{}}
	for _, sf := range settingFlags {
		r.flags[sf.path] = sf.name
	}
	r.WriteString(referenceHead)
	r.block(reflect.TypeFor[Config](), "", "What is at the top of the file.")
	return r.String()
}

// docs are the comments of the fields and types of the package: "Type" and "Type.Field".
type docs map[string]string

func readDocs(t *testing.T) docs {
	file, err := parser.ParseFile(token.NewFileSet(), "config.go", nil, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	found := docs{}
	for _, decl := range file.Decls {
		gen, ok := decl.(*ast.GenDecl)
		if !ok || gen.Tok != token.TYPE {
			continue
		}
		spec := gen.Specs[0].(*ast.TypeSpec)
		found[spec.Name.Name] = oneLine(gen.Doc)
		if s, ok := spec.Type.(*ast.StructType); ok {
			found.fields(spec.Name.Name, s)
		}
	}
	return found
}

func (d docs) fields(name string, s *ast.StructType) {
	for _, f := range s.Fields.List {
		text := oneLine(f.Doc)
		if text == "" {
			text = oneLine(f.Comment)
		}
		d[name+"."+f.Names[0].Name] = text
	}
}

func oneLine(c *ast.CommentGroup) string { return strings.Join(strings.Fields(c.Text()), " ") }

type referenceWriter struct {
	strings.Builder
	docs  docs
	flags map[string]string // path → name
}

// block writes a table of the settings of a struct, then those of the blocks in it.
func (r *referenceWriter) block(t reflect.Type, path, about string) {
	title := path
	if path == "" {
		title = "top level"
	}
	fmt.Fprintf(r, "\n## %s\n\n%s\n\n| setting | default | what it is |\n|---|---|---|\n", title, about)
	var blocks []field
	for _, f := range fieldsOf(t, path) {
		if f.isBlock() {
			blocks = append(blocks, f)
			continue
		}
		if f.isListOfBlocks() {
			blocks = append(blocks, f)
		}
		r.row(f, r.docs[t.Name()+"."+f.name])
	}
	for _, f := range blocks {
		if f.isListOfBlocks() {
			r.block(f.typ.Elem(), f.path+"[]", r.about(f.typ.Elem())+" In the list `"+f.path+"`, each item has these keys.")
			continue
		}
		r.block(f.typ, f.path, r.about(f.typ))
	}
}

// about is a type's comment without the name in front.
func (r *referenceWriter) about(t reflect.Type) string {
	text := r.docs[t.Name()]
	for _, verb := range []string{" is ", " says ", " bounds "} {
		if rest, ok := strings.CutPrefix(text, t.Name()+verb); ok {
			if verb != " is " {
				rest = strings.TrimSpace(verb) + " " + rest
			}
			return strings.ToUpper(rest[:1]) + rest[1:]
		}
	}
	return text
}

func (r *referenceWriter) row(f field, doc string) {
	names := []string{"`" + f.path + "`"}
	if f.key == "" {
		names = nil
	}
	if !strings.Contains(f.path, "[]") {
		names = append(names, "`"+f.env()+"`")
	}
	if flag, ok := r.flags[f.path]; ok {
		names = append(names, "`--"+flag+"`")
	}
	fmt.Fprintf(r, "| %s | %s | %s |\n", strings.Join(names, "<br>"), defaultOf(f), doc+limits(f))
}

func defaultOf(f field) string {
	text, ok := f.tag.Lookup("default")
	switch {
	case ok:
		return "`" + text + "`"
	case f.typ.Kind() == reflect.Slice:
		return "none"
	}
	return ""
}

// limits say what the checks allow.
func limits(f field) string {
	if words := f.allowed(); words != nil {
		return " Allowed: `" + strings.Join(words, "`, `") + "`."
	}
	if f.tag.Get("min") == "" {
		return ""
	}
	kind := "A whole number"
	if f.typ == reflect.TypeFor[time.Duration]() {
		kind = "A duration"
	} else if f.tag.Get("unit") == "bytes" {
		kind = "A size"
	}
	return fmt.Sprintf(" %s from `%s` to `%s`.", kind, f.tag.Get("min"), f.tag.Get("max"))
}

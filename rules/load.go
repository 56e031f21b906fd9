package rules

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"unicode/utf8"

	"gopkg.in/yaml.v3"
)

// MaxFileBytes bounds a rule file and a list's file.
const (
	MaxFileBytes     = 16 << 20
	maxListFileBytes = 256 << 20
)

// Load reads, checks and compiles the rule files of fsys: every *.yaml in it
// and in its subdirectories, except *_test.yaml and what begins with a dot.
// It returns all problems of all files at once, in the order of their places;
// the set is nil if one of them is an error. Load never panics on any input.
func Load(fsys fs.FS) (*Set, []Problem) { return loadNamed(fsys, "", LoadOptions{}) }

// LoadOptions say what loading lets pass.
type LoadOptions struct {
	NoSegments bool // a rule set without segments is none by mistake
}

// LoadDir is Load of a directory; problems name files with the directory's path
// before them. Symbolic links must stay inside the directory.
func LoadDir(dir string) (*Set, []Problem) { return LoadDirWith(dir, LoadOptions{}) }

// LoadDirWith is LoadDir with options.
func LoadDirWith(dir string, opts LoadOptions) (*Set, []Problem) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, []Problem{{File: dir, Message: "the rules directory cannot be read: " + reason(err)}}
	}
	defer root.Close()
	return loadNamed(root.FS(), dir, opts)
}

func loadNamed(fsys fs.FS, dir string, opts LoadOptions) (*Set, []Problem) {
	l := newLoader(fsys, dir)
	l.readAll()
	if !opts.NoSegments {
		l.sections.complete(l)
	}
	set := l.check()
	problems := SortProblems(l.problems)
	if HasErrors(problems) {
		return nil, problems
	}
	set.sources = l.sources
	return set, problems
}

// reason is the innermost text of an error of the file system.
func reason(err error) string {
	var p *fs.PathError
	if errors.As(err, &p) {
		err = p.Err
	}
	return err.Error()
}

// loader gathers what the files of one rules directory say, and what is wrong with it.
type loader struct {
	fsys     fs.FS
	dir      string // shown before the names of files
	problems []Problem
	broken   bool // some file could not be read: names it defines are not known
	files    int  // rule files found
	noRules  bool // what is read holds no expressions
	sections sections
	sources  map[string][]byte // what was read, by name
}

func newLoader(fsys fs.FS, dir string) *loader {
	return &loader{fsys: fsys, dir: dir, sections: newSections(), sources: map[string][]byte{}}
}

func (l *loader) errorf(at spot, format string, args ...any) {
	l.problems = append(l.problems, at.problem(Error, fmt.Sprintf(format, args...)))
}

func (l *loader) warnf(at spot, format string, args ...any) {
	l.problems = append(l.problems, at.problem(Warning, fmt.Sprintf(format, args...)))
}

// shown is the name of a file as problems show it.
func (l *loader) shown(name string) string {
	if l.dir == "" {
		return name
	}
	return filepath.Join(l.dir, filepath.FromSlash(name))
}

func (l *loader) fileError(name, message string) {
	l.broken = true
	l.problems = append(l.problems, Problem{File: l.shown(name), Message: message})
}

// readAll reads every rule file.
func (l *loader) readAll() {
	err := fs.WalkDir(l.fsys, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			l.fileError(name, "cannot be read: "+reason(err))
			return nil
		}
		if strings.HasPrefix(path.Base(name), ".") && name != "." {
			if entry.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		if !entry.IsDir() {
			l.readFile(name)
		}
		return nil
	})
	if err != nil {
		l.fileError(".", "cannot be read: "+reason(err))
	}
}

// readFile reads one file if it is a rule file.
func (l *loader) readFile(name string) {
	switch {
	case strings.HasSuffix(name, "_test.yaml"), path.Ext(name) != ".yaml" && path.Ext(name) != ".yml":
		return
	case path.Ext(name) == ".yml":
		l.problems = append(l.problems, Problem{File: l.shown(name), Severity: Warning, Message: "this file is not read: the names of rule files end in .yaml"})
		return
	}
	l.files++
	l.readYAML(name, func(v yamlValue) { l.sections.read(l, v) })
}

// readYAML calls do for every YAML document of a file, reporting what is wrong with it.
func (l *loader) readYAML(name string, do func(yamlValue)) {
	data, err := readLimited(l.fsys, name, MaxFileBytes)
	if err != nil {
		l.fileError(name, "cannot be read: "+reason(err))
		return
	}
	l.sources[name] = data
	data = bytes.TrimPrefix(data, []byte("\ufeff"))
	doc := newDocument(l.shown(name), name, string(data))
	if at := invalidUTF8(data); at >= 0 {
		l.broken = true
		prefix := newDocument("", "", string(data[:at]))
		line := len(prefix.lines)
		l.errorf(spot{doc, line, utf8.RuneCountInString(prefix.line(line)) + 1}, "the file is not UTF-8")
		return
	}
	l.readDocuments(doc, data, do)
}

func invalidUTF8(data []byte) int {
	for i := 0; i < len(data); {
		r, size := utf8.DecodeRune(data[i:])
		if r == utf8.RuneError && size == 1 {
			return i
		}
		i += size
	}
	return -1
}

// readLimited reads a file of at most limit bytes.
func readLimited(fsys fs.FS, name string, limit int64) ([]byte, error) {
	// Asked before opening: a named pipe would wait for its writer for ever.
	if info, err := fs.Stat(fsys, name); err == nil && !info.Mode().IsRegular() {
		return nil, errors.New("not a regular file")
	}
	f, err := fsys.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(data)) > limit {
		return nil, fmt.Errorf("larger than %d MiB", limit>>20)
	}
	return data, err
}

// readDocuments reads the YAML documents of a file.
func (l *loader) readDocuments(doc *document, data []byte, do func(yamlValue)) {
	lines := &lineReader{data: data}
	decoder := yaml.NewDecoder(lines)
	for {
		var node yaml.Node
		err := decodeYAML(decoder, &node)
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			l.broken = true
			l.yamlProblem(doc, data[:lines.read], err)
			return
		}
		if len(node.Content) == 1 {
			do(yamlValue{doc, node.Content[0]}.resolved())
		}
	}
}

// decodeYAML turns a panic of the YAML library into an error.
func decodeYAML(decoder *yaml.Decoder, node *yaml.Node) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("yaml: %v", r)
		}
	}()
	return decoder.Decode(node)
}

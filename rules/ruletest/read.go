package ruletest

import (
	"errors"
	"io/fs"
	"os"
	"path"
	"strings"
	"time"

	"github.com/segmentd/segmentd/rules"
	"github.com/segmentd/segmentd/state/subject"
)

// Suffix is how the names of test files end.
const Suffix = "_test.yaml"

// LoadDir reads the tests of a rules directory, of its subdirectories too, for
// the rules that are to be tested. It returns all problems of all files at
// once; tests are to be run only if there are none.
func LoadDir(dir string, set *rules.Set) ([]Test, []rules.Problem) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, []rules.Problem{{File: dir, Message: "the rules directory cannot be read: " + reason(err)}}
	}
	defer root.Close()
	return load(root.FS(), dir, set)
}

// Load is LoadDir of a file system.
func Load(fsys fs.FS, set *rules.Set) ([]Test, []rules.Problem) { return load(fsys, "", set) }

func load(fsys fs.FS, dir string, set *rules.Set) (tests []Test, problems []rules.Problem) {
	names := newNames(set)
	err := fs.WalkDir(fsys, ".", func(name string, entry fs.DirEntry, err error) error {
		hidden := strings.HasPrefix(path.Base(name), ".") && name != "."
		switch {
		case err != nil:
			problems = append(problems, rules.Problem{File: path.Join(dir, name), Message: "cannot be read: " + reason(err)})
		case hidden && entry.IsDir():
			return fs.SkipDir
		case !hidden && !entry.IsDir() && strings.HasSuffix(name, Suffix):
			r := &reader{file: rules.ReadYAML(fsys, dir, name), names: names, seen: map[string]rules.Place{}}
			r.read()
			tests, problems = append(tests, r.tests...), append(problems, r.file.Problems()...)
		}
		return nil
	})
	if err != nil {
		problems = append(problems, rules.Problem{File: dir, Message: "cannot be read: " + reason(err)})
	}
	return tests, problems
}

func reason(err error) string {
	var p *fs.PathError
	if errors.As(err, &p) {
		err = p.Err
	}
	return err.Error()
}

// names are what tests may name.
type names struct {
	segments []string
	purposes []string
}

func newNames(set *rules.Set) names {
	var n names
	for i := range set.Segments {
		n.segments = append(n.segments, set.Segments[i].Key)
	}
	for i := range set.Purposes {
		n.purposes = append(n.purposes, set.Purposes[i].Key)
	}
	return n
}

// reader reads one file.
type reader struct {
	file   *rules.YAMLFile
	names  names
	seen   map[string]rules.Place // tests by name
	tests  []Test
	nodes  int        // turned into JSON so far
	person subject.ID // of the present test's steps that name nobody
}

func (r *reader) read() {
	for _, document := range r.file.Documents() {
		if document.IsNull() {
			continue
		}
		o, ok := document.Object("test file", []string{"tests"})
		if !ok || !o.Written("tests") {
			continue
		}
		for _, item := range o.Get("tests").Items("tests") {
			r.test(item)
		}
	}
}

var testFields = []string{"name", "start", "userId", "anonymousId", "assume_consent", "steps"}

func (r *reader) test(v rules.YAMLValue) {
	o, ok := v.Object("test", testFields)
	if !ok {
		return
	}
	t := Test{Name: o.Required("name"), File: r.file.Name(), at: v.Place()}
	if before, again := r.seen[t.Name]; again && t.Name != "" {
		o.At("name").Errorf("the test '%s' is written twice: first in line %d", t.Name, before.Line())
	}
	r.seen[t.Name] = o.At("name")
	t.start, _ = subject.ParseInstant(DefaultStart)
	if text := o.Text("start"); text != "" {
		t.start = r.instant(o.At("start"), text)
	}
	r.person = r.subject(o)
	if o.Has("assume_consent") {
		for _, item := range o.Get("assume_consent").Items("assume_consent") {
			t.assumed = append(t.assumed, r.known(item, "purpose", r.names.purposes))
		}
	}
	if !o.Has("steps") {
		v.Errorf("the test has no 'steps'")
		return
	}
	for _, item := range o.Get("steps").Items("steps") {
		if s, ok := r.step(item); ok {
			t.steps = append(t.steps, s)
		}
	}
	r.tests = append(r.tests, t)
}

// subject reads the fields userId or anonymousId; the zero ID if neither is written.
func (r *reader) subject(o rules.YAMLObject) subject.ID {
	var id subject.ID
	for _, f := range []struct {
		name string
		typ  subject.IDType
	}{{"userId", subject.UserID}, {"anonymousId", subject.AnonymousID}} {
		text := o.Text(f.name)
		switch {
		case text == "":
		case !id.IsZero():
			o.Key(f.name).Errorf("write 'userId' or 'anonymousId', not both: they are different subjects")
		case !subject.ValidID(text):
			o.At(f.name).Errorf("'%s' must be 1 to %d bytes without control characters", f.name, subject.MaxIDBytes)
		default:
			id = subject.ID{Type: f.typ, Value: text}
		}
	}
	return id
}

// known reads a name that the rules must have.
func (r *reader) known(v rules.YAMLValue, what string, among []string) string {
	text := r.text(v, what)
	for _, name := range among {
		if name == text {
			return name
		}
	}
	if text != "" {
		hint := rules.Hint(text, among)
		if hint == "" && 0 < len(among) && len(among) <= 20 {
			hint = ": one of " + strings.Join(among, ", ")
		}
		v.Errorf("unknown %s '%s'%s", what, text, hint)
	}
	return text
}

// text reads a value that is text; "" if it is not, which is reported.
func (r *reader) text(v rules.YAMLValue, what string) string {
	if v.IsNull() || !scalar(v) {
		v.Errorf("a %s must be text, not %s", what, v.Kind())
		return ""
	}
	return strings.TrimSpace(v.Node().Value)
}

// instant reads RFC 3339 or a date, which stands for its first instant in UTC.
func (r *reader) instant(at rules.Place, text string) subject.Instant {
	t, err := subject.ParseDateOrInstant(text)
	if err != nil {
		at.Errorf("'%s' is no instant: write 2026-01-31T10:00:00Z, or a date for its midnight (UTC)", text)
	}
	return t
}

// moment reads an instant, or a duration: with a sign in records, of which
// "-2h" happened two hours before the test's clock.
func (r *reader) moment(at rules.Place, text string, signed bool) moment {
	if t, err := subject.ParseDateOrInstant(text); err == nil {
		return moment{at: t, absolute: true}
	}
	digits, sign := text, time.Duration(1)
	if signed && text != "" && strings.ContainsAny(text[:1], "+-") {
		digits = text[1:]
		if text[0] == '-' {
			sign = -1
		}
	}
	if by, err := rules.ParseDuration(digits); err == nil && (!signed || digits != text) {
		return moment{by: sign * by}
	}
	if signed {
		at.Errorf("'%s' is no time: write 2026-01-31T10:00:00Z, a date, or a distance from the test's clock such as -2h or +30d", text)
	} else {
		at.Errorf("'%s' is no time to advance to or by: write a duration such as 90s, 15m, 6h, 30d, 2w, or an instant such as 2026-01-31T10:00:00Z", text)
	}
	return moment{}
}

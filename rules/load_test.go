package rules

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
)

const goodRules = `purposes: [{key: ads, description: Advertise, lawful_basis: consent, retention: 400d, output: ads}]
lists: [{key: vips, members: [u1]}]
let: {orders: 'events("Order Completed")'}
segments:
  - key: loyal
    name: Loyal customers
    purpose: ads
    when: |
      orders.where(properties.total > 3).count() >= 3 && traits.country == "DE" && !list("vips")
`

// What a file says at great length is quoted in part.
func TestProblemsOfVeryLongLines(t *testing.T) {
	digits := strings.Repeat("7", 400_000)
	for _, text := range []string{
		"purposes:\n  - {key: a, description: A, lawful_basis: consent, retention: " + digits + "}\n",
		"purposes:\n  - key: a\n    " + digits + ": 1\n",
		"segments:\n  - {key: a, purpose: " + digits + ", when: 'traits.age > 3'}\n",
		"segments:\n  - {key: a, purpose: a, when: 'traits.age > " + digits + "'}\n",
	} {
		_, problems := Load(fstest.MapFS{"rules.yaml": {Data: []byte(text)}})
		if len(problems) == 0 {
			t.Errorf("%.60s…: no problem", text)
		}
		for _, p := range problems {
			if len(p.String()) > 1500 || len(p.Source) > 10_000 {
				t.Errorf("%.60s…: %d bytes", text, len(p.String()))
			}
		}
	}
}

func TestLoadedSet(t *testing.T) {
	set, problems := Load(fstest.MapFS{"a.yaml": {Data: []byte("\ufeff" + goodRules)}})
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	s := set.Segments[0]
	if s.Key != "loyal" || s.Name != "Loyal customers" || !strings.HasPrefix(s.When, "orders.where") || set.Purposes[0].Output != "ads" {
		t.Errorf("got %+v, %+v", s, set.Purposes[0])
	}
}

func TestLoadDirNamesFilesBelowIt(t *testing.T) {
	dir := t.TempDir()
	if _, problems := LoadDir(filepath.Join(dir, "absent")); len(problems) != 1 || problems[0].File != filepath.Join(dir, "absent") {
		t.Errorf("absent directory: %v", problems)
	}
	if _, problems := LoadDir(dir); len(problems) != 1 || !strings.Contains(problems[0].Message, "no segments in "+dir) {
		t.Errorf("empty directory: %v", problems)
	}
	file := filepath.Join(dir, "a.yaml")
	if err := os.WriteFile(file, []byte(strings.ReplaceAll(goodRules, "orders.where", "odrers.where")), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, problems := LoadDir(dir); len(problems) != 1 || problems[0].File != file || problems[0].Line != 9 || problems[0].Column != 7 {
		t.Errorf("mistake: %v", problems)
	}
	if _, problems := LoadDir(file); len(problems) != 1 {
		t.Errorf("a file for a directory: %v", problems)
	}
}

// TestMountedConfigMap reads a directory laid out as Kubernetes mounts a ConfigMap.
func TestMountedConfigMap(t *testing.T) {
	dir := t.TempDir()
	stamped := filepath.Join(dir, "..2026_01_01")
	if err := os.Mkdir(stamped, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(stamped, "a.yaml"), []byte(goodRules), 0o600); err != nil {
		t.Fatal(err)
	}
	for link, target := range map[string]string{"..data": "..2026_01_01", "a.yaml": "..data/a.yaml"} {
		if err := os.Symlink(target, filepath.Join(dir, link)); err != nil {
			t.Fatal(err)
		}
	}
	if set, problems := LoadDir(dir); set == nil || len(problems) > 0 {
		t.Errorf("problems: %v", problems)
	}
}

func TestLinkOutOfTheDirectoryIsRefused(t *testing.T) {
	outside := filepath.Join(t.TempDir(), "a.yaml")
	if err := os.WriteFile(outside, []byte(goodRules), 0o600); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.Symlink(outside, filepath.Join(dir, "a.yaml")); err != nil {
		t.Fatal(err)
	}
	if set, problems := LoadDir(dir); set != nil || !HasErrors(problems) {
		t.Errorf("a file outside was read: %v", problems)
	}
}

func TestProblemAsJSON(t *testing.T) {
	_, problems := Load(fstest.MapFS{"a.yaml": {Data: []byte("segment: []")}})
	text, err := json.Marshal(problems)
	if err != nil {
		t.Fatal(err)
	}
	want := `[{"file":"a.yaml","line":1,"column":1,"severity":"error","message":"unknown field 'segment' of a rule file (nearest: segments)","source":"segment: []"}]`
	if diff := cmp.Diff(want, string(text)); diff != "" {
		t.Error(diff)
	}
	var back []Problem
	if err := json.Unmarshal(text, &back); err != nil || !cmp.Equal(problems, back) {
		t.Errorf("%v: %s", err, cmp.Diff(problems, back))
	}
}

func TestCaretStandsUnderTheWord(t *testing.T) {
	for _, c := range []struct {
		line   string
		column int
		want   string
	}{
		{"abc", 2, " "}, {"\tab", 3, "\t "}, {"名前 x", 4, "     "}, {"e\u0301x", 3, " "}, {"", 4, "   "}, {"ab", 5, "    "}, {"👍x", 2, "  "},
	} {
		if got := caretIndent(c.line, c.column); got != c.want {
			t.Errorf("caretIndent(%q, %d) = %q, want %q", c.line, c.column, got, c.want)
		}
	}
	p := Problem{File: "f", Line: 1, Column: 2, Message: "m", Source: "a\x1b[31mb"}
	if got := p.String(); strings.ContainsRune(got, 0x1b) {
		t.Errorf("an escape sequence came through: %q", got)
	}
}

func TestCompareSample(t *testing.T) {
	set, problems := Load(fstest.MapFS{"a.yaml": {Data: []byte(goodRules)}})
	if set == nil {
		t.Fatal(problems)
	}
	names := map[string]int{"Order Complete": 3, "Page Viewed": 0}
	fields := map[string]int{"properties.totl": 1, "traits.country.code": 2}
	var got []string
	for _, p := range set.CompareSample(names, fields) {
		got = append(got, p.Error())
	}
	want := []string{
		"a.yaml:3:23: warning: the sample has no event 'Order Completed' (nearest: Order Complete)",
		"a.yaml:9:20: warning: the sample has no field 'properties.total' (nearest: properties.totl)",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if got := set.CompareSample(map[string]int{"Order Completed": 1}, map[string]int{"properties.total": 1, "traits.country": 1}); len(got) > 0 {
		t.Errorf("nothing is missing: %v", got)
	}
}

// FuzzLoad: no input makes Load panic, and the set is nil exactly where there are errors.
func FuzzLoad(f *testing.F) {
	f.Add([]byte(goodRules))
	for _, name := range []string{"good", "names", "sequences", "types", "sources", "windows", "special", "cycles", "lets", "warnings", "syntax", "styles", "traps", "files"} {
		data, err := os.ReadFile(filepath.Join("testdata", "check", name))
		if err != nil {
			f.Fatal(err)
		}
		for _, part := range strings.Split(string(data), "\n\n") {
			input, _, _ := strings.Cut(part, "\n----")
			if command, rest, _ := strings.Cut(input, "\n"); command == "rule" {
				f.Add([]byte(frameRule(unescape(rest))))
			} else {
				f.Add([]byte(unescape(rest)))
			}
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		set, problems := Load(fstest.MapFS{"a.yaml": {Data: data}, "b.yaml": {Data: []byte(goodRules)}})
		if (set == nil) != HasErrors(problems) {
			t.Errorf("set %v with problems %v", set != nil, problems)
		}
		for _, p := range problems {
			if p.Line < 0 || p.Line > 0 && p.Column < 1 || p.String() == "" || p.Message == "" {
				t.Errorf("%+v", p)
			}
		}
	})
}

// FuzzRule is FuzzLoad with one rule as input, so that mutation stays in the language.
func FuzzRule(f *testing.F) {
	f.Add(`orders.within("90d").sum(properties.total) >= 500`)
	f.Add(`traits.tags.map(t, t.x > 1, t.y)[0] in [1, "a", null] ? has(traits.x) : bucket("s") < 0.5`)
	f.Add(`orders.where(properties["a b"].exists(x, x.y == {"k": [limit]})).last().context.z != -1.5e3`)
	f.Fuzz(func(t *testing.T, rule string) {
		set, problems := Load(fstest.MapFS{"a.yaml": {Data: []byte(frameRule(rule))}})
		if (set == nil) != HasErrors(problems) {
			t.Errorf("set %v with problems %v", set != nil, problems)
		}
	})
}

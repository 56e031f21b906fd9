package rules_test

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"github.com/segmentd/segmentd/rules"
)

const changeHead = `
purposes:
  - {key: p, description: P, lawful_basis: consent, retention: 30d}
  - {key: q, description: Q, lawful_basis: consent, retention: 30d}
data:
  - {field: properties.n, min: 0}
  - {field: properties.m, min: 0}
lists:
  - {key: vips, members: [u1]}
segments:
`

func mustLoad(t *testing.T, text string) *rules.Set {
	t.Helper()
	set, problems := rules.Load(fstest.MapFS{"rules.yaml": {Data: []byte(text)}})
	if set == nil {
		t.Fatalf("%v\n%s", problems, text)
	}
	return set
}

// What becomes of a segment when the rule, or what it stands on, changes.
func TestTransitionTreatsSegments(t *testing.T) {
	segment := func(rule string) string { return "  - {key: s, purpose: p, when: '" + rule + "'}\n" }
	for _, c := range []struct {
		name     string
		from, to string
		head     string // of to, where it is another
		want     rules.Treatment
	}{
		{"the same", `events("A").count() >= 2`, `events("A").count() > 1`, "", rules.Unchanged},
		{"fewer of what is kept", `events("A").count() >= 3`, `events("A").count() >= 2`, "", rules.Decided},
		{"more than is kept", `events("A").count() >= 2`, `events("A").count() >= 3`, "", rules.Filled},
		{"shorter window", `events("A").within("7d").count() >= 2`, `events("A").within("2d").count() >= 2`, "", rules.Decided},
		{"longer window", `events("A").within("2d").count() >= 2`, `events("A").within("7d").count() >= 2`, "", rules.Filled},
		{"bounded of unbounded", `events("A").sum(properties.n) % 2 == 0`, `events("A").within("2d").sum(properties.n) >= 9`, "", rules.Decided},
		{"other argument", `events("A").max(properties.n) > 1`, `events("A").max(properties.m) > 1`, "", rules.Filled},
		{"other predicate", `events("A").where(properties.n > 1).exists()`, `events("A").where(properties.n > 2).exists()`, "", rules.Filled},
		{"later window of thinned", `events("A").between("7d", "1d").count() >= 1`, `events("A").between("7d", "2d").count() >= 1`, "", rules.Filled},
		{"earlier window of thinned", `events("A").between("7d", "2d").count() >= 1`, `events("A").between("7d", "1d").count() >= 1`, "", rules.Decided},
		{"ends earlier", `events("A").count() >= 1`, `events("A").until(timestamp("2026-01-01")).count() >= 1`, "", rules.Filled},
		{"without evidence", `events("A").count() >= 1`, `bucket("x") < 0.5`, "", rules.Decided},
		{"a trait that was read", `traits.a == 1`, `traits.a == 2`, "", rules.Decided},
		{"a part of a trait", `traits.a.b == 1`, `traits.a.b == 2`, "", rules.Decided},
		{"another part of a trait", `traits.a.b == 1`, `traits.a.c == 2`, "", rules.Filled},
		{"more of a trait", `traits.a.b == 1`, `traits.a == 2`, "", rules.Filled},
		{"members of its list", `list("vips") && events("A").exists()`, `list("vips") && events("A").exists()`,
			strings.Replace(changeHead, "[u1]", "[u2]", 1), rules.ListChanged},
		{"members of another list", `events("A").exists()`, `events("A").exists()`, strings.Replace(changeHead, "[u1]", "[u2]", 1), rules.Unchanged},
		{"a field's minimum", `events("A").avg(properties.n) > 1`, `events("A").avg(properties.n) > 1`,
			strings.Replace(changeHead, "properties.n, min: 0", "properties.n, min: 1", 1), rules.Filled},
		{"another field's minimum", `events("A").avg(properties.n) > 1`, `events("A").avg(properties.n) > 1`,
			strings.Replace(changeHead, "properties.m, min: 0", "properties.m, min: 1", 1), rules.Unchanged},
		{"shorter retention", `events("A").count() >= 2`, `events("A").count() >= 2`, strings.Replace(changeHead, "30d", "20d", 1), rules.Decided},
		{"longer retention", `events("A").count() >= 2`, `events("A").count() >= 2`, strings.Replace(changeHead, "30d", "40d", 1), rules.Filled},
		{"retention beside a window", `events("A").within("2d").count() >= 2`, `events("A").within("2d").count() >= 2`,
			strings.Replace(changeHead, "30d", "40d", 1), rules.Unchanged},
		{"the purpose's policy", `events("A").exists()`, `events("A").exists()`,
			strings.Replace(changeHead, "lawful_basis: consent", "lawful_basis: explicit_consent", 1), rules.Filled},
		{"the oldest notice", `events("A").exists()`, `events("A").exists()`,
			strings.Replace(changeHead, "description: P", "description: P, notice_version: 2026-03, oldest_notice_version: 2026-03", 1), rules.Filled},
		{"what subjects are told", `events("A").exists()`, `events("A").exists()`,
			strings.Replace(changeHead, "description: P", "description: P, notice_version: 2026-03, recipients: [r], data_use: sales", 1), rules.Unchanged},
		{"the purpose's output", `events("A").exists()`, `events("A").exists()`, strings.Replace(changeHead, "retention: 30d", "retention: 30d, output: x", 1), rules.Decided},
		{"the purpose's description", `events("A").exists()`, `events("A").exists()`, strings.Replace(changeHead, "description: P", "description: R", 1), rules.Unchanged},
	} {
		from := mustLoad(t, changeHead+segment(c.from))
		head := c.head
		if head == "" {
			head = changeHead
		}
		to := mustLoad(t, head+segment(c.to))
		change := rules.Compare(from, nil, to)
		if got := change.Segments[0]; got != c.want {
			t.Errorf("%s: treatment %d, want %d", c.name, got, c.want)
		}
		if again := rules.Compare(to, nil, to); again.Touches() {
			t.Errorf("%s: a set is changed to itself", c.name)
		}
		if unknown := rules.Compare(nil, from.Names(), to); unknown.Segments[0] != rules.Filled && len(to.Segments[0].Leaves) > 0 {
			t.Errorf("%s: what is not known is reused", c.name)
		}
	}
}

// A changed segment that names one which is filled is filled too; an unchanged one is not.
func TestTransitionFillsDependents(t *testing.T) {
	from := mustLoad(t, changeHead+`
  - {key: a, purpose: p, when: 'events("A").count() >= 2'}
  - {key: b, purpose: p, when: 'segment("a")'}
  - {key: c, purpose: p, when: '!segment("a")'}
  - {key: gone, purpose: p, when: 'events("A").exists()'}
  - {key: moves, purpose: p, when: 'events("A").exists()'}
`)
	to := mustLoad(t, changeHead+`
  - {key: a, purpose: p, when: 'events("A").count() >= 3'}
  - {key: b, purpose: p, when: 'segment("a")'}
  - {key: c, purpose: p, when: 'segment("a")'}
  - {key: new, purpose: q, when: 'events("A").exists()'}
  - {key: moves, purpose: q, when: 'events("A").exists()'}
`)
	change := rules.Compare(from, nil, to)
	got := map[string]rules.Treatment{}
	for i := range to.Segments {
		got[to.Segments[i].Key] = change.Segments[i]
	}
	if d := cmp.Diff(map[string]rules.Treatment{"a": rules.Filled, "b": rules.Unchanged, "c": rules.Filled, "new": rules.Filled, "moves": rules.Filled}, got); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff(rules.Summary{Added: []string{"new"}, Changed: []string{"a", "c", "moves"}, Removed: []string{"gone"}}, change.Summary()); d != "" {
		t.Error(d)
	}
	var removed []string
	for _, n := range change.Removed {
		removed = append(removed, n.Key)
	}
	if d := cmp.Diff([]string{"gone", "moves"}, removed); d != "" {
		t.Error(d)
	}
}

// A set can be made again of its archive, lists' files and all.
func TestArchive(t *testing.T) {
	files := fstest.MapFS{
		"a.yaml":         {Data: []byte("\ufeffrevision: 7\n" + strings.Replace(changeHead, "members: [u1]", "file: lists/vips.txt", 1) + "  - {key: s, purpose: p, when: 'list(\"vips\")'}\n")},
		"sub/b.yaml":     {Data: []byte("let: {some: 'events(\"A\")'}\n")},
		"lists/vips.txt": {Data: []byte("u1\nu2\n")},
		"a_test.yaml":    {Data: []byte("tests: []\n")},
		"notes.txt":      {Data: []byte("not read")},
	}
	set, problems := rules.Load(files)
	if set == nil {
		t.Fatal(problems)
	}
	packed, err := set.Archive()
	if err != nil {
		t.Fatal(err)
	}
	again, problems := rules.LoadArchive(packed)
	if again == nil {
		t.Fatal(problems)
	}
	if again.Hash != set.Hash || again.Revision != 7 {
		t.Errorf("the set is %s of revision %d, was %s", again.Hash, again.Revision, set.Hash)
	}
	if repacked, err := again.Archive(); err != nil || !bytes.Equal(repacked, packed) {
		t.Errorf("its archive is another one (%v)", err)
	}
	for _, b := range [][]byte{nil, []byte("x"), packed[:len(packed)/2]} {
		if set, problems := rules.LoadArchive(b); set != nil || len(problems) == 0 {
			t.Errorf("%d bytes were taken for an archive", len(b))
		}
	}
}

func TestArchiveIsBounded(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	var ids strings.Builder
	for range 200_000 {
		for range 12 {
			ids.WriteByte("0123456789abcdef"[rng.IntN(16)])
		}
		ids.WriteByte('\n')
	}
	set, problems := rules.Load(fstest.MapFS{
		"a.yaml":   {Data: []byte(strings.Replace(changeHead, "members: [u1]", "file: vips.txt", 1) + "  - {key: s, purpose: p, when: 'list(\"vips\")'}\n")},
		"vips.txt": {Data: []byte(ids.String())},
	})
	if set == nil {
		t.Fatal(problems)
	}
	if _, err := set.Archive(); !errors.Is(err, rules.ErrArchiveTooLarge) {
		t.Errorf("%v, want %v", err, rules.ErrArchiveTooLarge)
	}
}

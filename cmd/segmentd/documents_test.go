package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/segmentd/segmentd/processor"
	"github.com/segmentd/segmentd/processor/replay"
	"github.com/segmentd/segmentd/processor/transparency"
	"github.com/segmentd/segmentd/rules"
	"github.com/segmentd/segmentd/rules/schematest"
	"github.com/segmentd/segmentd/state"
	"github.com/segmentd/segmentd/state/subject"
)

const documents = "../../processor/transparency/testdata"

// document runs a command over the rules and the configuration of documents and
// returns what it prints.
func document(t *testing.T, want int, args ...string) (out, messages string) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	args = append(args, "--rules", filepath.Join(documents, "rules"), "--config", filepath.Join(documents, "segmentd.yaml"))
	if got := run(t.Context(), args, streams{in: strings.NewReader(""), out: &stdout, err: &stderr}); got != want {
		t.Fatalf("segmentd %s ends with %d, want %d:\n%s", strings.Join(args, " "), got, want, stderr.String())
	}
	return stdout.String(), stderr.String()
}

// TestDocuments compares the record and the notice, in all their forms, with
// what is in testdata (-update writes it), and holds them to their schemas.
func TestDocuments(t *testing.T) {
	for _, c := range []struct{ file, command, output string }{
		{"record.json", "record", "json"}, {"record.md", "record", "markdown"}, {"notice.json", "notice", "json"}, {"notice.md", "notice", "text"},
	} {
		out, messages := document(t, exitOK, c.command, "--output", c.output)
		path := filepath.Join(documents, c.file)
		if *updateScripts {
			if err := os.WriteFile(path, []byte(out), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		golden, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(golden), out); diff != "" {
			t.Errorf("%s (-golden +printed):\n%s", c.file, diff)
		}
		if again, _ := document(t, exitOK, c.command, "--output", c.output); again != out {
			t.Errorf("%s is another when it is made again", c.file)
		}
		for _, gap := range []string{"purpose club: no data_use; the record says personalize", "purpose marketing: data has no category of properties.coupon"} {
			if !strings.Contains(messages, gap) {
				t.Errorf("%s: no warning of %q in\n%s", c.command, gap, messages)
			}
		}
		if c.output == "json" {
			if err := schemaFile(t, c.command).Validate(schematest.JSON(t, []byte(out))); err != nil {
				t.Errorf("%s: %v", c.file, err)
			}
		}
	}
}

// What is not stated is a warning, and with --strict a reason to fail.
func TestDocumentsAreStrict(t *testing.T) {
	_, messages := document(t, exitInput, "record", "--strict")
	if !strings.Contains(messages, "not stated") {
		t.Errorf("no reason in %q", messages)
	}
	document(t, exitUsage, "notice", "--language", "tlh")
	document(t, exitUsage, "notice", "--output", "markdown")
	document(t, exitUsage, "record", "--output", "text")
}

// The hash of a notice tells whether a new version is due.
func TestNoticeIsExpected(t *testing.T) {
	out, _ := document(t, exitOK, "notice", "--output", "json")
	var notice transparency.Notice
	if err := json.Unmarshal([]byte(out), &notice); err != nil {
		t.Fatal(err)
	}
	document(t, exitOK, "notice", "--expect", notice.Hash)
	document(t, exitOK, "notice", "--expect", notice.Hash[:16])
	document(t, exitUsage, "notice", "--expect", notice.Hash[:7])
	if _, messages := document(t, exitInput, "notice", "--expect", "0123456789abcdef"); !strings.Contains(messages, "under a new notice_version") {
		t.Errorf("no advice in %q", messages)
	}
}

// everything is an event with a canary in every field that could be read, and
// in many that are not.
const everything = `{"type":"track","userId":"u1","event":"%EVENT%","timestamp":"2026-01-0%DAY%T10:00:00Z",
"properties":{"total":"canary:properties.total","products":[{"name":"canary:properties.products","id":"canary:properties.products"}],"coupon":"canary:properties.coupon",
 "diagnosis":"canary:properties.diagnosis","secret":"canary:properties.secret","card":{"number":"canary:properties.card.number"}},
"context":{"ip":"canary:context.ip","userAgent":"canary:context.userAgent"}}`

const everyTrait = `{"type":"identify","userId":"u1","timestamp":"2026-01-01T10:00:00Z","traits":{"address":{"country":"canary:traits.address.country","street":"canary:traits.address.street"},
"tier":"canary:traits.tier","birthdate":"1990-01-01","email":"canary:traits.email"}}`

// TestNothingIsKeptThatTheRecordDoesNotName keeps a subject whose every field
// holds a canary, and looks for them in its record as it is stored: each must
// lie in a field that the record of processing names. Some must be there, or the
// test would prove nothing.
func TestNothingIsKeptThatTheRecordDoesNotName(t *testing.T) {
	set, problems := rules.LoadDir(filepath.Join(documents, "rules"))
	if set == nil {
		t.Fatal(problems)
	}
	stored := storedRecord(t, set)
	var named []string
	var record transparency.Record
	out, _ := document(t, exitOK, "record")
	if err := json.Unmarshal([]byte(out), &record); err != nil {
		t.Fatal(err)
	}
	for _, d := range record.Declarations {
		for _, f := range d.Ours.Fields {
			named = append(named, f.Path)
		}
	}
	all := pathsIn(everything + everyTrait)
	kept := pathsIn(stored)
	for _, path := range kept {
		if !slices.ContainsFunc(named, func(p string) bool { return path == p || strings.HasPrefix(path, p+".") }) {
			t.Errorf("%s is kept, and the record does not name it", path)
		}
	}
	for _, path := range []string{"properties.coupon", "properties.products", "properties.diagnosis", "context.ip", "traits.address.country", "traits.tier"} {
		if !slices.Contains(kept, path) {
			t.Errorf("%s is not kept: the test looks at nothing (kept: %v)", path, kept)
		}
	}
	if len(kept) == len(all) {
		t.Error("all that was sent is kept")
	}
}

// storedRecord is the record of a subject that consented to everything, then
// sent events of every name that the rules read, as it is encoded for the disk.
func storedRecord(t *testing.T, set *rules.Set) string {
	t.Helper()
	var purposes []string
	for i := range set.Purposes {
		if set.Purposes[i].Basis.NeedsConsent() {
			purposes = append(purposes, set.Purposes[i].Key)
		}
	}
	replayed, err := replay.NewStepper(replay.Config{Rules: set, Until: subject.Never, AssumeConsent: purposes})
	if err != nil {
		t.Fatal(err)
	}
	lines := []string{everyTrait}
	for i := range set.Purposes {
		for _, event := range set.ReadsFor(i).Events {
			lines = append(lines, strings.NewReplacer("%EVENT%", strings.Replace(event, "*", "Started", 1), "%DAY%", "2").Replace(everything))
		}
	}
	for i, line := range lines {
		step, err := replayed.Step([]byte(strings.ReplaceAll(line, "\n", "")), subject.Position{Offset: int64(i)})
		if err != nil || step.Problem != "" {
			t.Fatalf("%v %s in %s", err, step.Problem, line)
		}
	}
	r, err := replayed.Records().Get(subject.ID{Value: "u1"})
	if err != nil || r == nil {
		t.Fatalf("no record: %v", err)
	}
	return string(state.AppendRecord(nil, r))
}

// pathsIn are the paths that are found in a text, each once, sorted.
func pathsIn(text string) []string {
	var found []string
	for _, rest := range strings.Split(text, "canary:")[1:] {
		end := strings.IndexFunc(rest, func(r rune) bool { return !(r == '.' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z') })
		if end < 0 {
			end = len(rest)
		}
		found = append(found, rest[:end])
	}
	slices.Sort(found)
	return slices.Compact(found)
}

// storeOf says in which store of the record each field of what is kept of a subject is.
// A field that is not here fails the test: say where it is.
var storeOf = map[string]string{
	"Record.ID": "segmentd-changelog", "Record.Version": "segmentd-changelog", "Record.Clock": "segmentd-changelog", "Record.Next": "segmentd-changelog",
	"Record.Purposes": "segmentd-changelog", "Record.Shadow": "segmentd-changelog", "Record.Held": "segmentd-changelog",
	"Record.Restrictions": "segmentd-changelog", "Record.Corrections": "segmentd-changelog",
	"Record.Messages": transparency.StoreMessages, "Record.Erased": transparency.StoreFence,
	"Dossier.ID": transparency.StoreProofs, "Dossier.Proofs": transparency.StoreProofs, "Dossier.Dropped": transparency.StoreProofs, "Dossier.Requests": transparency.StoreRequests,
}

// inMemory are fields of records that are not stored.
var inMemory = []string{"Record.Armed", "Record.Indexed", "Record.Forgot"}

// TestEveryStoreIsInTheRecord holds the record against the topics that a group owns, the
// fields of what is kept of a subject, and what is in the data directory of an instance
// that runs.
func TestEveryStoreIsInTheRecord(t *testing.T) {
	out, _ := document(t, exitOK, "record", "--embedded")
	var record transparency.Record
	if err := json.Unmarshal([]byte(out), &record); err != nil {
		t.Fatal(err)
	}
	named := map[string]bool{}
	for _, s := range slices.Concat(record.Ours.Topics, record.Ours.Stores) {
		named[s.Name] = true
		if s.Holds == "" || s.Keeps == "" || s.Erasure == "" {
			t.Errorf("%s is in the record without what it holds, for how long, or what an erasure does", s.Name)
		}
	}
	set, problems := rules.LoadDir(filepath.Join(documents, "rules"))
	if set == nil {
		t.Fatal(problems)
	}
	for _, spec := range (processor.Topics{Group: "segmentd"}).Specs(set) {
		if !named[spec.Name] {
			t.Errorf("the topic %s is not in the record", spec.Name)
		}
	}
	for _, kept := range []reflect.Type{reflect.TypeFor[subject.Record](), reflect.TypeFor[subject.Dossier]()} {
		for i := range kept.NumField() {
			field := kept.Name() + "." + kept.Field(i).Name
			if store := storeOf[field]; !named[store] && !slices.Contains(inMemory, field) {
				t.Errorf("%s is in the store %q, which is not in the record", field, store)
			}
		}
	}
	if !named[transparency.StoreLists] {
		t.Error("the rules have a list, and the record does not name it")
	}
	entries, err := os.ReadDir(startService(t, "127.0.0.1:0").cfg.Data)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if !named["data directory: "+e.Name()] && e.Name() != "secret" { // of the embedded broker, and of nobody
			t.Errorf("%s is in the data directory, and not in the record", e.Name())
		}
	}
	if len(entries) < 3 {
		t.Errorf("the data directory has only %v: the test looks at nothing", entries)
	}
}

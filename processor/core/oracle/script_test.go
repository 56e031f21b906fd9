package oracle

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/cockroachdb/datadriven"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/segmentd/segmentd/state/subject"
)

// The scripts count time from here, as "3d6h".
const day0 subject.Instant = 1767225600_000_000 // 2026-01-01T00:00:00Z

// TestScripts runs testdata: rules, then "replay" with one input a line,
//
//	OFFSET USER given|refused|withdrawn|objected PURPOSE [explicit] [expires=OFFSET]
//	OFFSET USER track NAME {properties} [id=MESSAGE] [context={…}]
//	OFFSET USER identify {traits} [id=MESSAGE]
//
// and the changes, then the memberships, as expected output. An offset counts
// from day0 or is an instant in UTC; "replay utc" prints instants. Every replay
// is run a second time exhaustively.
func TestScripts(t *testing.T) {
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		rules := ""
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			if d.Cmd == "rules" {
				rules = preamble(d) + d.Input
				_, err := parseRules(directory(rules))
				return errorText(err)
			}
			return replayScript(t, d, rules)
		})
	})
}

// preamble declares the purpose p, unless the script does.
func preamble(d *datadriven.TestData) string {
	if strings.Contains(d.Input, "purposes:") {
		return ""
	}
	return "purposes:\n  - {key: p, lawful_basis: consent, retention: 100d}\n"
}

func errorText(err error) string {
	if err != nil {
		return "error: " + err.Error()
	}
	return "ok"
}

func directory(rules string) fstest.MapFS {
	return fstest.MapFS{"rules.yaml": {Data: []byte(rules)}}
}

func replayScript(t *testing.T, d *datadriven.TestData, rules string) string {
	opts, show := Options{}, since
	for _, a := range d.CmdArgs {
		switch a.Key {
		case "utc":
			show = timeText
		case "until":
			opts.Until = offset(t, a.Vals[0])
		case "assume":
			opts.AssumeConsent = a.Vals
		}
	}
	var lines []string
	for _, l := range strings.Split(strings.TrimSpace(d.Input), "\n") {
		lines = append(lines, scriptLine(t, l))
	}
	changes, members, err := Run(directory(rules), readers([]string{strings.Join(lines, "\n")}), opts)
	if err != nil {
		return errorText(err)
	}
	opts.Exhaustive = true
	again, _, _ := Run(directory(rules), readers([]string{strings.Join(lines, "\n")}), opts)
	if diff := cmp.Diff(changes, again, cmpopts.IgnoreFields(Change{}, "Due")); diff != "" {
		t.Errorf("%s: an exhaustive run differs (-plain +exhaustive):\n%s", d.Pos, diff)
	}
	return describe(changes, members, show)
}

func describe(changes []Change, members []Member, since func(subject.Instant) string) string {
	var out strings.Builder
	for _, c := range changes {
		fmt.Fprintf(&out, "%s %s %s %s %s", since(c.Time), c.UserID, c.Change, c.Segment, c.Reason)
		if c.CausedBy != "" {
			fmt.Fprintf(&out, " by=%s", c.CausedBy)
		}
		if c.Tie {
			out.WriteString(" (tie)")
		}
		fmt.Fprintf(&out, " v%d\n", c.Version)
	}
	for _, m := range members {
		fmt.Fprintf(&out, "= %s %s since %s\n", m.Segment, m.UserID, since(m.Since))
	}
	if out.Len() == 0 {
		return "nothing"
	}
	return out.String()
}

// scriptLine turns a line of a script into a record.
func scriptLine(t *testing.T, line string) string {
	t.Helper()
	f := strings.SplitN(line, " ", 4)
	rec := map[string]any{"userId": f[1], "timestamp": offset(t, f[0]).String()}
	rest := f[3]
	for {
		i := strings.LastIndex(rest, " ")
		if i < 0 || !option(t, rec, rest[i+1:]) {
			break
		}
		rest = rest[:i]
	}
	switch f[2] {
	case "track":
		rec["type"] = "track"
		name, properties, _ := strings.Cut(rest, " ")
		rec["event"], rec["properties"] = name, rawOr(properties)
	case "identify":
		rec["type"], rec["traits"] = "identify", json.RawMessage(rest)
	default:
		rec["type"], rec["status"], rec["purpose"] = "decision", f[2], rest
	}
	text, err := json.Marshal(rec)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func rawOr(text string) json.RawMessage {
	if text == "" {
		return json.RawMessage("{}")
	}
	return json.RawMessage(text)
}

func option(t *testing.T, rec map[string]any, word string) bool {
	t.Helper()
	key, value, _ := strings.Cut(word, "=")
	switch key {
	case "id":
		rec["messageId"] = value
	case "explicit":
		rec["explicit"] = true
	case "expires":
		rec["expiresAt"] = offset(t, value).String()
	case "context":
		rec["context"] = json.RawMessage(value)
	default:
		return false
	}
	return true
}

// offset reads "2d3h" or an instant, with "+1us" or "-1us" behind it or not.
func offset(t *testing.T, s string) subject.Instant {
	t.Helper()
	text, late := strings.CutSuffix(s, "+1us")
	text, early := strings.CutSuffix(text, "-1us")
	at, ok := parseInstant(text)
	if !ok && text == "0" {
		at, ok = day0, true
	}
	if !ok {
		d, err := parseDuration(text)
		if err != nil {
			t.Fatalf("offset %q: %v", s, err)
		}
		at = day0 + subject.Instant(d)
	}
	return at + subject.Instant(rank(late)-rank(early))
}

// since writes an instant as the scripts do.
func since(at subject.Instant) string {
	us := int64(at - day0)
	rest := time.Duration(us%(24*3600*1_000_000)) * time.Microsecond
	text := fmt.Sprintf("%dd", us/(24*3600*1_000_000))
	if rest != 0 {
		text += strings.NewReplacer("h0m0s", "h", "m0s", "m").Replace(rest.String())
	}
	return text
}

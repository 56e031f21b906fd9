package access

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func newToken(t *testing.T, name string, role Role, expires time.Time) (string, Entry) {
	t.Helper()
	token, e, err := New(name, role, expires)
	if err != nil {
		t.Fatal(err)
	}
	return token, e
}

func writeFile(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestMatrix is the whole of who may ask for what.
func TestMatrix(t *testing.T) {
	for scope, want := range map[Scope]string{
		Nobody: "", Anybody: "reader or privacy or operator", Service: "reader or privacy or operator",
		Subjects: "reader or privacy", Requests: "privacy", Administration: "operator", Administration + 1: "",
	} {
		if got := scope.Holders(); got != want {
			t.Errorf("scope %d: %q, want %q", scope, got, want)
		}
		if Role("").May(scope) != (scope == Anybody) || Role("admin").May(scope) != (scope == Anybody) {
			t.Errorf("scope %d: a role that is none may ask", scope)
		}
	}
}

func TestIdentify(t *testing.T) {
	now := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	path := filepath.Join(t.TempDir(), "tokens.yaml")
	reader, e1 := newToken(t, "crm", Reader, time.Time{})
	ending, e2 := newToken(t, "audit", Privacy, now)
	stranger, _ := newToken(t, "stranger", Operator, time.Time{})
	writeFile(t, path, e1.String()+"\n"+e2.String()+"\n")
	tokens, err := Open(path, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		header string
		at     time.Time
		want   Asker
		err    error
	}{
		{"Bearer " + reader, now, Asker{"crm", Reader}, nil},
		{"bearer  " + reader, now, Asker{"crm", Reader}, nil},
		{"Bearer " + ending, now.Add(-1), Asker{"audit", Privacy}, nil},
		{"Bearer " + ending, now, Asker{"audit", Privacy}, ErrExpired},
		{"", now, Asker{}, ErrNoToken},
		{"Bearer", now, Asker{}, ErrMalformed},
		{"Bearer ", now, Asker{}, ErrMalformed},
		{reader, now, Asker{}, ErrMalformed},
		{"Basic " + reader, now, Asker{}, ErrMalformed},
		{"Bearer " + reader + ",", now, Asker{}, ErrMalformed},
		{"Bearer " + reader + " " + reader, now, Asker{}, ErrMalformed},
		{"Bearer " + reader[:minTokenChars-1], now, Asker{}, ErrMalformed},
		{"Bearer " + reader[:len(reader)-1], now, Asker{}, ErrUnknown},
		{"Bearer " + reader + "A", now, Asker{}, ErrUnknown},
		{"Bearer " + e1.Hash, now, Asker{}, ErrUnknown},
		{"Bearer " + stranger, now, Asker{}, ErrUnknown},
	} {
		if got, err := tokens.Identify(c.header, c.at); got != c.want || !errors.Is(err, c.err) {
			t.Errorf("%.12q of %d characters: %v, %v; want %v, %v", c.header, len(c.header), got, err, c.want, c.err)
		}
	}
}

// TestParse shows what is refused, and that no error repeats what stands where a
// hash should, as it may be a token.
func TestParse(t *testing.T) {
	token, e := newToken(t, "a", Reader, time.Time{})
	line := e.String()
	const none = "f has no token, so that nobody could ask: make one with 'segmentd token create --file'"
	for text, want := range map[string]string{
		"":       none,
		"[]":     none,
		"# none": none,
		line:     "",
		line + "\n- {name: b, role: privacy, hash: " + strings.Repeat("0b", 32) + ", expires: 2027-01-31T00:00:00Z}": "",
		line + "\n" + line:                                         "f:2: the name is that of line 1, too\nf:2: the hash is that of line 1, too",
		strings.Replace(line, "reader", "admin", 1):                "f:1: role: allowed are reader, privacy and operator",
		strings.Replace(line, "name: a", "name: a b", 1):           "f:1: name: 1 to 64 letters, digits, '.', '_' and '-' are needed",
		strings.Replace(line, "name: a", "name: Loopback", 1):      "f:1: name: Loopback is taken by segmentd itself",
		strings.Replace(line, e.Hash, token, 1):                    "f:1: hash: the SHA-256 of the token is needed, 64 hexadecimal digits in lower case, as 'segmentd token create' prints it",
		strings.Replace(line, "}", ", expires: tomorrow}", 1):      "f:1: expires: an instant such as 2027-01-31T00:00:00Z is needed",
		strings.Replace(line, "}", ", scope: all}", 1):             "f:1: unknown member; known are name, role, hash and expires",
		strings.Replace(line, "}", ", name: b}", 1):                "f:1: name, role, hash and expires are single values, each given once",
		strings.Replace(line, "role: reader", "role: [reader]", 1): "f:1: name, role, hash and expires are single values, each given once",
		"tokens:\n  " + line:                                       "f:1: a list of {name, role, hash} is needed",
		token:                                                      "f:1: a list of {name, role, hash} is needed",
		"- " + token:                                               "f:1: each token is a mapping {name, role, hash}",
		"- {" + token + ": " + token + ", name":                    "f: not YAML: a list of {name, role, hash} is needed",
	} {
		got := ""
		if _, err := Parse("f", []byte(text)); err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("%s: %q, want %q", text, got, want)
		}
	}
}

// TestReload follows a file through changes, good and bad ones.
func TestReload(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tokens.yaml")
	first, e1 := newToken(t, "first", Reader, time.Time{})
	second, e2 := newToken(t, "second", Reader, time.Time{})
	writeFile(t, path, e1.String())
	var log bytes.Buffer
	tokens, err := Open(path, slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	known := func(token string) bool {
		tokens.Reload()
		_, err := tokens.Identify("Bearer "+token, time.Now())
		return err == nil
	}
	if !known(first) || known(second) {
		t.Error("the file as it was at the start")
	}
	writeFile(t, path, e2.String())
	if known(first) || !known(second) {
		t.Error("a file that has changed")
	}
	writeFile(t, path, "- {name: "+first)
	if known(first) || !known(second) {
		t.Error("a file that cannot be read")
	}
	writeFile(t, path, "")
	if known(first) || !known(second) || !strings.Contains(log.String(), "has no token") {
		t.Error("an empty file locks everybody out, or is not told of")
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if known(first) || !known(second) || !known(second) {
		t.Error("a file that is gone")
	}
	if n := strings.Count(log.String(), "level=ERROR"); n != 3 {
		t.Errorf("%d errors in the log, want one for each reason:\n%s", n, log.String())
	}
	if strings.Contains(log.String(), first) {
		t.Error("a token is in the log")
	}
}

// TestFollow takes a change up without being told.
func TestFollow(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tokens.yaml")
	token, e := newToken(t, "late", Reader, time.Time{})
	_, before := newToken(t, "before", Reader, time.Time{})
	writeFile(t, path, before.String())
	tokens, err := Open(path, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithTimeout(t.Context(), 30*time.Second)
	defer stop()
	done := make(chan error, 1)
	go func() { done <- tokens.Follow(ctx) }()
	writeFile(t, path, e.String())
	for ctx.Err() == nil {
		if _, err := tokens.Identify("Bearer "+token, time.Now()); err == nil {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	if ctx.Err() != nil {
		t.Error("the change was not taken up")
	}
	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestAppend(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tokens.yaml")
	for i, name := range []string{"a", "b"} {
		_, e := newToken(t, name, Operator, time.Now().Add(time.Hour))
		if err := Append(path, e); err != nil {
			t.Fatal(err)
		}
		if have, err := Load(path); err != nil || len(have) != i+1 || have[i].Name != name {
			t.Errorf("%v, %v", have, err)
		}
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	_, twice := newToken(t, "a", Reader, time.Time{})
	if err := Append(path, twice); err == nil {
		t.Error("a second token of one name was added")
	}
	if after, err := os.ReadFile(path); err != nil || !bytes.Equal(before, after) {
		t.Errorf("the file has changed: %v", err)
	}
	writeFile(t, path, strings.TrimSpace(string(before))) // an editor left the last line end out
	if err := Append(path, Entry{Name: "c", Role: Reader, Hash: twice.Hash}); err != nil {
		t.Error(err)
	}
	if err := os.Chmod(path, 0o602); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(path); err == nil || !strings.Contains(err.Error(), "chmod 600") {
		t.Errorf("a file that everybody can write to: %v", err)
	}
}

func TestNewTokensAreUnlikeAndLong(t *testing.T) {
	a, e := newToken(t, "a", Reader, time.Time{})
	b, _ := newToken(t, "a", Reader, time.Time{})
	if a == b || !WellFormed(a) || strings.Contains(e.String(), a) {
		t.Errorf("%d and %d characters, equal: %v", len(a), len(b), a == b)
	}
	for _, short := range []string{"", "secret", strings.Repeat("a", minTokenChars-1), strings.Repeat("ä", minTokenChars)} {
		if WellFormed(short) {
			t.Errorf("%q may be a token", short)
		}
	}
}

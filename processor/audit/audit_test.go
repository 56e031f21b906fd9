package audit_test

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/segmentd/segmentd/processor/audit"
	"github.com/segmentd/segmentd/processor/audit/verify"
)

func open(t *testing.T, dir string) *audit.Log {
	t.Helper()
	l, err := audit.Open(audit.Config{Dir: dir, MaxFileBytes: 2000}, audit.Deps{})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func closed(t *testing.T, l *audit.Log) audit.Head {
	t.Helper()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	return l.Head()
}

func lookup(i int) audit.Entry {
	return audit.Entry{Who: "crm", Role: "reader", Method: "GET", Route: "/v1/subjects/{id}", Subject: fmt.Sprintf("%032x", i), Status: 200}
}

// written makes a log of several files and two starts.
func written(t *testing.T, dir string) audit.Head {
	t.Helper()
	for range 2 {
		l := open(t, dir)
		for i := range 20 {
			if err := l.Append(lookup(i)); err != nil {
				t.Fatal(err)
			}
		}
		closed(t, l)
	}
	l := open(t, dir)
	return closed(t, l)
}

func logFiles(t *testing.T, dir string) []string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "*.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// TestChainGoesOn writes over files and starts, and the other code finds it whole.
func TestChainGoesOn(t *testing.T) {
	dir := t.TempDir()
	head := written(t, dir)
	got, err := verify.Dir(dir, verify.Options{Anchors: map[uint64]string{head.Count: head.Hash}})
	if err != nil {
		t.Fatal(err)
	}
	files := len(logFiles(t, dir))
	if want := (verify.Result{Files: files, First: 1, Last: 43, Hash: head.Hash}); got != want || files < 4 {
		t.Errorf("%+v, want %+v", got, want)
	}
}

// TestTampering changes the log in every way, and each is found where it was done.
func TestTampering(t *testing.T) {
	good := t.TempDir()
	head := written(t, good)
	names := logFiles(t, good)
	middle := filepath.Base(names[1])
	lines := func(b []byte) [][]byte { return bytes.SplitAfter(bytes.TrimSuffix(b, []byte("\n")), []byte("\n")) }
	for name, c := range map[string]struct {
		change func(b []byte) []byte // of the middle file; nil: it is deleted
		line   int                   // 0: not found without the published head
		says   string
	}{
		"a subject":         {func(b []byte) []byte { return bytes.Replace(b, []byte(`"who":"crm"`), []byte(`"who":"CRM"`), 1) }, 1, "changed"},
		"a bit":             {func(b []byte) []byte { b[len(b)/2] ^= 1; return b }, -1, ""},
		"a hash":            {func(b []byte) []byte { return bytes.Replace(b, []byte(`"hash":"`), []byte(`"hash":"0`), 1) }, 1, "its hash"},
		"a line deleted":    {func(b []byte) []byte { return slices.Concat(slices.Delete(lines(b), 2, 3)...) }, 3, "must follow"},
		"lines exchanged":   {func(b []byte) []byte { l := lines(b); l[1], l[2] = l[2], l[1]; return slices.Concat(l...) }, 2, "must follow"},
		"a line twice":      {func(b []byte) []byte { l := lines(b); return slices.Concat(slices.Insert(l, 2, l[1])...) }, 3, "must follow"},
		"a line put in":     {func(b []byte) []byte { return slices.Concat(slices.Insert(lines(b), 2, []byte("{}\n"))...) }, 3, "not an entry"},
		"an empty line":     {func(b []byte) []byte { return slices.Concat(slices.Insert(lines(b), 2, []byte("\n"))...) }, 3, "not an entry"},
		"cut within a line": {func(b []byte) []byte { return b[:len(b)-7] }, -1, "not whole"},
		"emptied":           {func(b []byte) []byte { return nil }, 1, "empty"},
	} {
		dir := t.TempDir()
		if err := os.CopyFS(dir, os.DirFS(good)); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, middle)
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, c.change(b), 0o600); err != nil {
			t.Fatal(err)
		}
		var wrong *verify.Problem
		_, err = verify.Dir(dir, verify.Options{})
		if !errors.As(err, &wrong) || wrong.File != middle || c.line > 0 && wrong.Line != c.line || !strings.Contains(wrong.Text, c.says) {
			t.Errorf("%s: %v, want %s:%d: … %s", name, err, middle, c.line, c.says)
		}
	}
	for name, c := range map[string]struct {
		change func(dir string) error
		opts   verify.Options
		says   string
	}{
		"the middle file deleted": {func(dir string) error { return os.Remove(filepath.Join(dir, middle)) }, verify.Options{}, "must follow"},
		"the middle file ends early": {func(dir string) error {
			b, err := os.ReadFile(filepath.Join(dir, middle))
			return errors.Join(err, os.WriteFile(filepath.Join(dir, middle), slices.Concat(lines(b)[:2]...), 0o600))
		}, verify.Options{}, "must follow"},
		"the first file deleted":  {func(dir string) error { return os.Remove(filepath.Join(dir, filepath.Base(names[0]))) }, verify.Options{}, "entry 1 must follow"},
		"the newest file deleted": {func(dir string) error { return os.Remove(filepath.Join(dir, filepath.Base(names[len(names)-1]))) }, verify.Options{Anchors: map[uint64]string{head.Count: head.Hash}}, fmt.Sprintf("entry %d was published and is missing", head.Count)},
		"written anew from scratch": {func(dir string) error {
			if err := os.RemoveAll(dir); err != nil {
				return err
			}
			written(t, dir)
			return nil
		}, verify.Options{Anchors: map[uint64]string{head.Count: head.Hash}}, "is not the one that was published"},
		"all deleted": {func(dir string) error { return errors.Join(os.RemoveAll(dir), os.Mkdir(dir, 0o700)) }, verify.Options{}, "no audit log"},
	} {
		dir := t.TempDir()
		if err := errors.Join(os.CopyFS(dir, os.DirFS(good)), c.change(dir)); err != nil {
			t.Fatal(err)
		}
		if _, err := verify.Dir(dir, c.opts); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, want … %s", name, err, c.says)
		}
	}
}

// TestEveryBitCounts turns a bit of each byte of a file.
func TestEveryBitCounts(t *testing.T) {
	dir := t.TempDir()
	written(t, dir)
	path := logFiles(t, dir)[1]
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	put := func(i int, c byte) {
		if _, err := f.WriteAt([]byte{c}, int64(i)); err != nil {
			t.Fatal(err)
		}
	}
	for i, c := range b {
		put(i, c^1)
		if _, err := verify.Dir(dir, verify.Options{}); err == nil {
			t.Errorf("byte %d of %d was changed and nothing is found", i, len(b))
		}
		put(i, c)
	}
}

// TestOldFilesMayGo deletes the oldest file on purpose.
func TestOldFilesMayGo(t *testing.T) {
	dir := t.TempDir()
	head := written(t, dir)
	names := logFiles(t, dir)
	if err := os.Remove(names[0]); err != nil {
		t.Fatal(err)
	}
	var first uint64
	if _, err := fmt.Sscanf(filepath.Base(names[1]), "audit-%d.jsonl", &first); err != nil {
		t.Fatal(err)
	}
	if got, err := verify.Dir(dir, verify.Options{First: first}); err != nil || got.Last != head.Count {
		t.Errorf("%+v, %v", got, err)
	}
}

// TestTornLines starts after a crash at bytes all over the newest lines: what was
// acknowledged is there, and the chain goes on.
func TestTornLines(t *testing.T) {
	good := t.TempDir()
	l := open(t, good)
	before := l.Head()
	if err := l.Append(lookup(1)); err != nil {
		t.Fatal(err)
	}
	closed(t, l)
	b, err := os.ReadFile(logFiles(t, good)[0])
	if err != nil {
		t.Fatal(err)
	}
	start := bytes.IndexByte(b, '\n') + 1
	// At each byte would cost a second of syncs: within the first line, around its end, within and around the end of the second.
	for _, n := range []int{0, 1, start / 2, start - 1, start, start + 1, (start + len(b)) / 2, len(b) - 2, len(b) - 1, len(b)} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, filepath.Base(logFiles(t, good)[0])), b[:n], 0o600); err != nil {
			t.Fatal(err)
		}
		head := closed(t, open(t, dir))
		want := uint64(1)
		switch {
		case n == len(b):
			want = before.Count + 2
		case n >= start:
			want = before.Count + 1
		}
		if got, err := verify.Dir(dir, verify.Options{}); err != nil || got.Last != want || head.Count != want {
			t.Errorf("cut at %d of %d: %+v, %v; want %d entries", n, len(b), got, err, want)
		}
	}
}

// TestTamperingWhileItRuns: nothing is written behind what somebody has changed, and
// the log goes on in a new file once that is moved away.
func TestTamperingWhileItRuns(t *testing.T) {
	for name, change := range map[string]func(path string) error{
		"emptied":     func(path string) error { return os.Truncate(path, 0) },
		"cut off":     func(path string) error { return os.Truncate(path, 100) },
		"appended to": func(path string) error { return appendTo(path, "{}\n") },
		"replaced": func(path string) error {
			b, err := os.ReadFile(path)
			return errors.Join(err, os.WriteFile(path+".new", b, 0o600), os.Rename(path+".new", path))
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "audit")
			var out bytes.Buffer
			failed := 0
			l, err := audit.Open(audit.Config{Dir: dir}, audit.Deps{Logger: slog.New(slog.NewTextHandler(&out, nil)), Failed: func() { failed++ }})
			if err != nil {
				t.Fatal(err)
			}
			if err := l.Append(lookup(1)); err != nil {
				t.Fatal(err)
			}
			head := l.Head()
			path := logFiles(t, dir)[0]
			if err := change(path); err != nil {
				t.Fatal(err)
			}
			for range 2 {
				if err := l.Append(lookup(2)); err == nil || !strings.Contains(err.Error(), "somebody has") || !strings.Contains(err.Error(), head.String()) {
					t.Errorf("an entry behind what was changed: %v", err)
				}
			}
			if failed != 2 || !strings.Contains(out.String(), "the audit log cannot be written") || l.Head() != head {
				t.Errorf("%d failures, head %s; the log says %s", failed, l.Head(), &out)
			}
			if err := os.Rename(path, filepath.Join(t.TempDir(), "evidence")); err != nil {
				t.Fatal(err)
			}
			if err := l.Append(lookup(3)); err != nil {
				t.Errorf("once it was moved away: %v", err)
			}
			closed(t, l)
			if _, err := verify.Dir(dir, verify.Options{First: head.Count + 1}); err != nil {
				t.Errorf("the new file: %v", err)
			}
		})
	}
}

func appendTo(path, text string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Close())
}

// TestFailures take the log's file and directory away while it is written.
func TestFailures(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "audit")
	var out bytes.Buffer
	failed := 0
	l, err := audit.Open(audit.Config{Dir: dir}, audit.Deps{Logger: slog.New(slog.NewTextHandler(&out, nil)), Failed: func() { failed++ }})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(logFiles(t, dir)[0]); err != nil {
		t.Fatal(err)
	}
	if err := l.Append(lookup(1)); err != nil {
		t.Errorf("after the file was taken away: %v", err)
	}
	if _, err := verify.Dir(dir, verify.Options{}); err == nil || !strings.Contains(err.Error(), "entry 1 must follow") {
		t.Errorf("what was taken away: %v", err)
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if err := l.Append(lookup(2)); err == nil || failed != 1 {
		t.Errorf("without a directory: %v, %d failures", err, failed)
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := l.Append(lookup(3)); err != nil {
		t.Errorf("once the directory is there again: %v", err)
	}
	closed(t, l)
	if !strings.Contains(out.String(), "was taken away") {
		t.Errorf("the log does not say so:\n%s", out.String())
	}
}

// TestForeignEnd refuses to go on with what is no entry.
func TestForeignEnd(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "audit-00000000000000000001.jsonl"), []byte("something else\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := audit.Open(audit.Config{Dir: dir}, audit.Deps{}); err == nil || !strings.Contains(err.Error(), "is not an entry") {
		t.Error(err)
	}
}

// TestConcurrent appends from many sides at once, over files.
func TestConcurrent(t *testing.T) {
	dir := t.TempDir()
	var newest uint64
	l, err := audit.Open(audit.Config{Dir: dir, MaxFileBytes: 3000}, audit.Deps{Written: func(n uint64) {
		if n < newest {
			t.Errorf("the number of the newest entry fell from %d to %d", newest, n)
		}
		newest = n
	}})
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for i := range 50 {
				if err := l.Append(lookup(i)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	head := closed(t, l)
	got, err := verify.Dir(dir, verify.Options{Anchors: map[uint64]string{head.Count: head.Hash}})
	if err != nil || got.Last != 401 || newest != 401 {
		t.Errorf("%+v, %v, newest %d", got, err, newest)
	}
	info, err := os.Stat(logFiles(t, dir)[0])
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
}

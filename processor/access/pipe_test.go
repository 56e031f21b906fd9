//go:build unix

package access

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A pipe in the file's place is refused at once, also while it is followed: the tokens
// stay, and a file is taken up again.
func TestPipes(t *testing.T) {
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
		_, err := tokens.Identify("Bearer "+token, time.Now())
		return err == nil
	}
	reload := func() {
		t.Helper()
		done := make(chan struct{})
		go func() { tokens.Reload(); close(done) }()
		select {
		case <-done:
		case <-time.After(30 * time.Second):
			t.Fatal("the file is waited for")
		}
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	reload()
	reload()
	if n := strings.Count(log.String(), "is no regular file"); n != 1 || !known(first) {
		t.Errorf("told %d times, and the token is known: %v", n, known(first))
	}
	if err := Append(path, e2); err == nil {
		t.Error("a token was written to a pipe")
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	writeFile(t, path, e2.String())
	if reload(); known(first) || !known(second) {
		t.Error("a file in the pipe's place")
	}
}

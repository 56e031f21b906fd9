//go:build unix

package rules

import (
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// A named pipe in the rules directory is refused, not waited for.
func TestLoadRefusesNamedPipes(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mkfifo(filepath.Join(dir, "a.yaml"), 0o600); err != nil {
		t.Skip(err)
	}
	set, problems := LoadDir(dir)
	if set != nil || len(problems) == 0 || !strings.Contains(problems[0].Message, "not a regular file") {
		t.Errorf("%v", problems)
	}
}

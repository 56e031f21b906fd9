package clip_test

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/segmentd/segmentd/rules/clip"
)

func TestMessage(t *testing.T) {
	digits := strings.Repeat("7", 400_000)
	for _, tt := range []struct{ name, text, want string }{
		{"short", "'a' is unknown", "'a' is unknown"},
		{"a long word", "the number " + digits + " is too large", "the number " + digits[:60] + "…(399920 characters)…" + digits[:20] + " is too large"},
		{"many words", strings.Repeat("a ", 200), strings.Repeat("a ", 200)},
		{"of several bytes", strings.Repeat("ü", 300), strings.Repeat("ü", 300)},
		{"very many words", strings.Repeat("a ", 8000), strings.Repeat("a ", 4000) + "…"},
	} {
		if got := clip.Message(tt.text); got != tt.want {
			t.Errorf("%s: %q", tt.name, got)
		}
	}
}

func TestStart(t *testing.T) {
	long := strings.Repeat("ü", 20_000)
	for column, want := range map[int]int{1: 8000, 7600: 8000, 7601: 0} {
		if got := utf8.RuneCountInString(clip.Start(long, column)); got != want {
			t.Errorf("with column %d it has %d runes, want %d", column, got, want)
		}
	}
	if got := clip.Start("short", 1); got != "short" {
		t.Errorf("%q", got)
	}
}

func TestLineKeepsThePlace(t *testing.T) {
	long := strings.Repeat("ü", 1000) + "x" + strings.Repeat("ä", 1000)
	for _, column := range []int{1, 2, 200, 201, 202, 1001, 1800, 2001} {
		part, at := clip.Line(long, column)
		want, _ := utf8.DecodeRuneInString(string([]rune(long)[column-1:]))
		if got := []rune(part)[at-1]; got != want || utf8.RuneCountInString(part) > 402 {
			t.Errorf("column %d: %q at %d of %d runes", column, got, at, utf8.RuneCountInString(part))
		}
	}
	if part, at := clip.Line("short", 9); part != "short" || at != 9 {
		t.Errorf("%q %d", part, at)
	}
}

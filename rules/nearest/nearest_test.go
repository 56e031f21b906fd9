package nearest

import (
	"strings"
	"testing"
)

func TestTo(t *testing.T) {
	fields := []string{"key", "when", "retention", "description"}
	for _, c := range []struct {
		word string
		of   []string
		want string
	}{
		{"ordrs", []string{"orders", "odds"}, "orders"}, {"retentoin", fields, "retention"}, {"x", []string{"y"}, ""}, {"vip", []string{"vips"}, "vips"},
		{"EUR", []string{"traits", "name"}, ""}, {"WHEN", fields, "when"}, {"abc", nil, ""}, {"when", []string{"when"}, ""},
		{"größe", []string{"grösse", "größen"}, "größen"}, {strings.Repeat("a", 500), []string{strings.Repeat("a", 499)}, ""},
	} {
		if got := To(c.word, c.of); got != c.want {
			t.Errorf("To(%.20q) = %q, want %q", c.word, got, c.want)
		}
	}
}

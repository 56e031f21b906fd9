package canary

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

// What is told of anybody is found, wherever and however; what is not, is not.
func TestWhatIsToldIsFound(t *testing.T) {
	record := []byte(`{"type":"track", "userId" : "u1","anonymousId":"an \"odd\" one","messageId":"m-17","previousId":"other","properties":{"x":1}}{"userId":"12"}`)
	sum := sha256.Sum256([]byte(`an "odd" one`))
	for text, want := range map[string]int{
		"nothing of u11, xu1, m-170, 12 or other":                          0,
		"level=DEBUG msg=x subject=u1":                                     1,
		"GET /v1/subjects/u1?x=1: u|u1|buyer u1":                           1,
		"of u1's m-17":                                                     2,
		`an "odd" one`:                                                     1,
		hex.EncodeToString([]byte(`an "odd" one`)):                         1,
		"x" + base64.StdEncoding.EncodeToString([]byte("zan \"odd\" one")): 2, // of both alphabets
		hex.EncodeToString(sum[:]):                                         1,
		"what " + Mark + "ed it":                                           1,
	} {
		var w Watch
		w.KeepRecord(record)
		slog.New(slog.NewTextHandler(w.Writer("other"), nil)).Info("nothing")
		w.Hear("log", []byte(text[:len(text)/2]))
		fmt.Fprint(w.Writer("log"), text[len(text)/2:]+"\n")
		if told := w.Told(); len(told) != want || want > 0 && !strings.Contains(told[0], "log") {
			t.Errorf("%s: told %q, want %d", text, told, want)
		}
		if got := w.Over(runner(0)).Run(); (got != 0) != (want > 0) {
			t.Errorf("%s: the tests end with %d", text, got)
		}
	}
	var w Watch
	if got := w.Over(runner(3)).Run(); got != 3 {
		t.Errorf("tests that failed with 3 end with %d", got)
	}
}

type runner int

func (r runner) Run() int { return int(r) }

package canary

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"sync"
)

// Mark is what tests put into the payload of whatever event allows it: a value
// that no rule reads and nothing else has.
const Mark = "payload-Kx7Qm4Zt-canary"

// Watch holds whom the tests of a package have told processes of, and all that these
// said beside their answers: logs, pages of metrics, errors. Safe for concurrent use.
type Watch struct {
	mu      sync.Mutex
	secrets map[string]bool          // guarded by mu
	said    map[string]*bytes.Buffer // guarded by mu, by place
}

// identifiers are the fields of inputs that name a subject, or one of its events.
var identifiers = regexp.MustCompile(`"(?:userId|anonymousId|previousId|messageId)"\s*:\s*("(?:[^"\\]|\\.)*")`)

// Keep notes texts that must not be told.
func (w *Watch) Keep(texts ...string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.secrets == nil {
		w.secrets = map[string]bool{Mark: true}
	}
	for _, text := range texts {
		if text != "" {
			w.secrets[text] = true
		}
	}
}

// KeepRecord notes the ids in an input record, or in many.
func (w *Watch) KeepRecord(value []byte) {
	for _, m := range identifiers.FindAllSubmatch(value, -1) {
		var text string
		if json.Unmarshal(m[1], &text) == nil {
			w.Keep(text)
		}
	}
}

// Hear notes what was said at a place.
func (w *Watch) Hear(place string, text []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.said == nil {
		w.said = map[string]*bytes.Buffer{}
	}
	if w.said[place] == nil {
		w.said[place] = &bytes.Buffer{}
	}
	w.said[place].Write(text)
}

// Writer hears at a place what is written.
func (w *Watch) Writer(place string) io.Writer { return listener{w, place} }

type listener struct {
	w     *Watch
	place string
}

func (l listener) Write(p []byte) (int, error) {
	l.w.Hear(l.place, p)
	return len(p), nil
}

// Told is what was told of whom: all spellings of texts that are long enough to be
// told from others; shorter ones are looked for as words, if they have letters and
// digits: such as "other" and "7" say nothing.
func (w *Watch) Told() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.find(w.secrets)
}

// Tells is Told of other texts than those kept: of what must have been heard.
func (w *Watch) Tells(texts ...string) []string {
	of := map[string]bool{}
	for _, text := range texts {
		of[text] = true
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.find(of)
}

// Keeps reports whether a text was noted.
func (w *Watch) Keeps(text string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.secrets[text]
}

// find looks for texts in all that was said. w.mu is held.
func (w *Watch) find(secrets map[string]bool) (finds []string) {
	var long []Canary
	for text := range secrets {
		if len(text) >= recognisable {
			long = append(long, Text(text, text))
		}
	}
	for place, said := range w.said {
		for _, f := range ScanBytes(long, place, said.Bytes()) {
			finds = append(finds, f.String())
		}
		finds = append(finds, words(secrets, place, said.Bytes())...)
	}
	slices.Sort(finds)
	return slices.Compact(finds)
}

// recognisable is from how many bytes on a text is looked for within words.
const recognisable = 8

var (
	word    = regexp.MustCompile(`[\pL\pN_]+(?:[-.@][\pL\pN_]+)*`)
	telling = regexp.MustCompile(`\pL.*\pN|\pN.*\pL`)
)

// words finds secrets that are words of a text, each with the line where it is first.
func words(secrets map[string]bool, place string, said []byte) (finds []string) {
	found := map[string]bool{}
	for line := range bytes.Lines(said) {
		for _, at := range word.FindAll(line, -1) {
			if text := string(at); secrets[text] && telling.MatchString(text) && !found[text] {
				found[text] = true
				finds = append(finds, fmt.Sprintf("%s in %s: %.500s", text, place, bytes.TrimSpace(line)))
			}
		}
	}
	return finds
}

// Runner runs tests, as testing.M does.
type Runner interface{ Run() int }

// Over runs tests and fails them if anything was told in the end.
func (w *Watch) Over(tests Runner) Runner { return watched{w, tests} }

type watched struct {
	w     *Watch
	tests Runner
}

func (x watched) Run() int {
	status := x.tests.Run()
	finds := x.w.Told()
	for _, f := range finds {
		fmt.Fprintln(os.Stderr, "told:", f)
	}
	if len(finds) > 0 && status == 0 {
		status = 1
	}
	return status
}

// Package verify checks an audit log's hash chain as its files have it. It is
// written from the format alone (package audit has it) and shares no code with
// the writer, so that a fault there is not repeated here.
package verify

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"sort"
	"strconv"
	"strings"
)

// Options say what is known of the log from elsewhere. The zero value checks a
// log of which nothing was deleted.
type Options struct {
	First   uint64            // number of the first entry that must be there; 0: 1. Older files were deleted on purpose
	Anchors map[uint64]string // number → hash of entries that were published
}

// Result is what a log holds whose chain is whole.
type Result struct {
	Files       int
	First, Last uint64 // numbers of entries
	Hash        string // of the last entry
}

// Problem is the first thing that is wrong.
type Problem struct {
	File string // "": of the log as a whole
	Line int    // from 1
	Text string
}

// Error implements error.
func (p *Problem) Error() string {
	if p.File == "" {
		return p.Text
	}
	return fmt.Sprintf("%s:%d: %s", p.File, p.Line, p.Text)
}

const start = "0000000000000000000000000000000000000000000000000000000000000000"

var fileName = regexp.MustCompile(`^audit-([0-9]{20})\.jsonl$`)

// Dir checks the log in a directory. The error is a *Problem where the log is
// wrong, and another where it cannot be read.
func Dir(dir string, opts Options) (Result, error) {
	if opts.First == 0 {
		opts.First = 1
	}
	names, err := files(dir)
	if err != nil {
		return Result{}, err
	}
	c := &chain{opts: opts, next: opts.First, prev: start, beginning: true}
	for _, name := range names {
		if err := c.file(dir, name); err != nil {
			return Result{}, err
		}
	}
	last := c.next - 1
	for _, n := range numbers(opts.Anchors) {
		if n > last {
			return Result{}, &Problem{Text: fmt.Sprintf("entry %d was published and is missing: the log ends with entry %d", n, last)}
		}
	}
	return Result{Files: len(names), First: opts.First, Last: last, Hash: c.prev}, nil
}

// files lists the log's files by the number of their first entry.
func files(dir string) ([]string, error) {
	all, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, f := range all {
		if fileName.MatchString(f.Name()) {
			names = append(names, f.Name())
		}
	}
	if len(names) == 0 {
		return nil, &Problem{Text: "there is no audit log in " + dir}
	}
	sort.Strings(names)
	return names, nil
}

func numbers(anchors map[uint64]string) []uint64 {
	var all []uint64
	for n := range anchors {
		all = append(all, n)
	}
	sort.Slice(all, func(i, j int) bool { return all[i] < all[j] })
	return all
}

// chain is how far the check has come.
type chain struct {
	opts      Options
	next      uint64 // number of the entry that must follow
	prev      string // hash of the one before
	beginning bool   // nothing was seen yet
}

func (c *chain) file(dir, name string) error {
	f, err := os.Open(dir + string(os.PathSeparator) + name)
	if err != nil {
		return err
	}
	defer f.Close()
	r := bufio.NewReader(f)
	for n := 1; ; n++ {
		text, err := r.ReadString('\n')
		switch {
		case errors.Is(err, io.EOF) && text == "" && n > 1:
			return nil
		case errors.Is(err, io.EOF) && text == "":
			return &Problem{name, n, "the file is empty"}
		case errors.Is(err, io.EOF):
			return &Problem{name, n, "the line is not whole: a crash while it was written, if nothing follows; the next start of segmentd cuts it off"}
		case err != nil:
			return err
		}
		if n == 1 && named(name) != c.next {
			return &Problem{name, n, fmt.Sprintf("the file begins with entry %d by its name, entry %d must follow", named(name), c.next)}
		}
		if wrong := c.entry(strings.TrimSuffix(text, "\n")); wrong != "" {
			return &Problem{name, n, wrong}
		}
	}
}

func named(name string) uint64 {
	n, err := strconv.ParseUint(fileName.FindStringSubmatch(name)[1], 10, 64)
	if err != nil {
		return 0 // which never follows
	}
	return n
}

// entry takes one line; wrong says what is wrong with it.
func (c *chain) entry(text string) (wrong string) {
	body, hash, ok := split(text)
	if !ok {
		return "not an entry: it does not end with its hash"
	}
	sum := sha256.Sum256([]byte(body))
	if hex.EncodeToString(sum[:]) != hash {
		return "changed: the hash is not that of the line"
	}
	var e struct {
		Seq  uint64 `json:"seq"`
		Prev string `json:"prev"`
	}
	if err := json.Unmarshal([]byte(body+"}"), &e); err != nil {
		return "not an entry: not a JSON object"
	}
	switch {
	case e.Seq != c.next:
		return fmt.Sprintf("entry %d, entry %d must follow", e.Seq, c.next)
	case e.Prev != c.prev && !(c.beginning && c.opts.First > 1):
		return fmt.Sprintf("entry %d does not follow from the entry before it", e.Seq)
	}
	if want, anchored := c.opts.Anchors[e.Seq]; anchored && want != hash {
		return fmt.Sprintf("entry %d is not the one that was published: the log was written anew", e.Seq)
	}
	c.next, c.prev, c.beginning = e.Seq+1, hash, false
	return ""
}

// split takes the hash off the end of a line: {…,"hash":"64 digits"}.
func split(text string) (body, hash string, ok bool) {
	const before, after = `,"hash":"`, `"}`
	rest, ends := strings.CutSuffix(text, after)
	at := len(rest) - 2*sha256.Size
	if !ends || at < len(before) || rest[at-len(before):at] != before {
		return "", "", false
	}
	return rest[:at-len(before)], rest[at:], true
}

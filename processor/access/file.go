package access

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"syscall"
	"time"

	"gopkg.in/yaml.v3"
)

// maxFileBytes bounds what is read of a tokens file.
const maxFileBytes = 1 << 20

// Load reads a tokens file: a YAML list of {name, role, hash, expires}. The
// error joins all problems, each with file and line, and repeats no value. What
// is no regular file, or can be written to by every user of the machine, is refused.
func Load(path string) ([]Entry, error) {
	text, err := read(path)
	if err != nil {
		return nil, err
	}
	return Parse(path, text)
}

func read(path string) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0) // a FIFO that nobody writes to would be waited for, for good
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	switch {
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("%s is no regular file (mode %s): it is read again as it changes, which a pipe or a device cannot be", path, info.Mode())
	case runtime.GOOS != "windows" && info.Mode().Perm()&0o002 != 0:
		return nil, fmt.Errorf("every user of this machine can write to %s (mode %o), and so give themselves a token: chmod 600", path, info.Mode().Perm())
	}
	text, err := io.ReadAll(io.LimitReader(f, maxFileBytes+1))
	if err == nil && len(text) > maxFileBytes {
		err = fmt.Errorf("%s has more than %d bytes", path, maxFileBytes)
	}
	return text, err
}

// Parse reads the text of a tokens file; name is the file's, for errors. One without
// entries is an error: it would lock everybody out.
func Parse(name string, text []byte) ([]Entry, error) {
	var doc yaml.Node
	if err := yaml.Unmarshal(text, &doc); err != nil {
		return nil, fmt.Errorf("%s: not YAML: a list of {name, role, hash} is needed", name) // the parser's words may quote the file
	}
	p := parser{name: name, names: map[string]int{}, hashes: map[string]int{}}
	if len(doc.Content) > 0 {
		p.list(doc.Content[0])
	}
	if len(p.problems) > 0 {
		return nil, errors.Join(p.problems...)
	}
	if len(p.entries) == 0 {
		return nil, fmt.Errorf("%s has no token, so that nobody could ask: make one with 'segmentd token create --file'", name)
	}
	return p.entries, nil
}

type parser struct {
	name          string
	entries       []Entry
	names, hashes map[string]int // line
	problems      []error
}

func (p *parser) problem(line int, format string, args ...any) {
	p.problems = append(p.problems, fmt.Errorf("%s:%d: %s", p.name, line, fmt.Sprintf(format, args...)))
}

func (p *parser) list(root *yaml.Node) {
	if root.Kind == yaml.ScalarNode && root.Tag == "!!null" {
		return
	}
	if root.Kind != yaml.SequenceNode {
		p.problem(root.Line, "a list of {name, role, hash} is needed")
		return
	}
	for _, item := range root.Content {
		if item.Kind != yaml.MappingNode {
			p.problem(item.Line, "each token is a mapping {name, role, hash}")
			continue
		}
		p.entry(item)
	}
}

func (p *parser) entry(item *yaml.Node) {
	var e Entry
	bad := len(p.problems)
	given := map[string]bool{}
	for i := 0; i+1 < len(item.Content); i += 2 {
		key, value := item.Content[i], item.Content[i+1]
		if given[key.Value] || value.Kind != yaml.ScalarNode {
			p.problem(key.Line, "name, role, hash and expires are single values, each given once")
			return
		}
		given[key.Value] = true
		p.member(&e, key, strings.TrimSpace(value.Value))
	}
	if len(p.problems) > bad {
		return
	}
	if err := e.check(); err != nil {
		p.problem(item.Line, "%v", err)
		return
	}
	p.once(p.names, e.Name, item.Line, "name")
	p.once(p.hashes, e.Hash, item.Line, "hash")
	p.entries = append(p.entries, e)
}

func (p *parser) member(e *Entry, key *yaml.Node, value string) {
	switch key.Value {
	case "name":
		e.Name = value
	case "role":
		e.Role = Role(value)
	case "hash":
		e.Hash = value
	case "expires":
		at, err := time.Parse(time.RFC3339, value)
		if err != nil {
			p.problem(key.Line, "expires: an instant such as 2027-01-31T00:00:00Z is needed")
		}
		e.Expires = at
	default:
		p.problem(key.Line, "unknown member; known are name, role, hash and expires")
	}
}

func (p *parser) once(seen map[string]int, text string, line int, what string) {
	if first, twice := seen[text]; twice {
		p.problem(line, "the %s is that of line %d, too", what, first)
		return
	}
	seen[text] = line
}

// Append adds an entry to a tokens file, which it makes (mode 0600) where there
// is none. The file is left as it was where the result would not be one.
func Append(path string, e Entry) error {
	text, err := read(path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	line := []byte(e.String() + "\n")
	if len(text) > 0 && !bytes.HasSuffix(text, []byte("\n")) {
		line = append([]byte("\n"), line...)
	}
	if _, err := Parse(path, append(text, line...)); err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(line)
	return errors.Join(err, f.Sync(), f.Close())
}

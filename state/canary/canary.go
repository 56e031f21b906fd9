// Package canary looks for personal data in the files of a process: every spelling
// of a value that is known to have been there, in raw bytes. For tests only.
//
// A search that finds nothing says something only where it has found the same
// before, and finds what must still be there.
package canary

import (
	"bufio"
	"bytes"
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf16"
)

// Canary is a value that can be told from all others, and its spellings.
type Canary struct {
	Name  string
	forms []form
}

type form struct {
	name  string
	bytes []byte
}

// minBytes is the length below which a spelling may be there by chance.
const minBytes = 5

func (c *Canary) add(name string, b []byte) {
	if len(b) >= minBytes {
		c.forms = append(c.forms, form{name, b})
	}
}

// addBytes adds bytes as they are, and what texts make of them.
func (c *Canary) addBytes(name string, b []byte) {
	c.add(name, b)
	c.add(name+" hex", []byte(hex.EncodeToString(b)))
	c.add(name+" HEX", []byte(strings.ToUpper(hex.EncodeToString(b))))
	for shift := range 3 {
		for enc, e := range map[string]*base64.Encoding{"base64": base64.RawStdEncoding, "base64url": base64.RawURLEncoding} {
			c.add(fmt.Sprintf("%s %s+%d", name, enc, shift), inner(e, b, shift))
		}
	}
}

// inner is the part of the base64 of b that is the same whatever stands around it,
// where it begins at shift bytes behind a multiple of three.
func inner(e *base64.Encoding, b []byte, shift int) []byte {
	text := e.EncodeToString(append(make([]byte, shift), b...))
	first := (shift*8 + 5) / 6
	last := (shift + len(b)) * 8 / 6
	return []byte(text[first:last])
}

// Text is a text: in UTF-8 and UTF-16 of both orders, as hexadecimal digits and
// base64, and its MD5, SHA-1 and SHA-256.
func Text(name, text string) Canary {
	c := Canary{Name: name}
	c.addBytes("utf-8", []byte(text))
	units := utf16.Encode([]rune(text))
	var le, be []byte
	for _, u := range units {
		le, be = binary.LittleEndian.AppendUint16(le, u), binary.BigEndian.AppendUint16(be, u)
	}
	c.add("utf-16le", le)
	c.add("utf-16be", be)
	m, s, h := md5.Sum([]byte(text)), sha1.Sum([]byte(text)), sha256.Sum256([]byte(text))
	c.addBytes("md5", m[:])
	c.addBytes("sha1", s[:])
	c.addBytes("sha256", h[:])
	return c
}

// Bytes are bytes, such as a key: as they are, as hexadecimal digits and base64.
func Bytes(name string, b []byte) Canary {
	c := Canary{Name: name}
	c.addBytes("raw", b)
	return c
}

// Number is a number, best a large one: in digits, as a varint with and without
// sign, in eight bytes of both orders, and in those of a key that sorts.
func Number(name string, n int64) Canary {
	c := Canary{Name: name}
	c.add("digits", []byte(fmt.Sprint(n)))
	c.add("varint", binary.AppendVarint(nil, n))
	c.add("uvarint", binary.AppendUvarint(nil, uint64(n)))
	c.add("big-endian", binary.BigEndian.AppendUint64(nil, uint64(n)))
	c.add("little-endian", binary.LittleEndian.AppendUint64(nil, uint64(n)))
	c.add("sorting", binary.BigEndian.AppendUint64(nil, uint64(n)^1<<63))
	return c
}

// Find is a place where a canary is.
type Find struct {
	Canary, Form, File string
	Times              int
}

func (f Find) String() string {
	return fmt.Sprintf("%s as %s: %d times in %s", f.Canary, f.Form, f.Times, f.File)
}

// Scan searches directories, with all below them, and files that this process has
// open and that are deleted.
func Scan(canaries []Canary, dirs ...string) (finds []Find, err error) {
	return ScanProcess(self, canaries, dirs...)
}

// self is this process to /proc.
const self = "self"

// ScanBytes searches bytes that were read from a place of that name.
func ScanBytes(canaries []Canary, name string, b []byte) []Find {
	s := newSearch(canaries)
	s.record(name, b)
	return s.finds
}

// ScanProcess is Scan with the deleted files that another process has open: its
// number. Where files come or go meanwhile, as compactions move what they hold to where
// was looked already, it looks again, at most scans times.
func ScanProcess(process string, canaries []Canary, dirs ...string) (finds []Find, err error) {
	for range scans {
		var before, after []string
		if before, err = names(dirs); err != nil {
			return nil, err
		}
		if finds, err = scanOnce(process, canaries, dirs); err != nil {
			return nil, err
		}
		if after, err = names(dirs); err != nil || slices.Equal(before, after) {
			return finds, err
		}
	}
	return finds, nil
}

const scans = 5

// names lists the files below directories, in order.
func names(dirs []string) (all []string, err error) {
	for _, dir := range dirs {
		err := filepath.WalkDir(dir, func(name string, e fs.DirEntry, err error) error {
			if err == nil && e.Type().IsRegular() {
				all = append(all, name)
			}
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	return all, nil
}

func scanOnce(process string, canaries []Canary, dirs []string) (finds []Find, err error) {
	s := newSearch(canaries)
	for _, dir := range dirs {
		err := filepath.WalkDir(dir, func(name string, e fs.DirEntry, err error) error {
			if errors.Is(err, fs.ErrNotExist) { // deleted meanwhile
				return nil
			}
			if err != nil || !e.Type().IsRegular() {
				return err
			}
			return s.file(name, name)
		})
		if err != nil {
			return nil, err
		}
	}
	deleted, err := deletedOf(process)
	if err != nil {
		return nil, err
	}
	for _, f := range deleted {
		if err := s.file(f.Path, f.Name+" (deleted)"); err != nil {
			return nil, err
		}
	}
	return s.finds, nil
}

// search looks for all spellings of all canaries in one pass.
type search struct {
	canaries []Canary
	begin    []bool // by hash: a spelling begins with these bytes
	forms    map[uint32][]place
	finds    []Find
}

// place is a spelling, by its place among the canaries.
type place struct{ canary, form int }

const headBytes = 4 // of a spelling, by which it is looked up; at most minBytes

func hash(head uint32) uint32 { return head * 2654435761 >> 16 }

func newSearch(canaries []Canary) *search {
	s := &search{canaries: canaries, begin: make([]bool, 1<<16), forms: map[uint32][]place{}}
	for c := range canaries {
		for f := range canaries[c].forms {
			head := binary.LittleEndian.Uint32(canaries[c].forms[f].bytes)
			s.begin[hash(head)] = true
			s.forms[head] = append(s.forms[head], place{c, f})
		}
	}
	return s
}

func (s *search) file(path, name string) error {
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) && strings.Contains(path, mappings) {
		return nil // of a mapping only root may read what is behind it; Badger keeps its mapped files open, too
	}
	if err != nil {
		return err
	}
	s.record(name, b, []byte(filepath.Base(name)))
	return nil
}

// record notes what is found in texts of a place.
func (s *search) record(name string, texts ...[]byte) {
	found := map[place]int{}
	for _, b := range texts {
		s.bytes(b, found)
	}
	for c := range s.canaries {
		for f := range s.canaries[c].forms {
			if n := found[place{c, f}]; n > 0 {
				s.finds = append(s.finds, Find{s.canaries[c].Name, s.canaries[c].forms[f].name, name, n})
			}
		}
	}
}

var zeros [4096]byte

func (s *search) bytes(b []byte, found map[place]int) {
	for i := 0; i+headBytes <= len(b); i++ {
		if b[i] == 0 && i+len(zeros) <= len(b) && bytes.Equal(b[i:i+len(zeros)], zeros[:]) {
			i += len(zeros) - minBytes // files made for what is to come
			continue
		}
		head := binary.LittleEndian.Uint32(b[i:])
		if !s.begin[hash(head)] {
			continue
		}
		for _, p := range s.forms[head] {
			if bytes.HasPrefix(b[i:], s.canaries[p.canary].forms[p.form].bytes) {
				found[p]++
			}
		}
	}
}

// OpenFile is a file that is deleted and open: Path reads it.
type OpenFile struct{ Name, Path string }

// Deleted lists the files that this process has open, or mapped, and that have no
// name any more. Without /proc there are none to be told.
func Deleted() (files []OpenFile, err error) { return deletedOf(self) }

func deletedOf(process string) (files []OpenFile, err error) {
	dir := filepath.Join("/proc", process, "fd")
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		target, err := os.Readlink(path)
		if name, gone := strings.CutSuffix(target, " (deleted)"); err == nil && gone && filepath.IsAbs(name) {
			files = append(files, OpenFile{name, path})
		}
	}
	mapped, mapErr := deletedMappings(process)
	return append(files, mapped...), errors.Join(err, mapErr)
}

const mappings = "/map_files/"

func deletedMappings(process string) (files []OpenFile, err error) {
	f, err := os.Open(filepath.Join("/proc", process, "maps"))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		line, gone := strings.CutSuffix(lines.Text(), " (deleted)")
		at := strings.IndexByte(line, '/')
		if !gone || at < 0 {
			continue
		}
		files = append(files, OpenFile{line[at:], "/proc/" + process + mappings + strings.Fields(line)[0]})
	}
	return files, nil
}

// Names lists the canaries that were found, each once, in order.
func Names(finds []Find) (names []string) {
	for _, f := range finds {
		names = append(names, f.Canary)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

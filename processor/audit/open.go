package audit

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
)

// maxLineBytes is more than any line has.
const maxLineBytes = 64 << 10

// open finds the chain's end, of which it cuts off a torn line, or begins a chain.
func (l *Log) open() (cut int64, err error) {
	if err := os.MkdirAll(l.cfg.Dir, 0o700); err != nil {
		return 0, err
	}
	names, err := filepath.Glob(filepath.Join(l.cfg.Dir, "audit-*.jsonl"))
	if err != nil {
		return 0, err
	}
	for i := len(names) - 1; i >= 0; i-- { // by name is by number
		found, torn, err := l.resume(names[i])
		cut += torn
		if err != nil || found {
			return cut, err
		}
		// A crash left a file in which no line is whole: the end is in the one before.
		if err := os.Remove(names[i]); err != nil {
			return 0, err
		}
	}
	return cut, l.create()
}

// resume opens a file to append to; found is false where it has no whole line.
func (l *Log) resume(name string) (found bool, torn int64, err error) {
	file, err := os.OpenFile(name, os.O_RDWR|os.O_APPEND, 0o600)
	if err != nil {
		return false, 0, err
	}
	defer func() {
		if !found {
			_ = file.Close() // only read
		}
	}()
	last, size, end, err := lastLine(file)
	if err != nil || last == nil {
		return false, end, err
	}
	head, err := headOf(last)
	if err != nil {
		return false, 0, fmt.Errorf("%s: %w; check it with 'segmentd ledger verify', then move the directory away to begin anew", name, err)
	}
	if size < end {
		if err := file.Truncate(size); err != nil {
			return false, 0, err
		}
	}
	l.file, l.size, l.head = file, size, head
	return true, end - size, nil
}

// lastLine returns the last whole line (nil: there is none) and where it ends;
// end is where the file does.
func lastLine(file *os.File) (last []byte, size, end int64, err error) {
	info, err := file.Stat()
	if err != nil {
		return nil, 0, 0, err
	}
	end = info.Size()
	from := max(0, end-2*maxLineBytes)
	tail := make([]byte, end-from)
	if _, err := file.ReadAt(tail, from); err != nil && err != io.EOF {
		return nil, 0, 0, err
	}
	stop := bytes.LastIndexByte(tail, '\n')
	if stop < 0 {
		return nil, 0, end, nil
	}
	return tail[bytes.LastIndexByte(tail[:stop], '\n')+1 : stop], from + int64(stop) + 1, end, nil
}

var hashText = regexp.MustCompile(`^[0-9a-f]{64}$`)

func headOf(text []byte) (Head, error) {
	var last struct {
		Seq  uint64 `json:"seq"`
		Hash string `json:"hash"`
	}
	if err := json.Unmarshal(text, &last); err != nil || last.Seq == 0 || !hashText.MatchString(last.Hash) {
		return Head{}, fmt.Errorf("the last line is not an entry")
	}
	return Head{last.Seq, last.Hash}, nil
}

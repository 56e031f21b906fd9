package replay

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/klauspost/compress/zstd"

	"github.com/segmentd/segmentd/processor/wire"
	"github.com/segmentd/segmentd/state/subject"
)

// Source is one NDJSON input.
type Source struct {
	Name   string // for messages and causedBy
	Reader io.Reader
	Input  *Input // whose records it holds; nil: records of all kinds in segmentd's own shapes
}

// Open opens a file for replay: "-" is stdin, .gz and .zst are decompressed. The
// caller closes it.
func Open(path string, stdin io.Reader) (Source, io.Closer, error) {
	if path == "-" {
		return Source{Name: "-", Reader: stdin}, io.NopCloser(stdin), nil
	}
	f, err := os.Open(path)
	if err != nil {
		return Source{}, nil, err
	}
	switch {
	case strings.HasSuffix(path, ".gz"):
		z, err := gzip.NewReader(f)
		if err != nil {
			return Source{}, nil, errors.Join(fmt.Errorf("%s: %w", path, err), f.Close())
		}
		return Source{Name: path, Reader: z}, closers{z, f}, nil
	case strings.HasSuffix(path, ".zst"):
		z, err := zstd.NewReader(f)
		if err != nil {
			return Source{}, nil, errors.Join(fmt.Errorf("%s: %w", path, err), f.Close())
		}
		return Source{Name: path, Reader: z}, closers{z.IOReadCloser(), f}, nil
	}
	return Source{Name: path, Reader: f}, f, nil
}

type closers []io.Closer

func (c closers) Close() error {
	var errs []error
	for _, x := range c {
		errs = append(errs, x.Close())
	}
	return errors.Join(errs...)
}

// maxLineBytes bounds a line in memory; longer ones are skipped and reported.
const maxLineBytes = 64 << 20

// reader decodes a source line by line, once for each rule set. Its lanes are
// valid until next.
type reader struct {
	source        Source
	lines         *bufio.Reader
	line          int64
	lanes         []lane
	at            subject.Instant // when the line is applied; Never: no date
	content       wire.Content    // what it holds
	countsAsEvent bool            // the skipped line was none that says it is a decision or request
	doubted       bool            // a date was so early that the unit may be wrong
	long          []byte
}

func newReader(s Source, steppers []*Stepper) *reader {
	r := &reader{source: s, lines: bufio.NewReaderSize(s.Reader, 256<<10)}
	for _, stepper := range steppers {
		r.lanes = append(r.lanes, *stepper.newLane(s.Input))
	}
	return r
}

// next decodes the next line that is not empty. what says why it must be
// skipped; ok is false at the end.
func (r *reader) next() (what string, ok bool, err error) {
	for {
		text, err := r.readLine()
		if err == io.EOF {
			return "", false, nil
		}
		if err != nil {
			return "", false, fmt.Errorf("%s:%d: %w", r.source.Name, r.line, err)
		}
		if r.line == 1 {
			text = bytes.TrimPrefix(text, []byte("\xef\xbb\xbf"))
		}
		if text = bytes.TrimSpace(text); len(text) > 0 {
			return r.decode(text), true, nil
		}
	}
}

// decode reads the line for every rule set; what is the first one's reason to
// skip it if all have one. Where several can use it, its instant is the same for all.
func (r *reader) decode(text []byte) (what string) {
	r.at = subject.Never
	good := false
	for i := range r.lanes {
		l := &r.lanes[i]
		l.decode(text, subject.Position{Topic: r.source.Name, Offset: r.line}, subject.Never)
		if l.what == "" {
			good, r.at, r.content = true, min(r.at, l.at), l.item.Content
		}
	}
	if good {
		return ""
	}
	r.countsAsEvent = !r.lanes[0].saysItIsNoEvent(text)
	return r.lanes[0].what
}

// apply gives the line to every rule set that can use it.
func (r *reader) apply(ctx context.Context, steppers []*Stepper) error {
	for i := range r.lanes {
		if l := &r.lanes[i]; l.what == "" {
			if _, err := steppers[i].apply(ctx, &l.item, l.at); err != nil {
				return err
			}
		}
	}
	return nil
}

// before orders the heads of merged sources: by instant, of one instant requests
// first, then decisions. Undated ones come at once.
func (r *reader) before(o *reader) bool {
	a, b := r.at, o.at
	if a == subject.Never {
		a = subject.LongAgo
	}
	if b == subject.Never {
		b = subject.LongAgo
	}
	if a != b {
		return a < b
	}
	return r.content > o.content // see wire.Content
}

// readLine returns the next line without its end, valid until the next call.
func (r *reader) readLine() ([]byte, error) {
	r.line++
	text, err := r.lines.ReadSlice('\n')
	if err == nil {
		return text, nil
	}
	if err == io.EOF && len(text) > 0 {
		return text, nil
	}
	if !errors.Is(err, bufio.ErrBufferFull) {
		return nil, err
	}
	r.long = append(r.long[:0], text...)
	for errors.Is(err, bufio.ErrBufferFull) {
		text, err = r.lines.ReadSlice('\n')
		if len(r.long) < maxLineBytes {
			r.long = append(r.long, text...)
		}
	}
	if err != nil && err != io.EOF {
		return nil, err
	}
	return r.long, nil
}

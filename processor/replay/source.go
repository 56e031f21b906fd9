package replay

import (
	"bufio"
	"bytes"
	"compress/gzip"
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
}

// Open opens a file for replay: "-" is stdin, .gz and .zst are decompressed. The
// caller closes it.
func Open(path string, stdin io.Reader) (Source, io.Closer, error) {
	if path == "-" {
		return Source{"-", stdin}, io.NopCloser(stdin), nil
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
		return Source{path, z}, closers{z, f}, nil
	case strings.HasSuffix(path, ".zst"):
		z, err := zstd.NewReader(f)
		if err != nil {
			return Source{}, nil, errors.Join(fmt.Errorf("%s: %w", path, err), f.Close())
		}
		return Source{path, z}, closers{z.IOReadCloser(), f}, nil
	}
	return Source{path, f}, f, nil
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

// reader decodes a source line by line. Its item is valid until next.
type reader struct {
	source        Source
	lines         *bufio.Reader
	line          int64
	decoder       *wire.Decoder
	item          wire.Item
	at            subject.Instant // when the item is applied; Never: no date
	countsAsEvent bool            // the skipped line was none that says it is a decision or request
	long          []byte
}

func newReader(s Source, opts wire.DecoderOptions) *reader {
	return &reader{source: s, lines: bufio.NewReaderSize(s.Reader, 256<<10), decoder: wire.NewDecoder(opts)}
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

func (r *reader) decode(text []byte) (what string) {
	in := wire.Input{Value: text, Timestamp: subject.Never, Source: subject.Position{Topic: r.source.Name, Offset: r.line}}
	item, reject := r.decoder.Decode(wire.Mixed, in)
	if reject != nil {
		r.countsAsEvent = !bytes.Contains(text, []byte(`"decision"`)) && !bytes.Contains(text, []byte(`"request"`))
		return reject.String()
	}
	r.item, r.at = item, subject.Never
	switch item.Content {
	case wire.HasRequest:
		r.countsAsEvent = false
		return "requests of data subjects are not available in this version"
	case wire.HasEvent:
		r.at = item.Event.Time
	case wire.HasDecisions:
		for _, d := range item.Decisions {
			r.at = min(r.at, d.Effective())
		}
	}
	return ""
}

// before orders the heads of merged sources: by instant, decisions first.
// Undated decisions come at once.
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
	return r.item.Content != wire.HasEvent && o.item.Content == wire.HasEvent
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

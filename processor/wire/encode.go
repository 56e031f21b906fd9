package wire

import (
	"crypto/sha256"
	"encoding/hex"
	"net/url"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/segmentd/segmentd/processor/stream"
	"github.com/segmentd/segmentd/state/arena"
	"github.com/segmentd/segmentd/state/subject"
)

// OutputFormat says how changes are written.
type OutputFormat uint8

// The formats of changes.
const (
	FormatSegmentd OutputFormat = iota // segmentd's own
	FormatSegment                      // track calls that Segment's destinations read
)

var outputFormatNames = []string{"segmentd", "segment"}

// String is the format as the configuration writes it.
func (f OutputFormat) String() string { return outputFormatNames[f] }

// ParseOutputFormat reads the configuration's word for a format.
func ParseOutputFormat(s string) (OutputFormat, error) {
	i, err := oneOf(s, outputFormatNames)
	return OutputFormat(i), err
}

// EncoderOptions configure an Encoder.
type EncoderOptions struct {
	Group        string       // of consumers: part of every change's id and source
	Format       OutputFormat // of changes: segmentd
	CETypePrefix string       // of CloudEvents types: "segmentd" where empty
	RuleSet      string       // hash of the rule set that decides
}

// Encoder writes output records. Messages it returns share its memory: they
// are valid until Reset, which makes that memory free again. Not safe for
// concurrent use.
type Encoder struct {
	opts         EncoderOptions
	source       []byte
	types        [3][]byte         // of CloudEvents, by subject.ChangeKind
	computations map[string]string // audience ids by segment, for FormatSegment
	bytes        arena.Arena[byte]
	headers      arena.Arena[stream.Header]
	hashed       []byte
}

// defaultCETypePrefix is what CloudEvents types begin with.
const defaultCETypePrefix = "segmentd"

// NewEncoder returns an encoder.
func NewEncoder(opts EncoderOptions) *Encoder {
	if opts.CETypePrefix == "" {
		opts.CETypePrefix = defaultCETypePrefix
	}
	e := &Encoder{opts: opts, bytes: arena.New(bytePool), headers: arena.New(headerPool), source: []byte("/segmentd/" + url.PathEscape(opts.Group)), computations: map[string]string{}}
	for kind, suffix := range []string{".segment.entered", ".segment.exited", ".subject.erased"} {
		e.types[kind] = []byte(opts.CETypePrefix + suffix)
	}
	return e
}

// Reset takes back the memory of all messages returned so far.
func (e *Encoder) Reset() {
	e.bytes.Free()
	e.headers.Free()
}

// Place is where a message goes.
type Place struct {
	Topic     string
	Partition int32
	Timestamp subject.Instant // of publication
}

func (p Place) message() stream.Message {
	return stream.Message{Topic: p.Topic, Partition: p.Partition, Timestamp: p.Timestamp}
}

// changeIDBytes of a SHA-256 are a change's id.
const changeIDBytes = 16

// ChangeID is the id of a subject's change of that version: hex of the first 16
// bytes of SHA-256 over group, type of id, id and version in decimal, separated
// by zero bytes.
func ChangeID(group string, id subject.ID, version uint64) string {
	return string(appendChangeID(nil, changeText(nil, group, id, version)))
}

func changeText(b []byte, group string, id subject.ID, version uint64) []byte {
	b = append(append(b, group...), 0)
	b = append(append(b, id.Type.String()...), 0)
	b = append(append(b, id.Value...), 0)
	return strconv.AppendUint(b, version, 10)
}

func appendChangeID(b, text []byte) []byte {
	sum := sha256.Sum256(text)
	return hex.AppendEncode(b, sum[:changeIDBytes])
}

// The memory of messages is shared by all encoders.
var (
	bytePool   = arena.NewPool[byte](64 << 10)
	headerPool = arena.NewPool[stream.Header](1024)
)

// appendName appends `,"name":`, without the comma behind an opening brace.
func appendName(b []byte, name string) []byte {
	if b[len(b)-1] != '{' {
		b = append(b, ',')
	}
	b = append(b, '"')
	b = append(b, name...)
	return append(b, '"', ':')
}

// appendText appends a member with a text; name needs no escaping.
func appendText(b []byte, name, text string) []byte {
	return appendQuoted(appendName(b, name), text)
}

// appendQuoted appends a JSON string in canonical form (RFC 8785, 3.2.2.2).
// Bytes that are no UTF-8 become U+FFFD.
func appendQuoted(b []byte, text string) []byte {
	b, _ = jsontext.AppendQuote(b, text)
	return b
}

func appendUint(b []byte, name string, n uint64) []byte {
	return strconv.AppendUint(appendName(b, name), n, 10)
}

func appendInt(b []byte, name string, n int64) []byte {
	return strconv.AppendInt(appendName(b, name), n, 10)
}

func appendTime(b []byte, name string, t subject.Instant) []byte {
	b = append(appendName(b, name), '"')
	b, _ = t.AppendText(b)
	return append(b, '"')
}

var (
	jsonContent = []byte("application/json")
	ceVersion   = []byte("1.0")
)

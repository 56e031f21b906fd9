package wire

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/segmentd/segmentd/processor/wire/mapping"
	"github.com/segmentd/segmentd/processor/wire/scan"
	"github.com/segmentd/segmentd/rules"
	"github.com/segmentd/segmentd/state/subject"
)

// Defaults of DecoderOptions.
const (
	DefaultMaxRecordBytes = 1 << 20 // Kafka's own default bound of a batch (message.max.bytes)
	DefaultMaxFutureSkew  = 5 * time.Minute
	DefaultUnitSetting    = "timestamp_unit: " // in the configuration's block of the input
)

// InputFormat says which formats an event input may hold.
type InputFormat uint8

// The formats of inputs.
const (
	FormatAuto        InputFormat = iota // CloudEvents where a record says so, else Segment's JSON
	FormatJSON                           // Segment's JSON
	FormatCloudEvents                    // CloudEvents 1.0, structured or binary
)

var inputFormatNames = []string{"auto", "json", "cloudevents"}

// String is the format as the configuration writes it.
func (f InputFormat) String() string { return inputFormatNames[f] }

// ParseInputFormat reads the configuration's word for a format.
func ParseInputFormat(s string) (InputFormat, error) {
	i, err := oneOf(s, inputFormatNames)
	return InputFormat(i), err
}

// oneOf finds a configured word among the allowed ones.
func oneOf(word string, allowed []string) (int, error) {
	for i, a := range allowed {
		if a == word {
			return i, nil
		}
	}
	return 0, fmt.Errorf("%q is none of %s", word, strings.Join(allowed, ", "))
}

// DecoderOptions configure a Decoder for one input. The zero value of each is
// its default.
type DecoderOptions struct {
	Fields         rules.Fields  // what rules read; nothing else is decoded
	Names          []string      // event names that rules read: their memory is shared by all events
	Purposes       []string      // declared purposes: decisions on others are rejected
	Format         InputFormat   // of events: auto
	TimestampUnit  TimestampUnit // of all timestamps: RFC 3339
	UnitSetting    string        // what hints tell to set for another unit, up to its name: "timestamp_unit: "
	MaxFutureSkew  time.Duration // how far an event may lie ahead of its arrival: 5m
	MaxRecordBytes int           // larger values are rejected: 1 MiB
	AnyKey         bool          // do not compare the record's key with the subject's id
	// Map reads records of another shape; nil: records have ours. It belongs to
	// one kind of input, and Decode must be asked for that.
	Map *mapping.Mapping
}

// Decoder decodes input records. It reuses its memory, so it is not safe for
// concurrent use; one a goroutine and input.
type Decoder struct {
	opts       DecoderOptions
	properties *node // nil: no rule reads any
	context    *node
	traits     *node
	names      map[string]string
	purposes   map[string]string // lower case → declared

	source  bytes.Buffer
	json    *jsontext.Decoder
	env     envelope
	scratch []byte
	mapped  *mapped // nil: no Map

	event     subject.Event
	fields    []subject.Value // by slot
	updates   []subject.TraitUpdate
	denied    []string
	decisions []subject.Decision
	request   subject.Request
	belowMin  int
}

// NewDecoder returns a decoder for one input.
func NewDecoder(opts DecoderOptions) *Decoder {
	opts.MaxFutureSkew = cmp.Or(opts.MaxFutureSkew, DefaultMaxFutureSkew)
	opts.MaxRecordBytes = cmp.Or(opts.MaxRecordBytes, DefaultMaxRecordBytes)
	opts.UnitSetting = cmp.Or(opts.UnitSetting, DefaultUnitSetting)
	d := &Decoder{
		opts:       opts,
		properties: newRoot(opts.Fields.Properties, opts.Fields.Slots),
		context:    newRoot(opts.Fields.Context, opts.Fields.Slots),
		traits:     newRoot(opts.Fields.Traits, nil),
		names:      map[string]string{},
		purposes:   map[string]string{},
		fields:     make([]subject.Value, len(opts.Fields.Slots)),
	}
	for _, name := range append([]string{pageViewed, screenViewed}, opts.Names...) {
		d.names[name] = name
	}
	for _, p := range opts.Purposes {
		d.purposes[strings.ToLower(p)] = p
	}
	d.json = jsontext.NewDecoder(&d.source)
	if opts.Map != nil {
		d.mapped = newMapped(opts.Map, opts.TimestampUnit)
	}
	return d
}

// Decode decodes one record of an input of the given kind. It never keeps in's
// memory; what it returns is valid until the next call (see Item).
func (d *Decoder) Decode(kind Kind, in Input) (Item, *Reject) {
	d.belowMin = 0
	if d.mapped != nil {
		return d.decodeMapped(kind, in)
	}
	mode, rejected := d.ceMode(kind, in)
	switch {
	case rejected != nil:
		return Item{}, rejected
	case mode == ceBinary:
		return d.binaryCloudEvent(in)
	}
	if _, rejected = d.open(in); rejected != nil {
		return Item{}, rejected
	}
	switch kind {
	case Decisions:
		return d.fromDecisions(in)
	case Requests:
		return d.fromRequests(in)
	case Mixed:
		return d.fromMixed(in, mode)
	}
	return d.fromEvents(in, mode)
}

// body checks the value's size and strips a schema registry's prefix: a zero
// byte and the schema's number in four.
func (d *Decoder) body(in Input) ([]byte, *Reject) {
	if len(in.Value) == 0 {
		return nil, &Reject{Malformed, emptyRecord}
	}
	if len(in.Value) > d.opts.MaxRecordBytes {
		return nil, &Reject{TooLarge, fmt.Sprintf("%d bytes, at most %d are taken", len(in.Value), d.opts.MaxRecordBytes)}
	}
	if in.Value[0] == 0 && len(in.Value) >= registryPrefixBytes {
		return in.Value[registryPrefixBytes:], nil
	}
	return in.Value, nil
}

const (
	registryPrefixBytes = 5
	emptyRecord         = "empty record"
	noJSONSchema        = "behind a schema registry's prefix stands no JSON: of its formats only JSON Schema is read, not Avro or Protobuf"
)

// parse validates a record's value and returns it without the space around it.
func (d *Decoder) parse(in Input) ([]byte, *Reject) {
	body, rejected := d.body(in)
	if rejected != nil {
		return nil, rejected
	}
	value, err := d.validate(body)
	switch {
	case err == nil:
		return value, nil
	case len(body) < len(in.Value):
		return nil, &Reject{UnsupportedFormat, noJSONSchema}
	}
	return nil, syntaxReject(err)
}

// open parses a record, which must be an object, and fills the envelope.
func (d *Decoder) open(in Input) (object []byte, rejected *Reject) {
	object, rejected = d.parse(in)
	if rejected != nil {
		return nil, rejected
	}
	if object[0] != '{' {
		return nil, &Reject{Malformed, "the record is " + scan.KindOf(object) + ", not an object"}
	}
	d.scratch = d.env.scan(object, d.scratch)
	return object, nil
}

var errTrailing = errors.New("trailing data")

// validate checks that body is exactly one JSON value, with unique names and
// valid UTF-8 at every depth, and returns it without the space around it.
func (d *Decoder) validate(body []byte) ([]byte, error) {
	d.source = *bytes.NewBuffer(body)
	d.json.Reset(&d.source)
	value, err := d.json.ReadValue()
	if err != nil {
		return nil, err
	}
	rest := bytes.TrimLeft(d.json.UnreadBuffer(), " \t\r\n")
	if len(rest) > 0 {
		return nil, &jsontext.SyntacticError{ByteOffset: int64(len(body) - len(rest)), Err: errTrailing}
	}
	return value, nil
}

// syntaxReject says what is wrong with JSON and where, in words of its own:
// the library's messages quote the input.
func syntaxReject(err error) *Reject {
	if err == io.EOF {
		return &Reject{Malformed, emptyRecord}
	}
	var syntax *jsontext.SyntacticError
	what, at := "not valid JSON", 0
	if errors.As(err, &syntax) {
		at = int(syntax.ByteOffset)
	}
	switch {
	case errors.Is(err, jsontext.ErrDuplicateName):
		what = "duplicate name"
	case errors.Is(err, errTrailing):
		what = "more than one JSON value"
	case errors.Is(err, io.ErrUnexpectedEOF):
		what = "JSON that ends early"
	case syntax != nil && syntax.Err != nil && syntax.Err.Error() == "invalid UTF-8":
		what = "invalid UTF-8"
	case syntax != nil && syntax.Err != nil && syntax.Err.Error() == "exceeded max depth":
		what = "nested too deeply"
	}
	return &Reject{Malformed, what + " at byte " + strconv.Itoa(at)}
}

// text returns the text of a string member, valid until the scratch memory is
// used again; nil where it is missing, null or empty.
func (d *Decoder) text(f field) ([]byte, *Reject) {
	raw := d.env[f]
	if raw == nil {
		return nil, nil
	}
	if raw[0] != '"' {
		return nil, wrongKind(f.String(), raw, "a string")
	}
	b := d.unquote(raw)
	if len(b) == 0 {
		return nil, nil
	}
	return b, nil
}

func (d *Decoder) unquote(quoted []byte) (text []byte) {
	text, d.scratch = scan.Unquote(quoted, d.scratch)
	return text
}

// object returns a member that must be an object where it is present.
func (d *Decoder) object(f field) ([]byte, *Reject) {
	raw := d.env[f]
	if raw != nil && raw[0] != '{' {
		return nil, wrongKind(f.String(), raw, "an object")
	}
	return raw, nil
}

func wrongKind(path string, raw []byte, want string) *Reject {
	return &Reject{Malformed, path + " is " + scan.KindOf(raw) + ", not " + want}
}

// subject reads whom the record is about and compares it with the record's key.
func (d *Decoder) subject(in Input) (subject.ID, *Reject) {
	id, rejected := d.id(fieldUserID, subject.UserID)
	if rejected == nil && id.IsZero() {
		id, rejected = d.id(fieldAnonymousID, subject.AnonymousID)
	}
	if rejected != nil {
		return subject.ID{}, rejected
	}
	if id.IsZero() {
		return id, &Reject{NoSubject, "neither userId nor anonymousId"}
	}
	return id, d.checkKey(in, id.Value, id.Type.String())
}

func (d *Decoder) checkKey(in Input, id, name string) *Reject {
	if in.Key == nil || d.opts.AnyKey || string(in.Key) == id {
		return nil
	}
	return &Reject{KeyMismatch, "the record's key is not its " + name}
}

func (d *Decoder) id(f field, typ subject.IDType) (subject.ID, *Reject) {
	b, rejected := d.text(f)
	if b == nil || rejected != nil {
		return subject.ID{}, rejected
	}
	if rejected = checkID(b, f.String()); rejected != nil {
		return subject.ID{}, rejected
	}
	return subject.ID{Type: typ, Value: string(b)}, nil
}

// checkID says why text may not be a subject's id, as subject.ValidID decides.
func checkID(text []byte, name string) *Reject {
	if len(text) > subject.MaxIDBytes {
		return &Reject{NoSubject, name + " is longer than " + strconv.Itoa(subject.MaxIDBytes) + " bytes"}
	}
	if !utf8.Valid(text) {
		return &Reject{NoSubject, name + " is not valid UTF-8"}
	}
	for i := 0; i < len(text); {
		r, size := utf8.DecodeRune(text[i:])
		if r < 0x20 || r >= 0x7f && r <= 0x9f {
			return &Reject{NoSubject, name + " has a control character"}
		}
		i += size
	}
	return nil
}

package wire

import (
	"crypto/sha256"
	"encoding/binary"
	"unicode/utf8"

	"github.com/segmentd/segmentd/processor/wire/scan"
	"github.com/segmentd/segmentd/state/subject"
)

// Names that page and screen calls go by in rules.
const (
	pageViewed   = "Page Viewed"
	screenViewed = "Screen Viewed"
)

// recordType is what a record's type member says.
type recordType uint8

const (
	typeMissing recordType = iota
	typeTrack
	typeIdentify
	typePage
	typeScreen
	typeAlias
	typeGroup
	typeDecision
	typeRequest
	typeImport
	typeUnknown
)

// recordType reads the type member.
func (d *Decoder) recordType() (recordType, *Reject) {
	b, rejected := d.text(fieldType)
	if rejected != nil {
		return typeUnknown, rejected
	}
	switch string(b) {
	case "":
		return typeMissing, nil
	case "track":
		return typeTrack, nil
	case "identify":
		return typeIdentify, nil
	case "page":
		return typePage, nil
	case "screen":
		return typeScreen, nil
	case "alias":
		return typeAlias, nil
	case "group":
		return typeGroup, nil
	case "decision":
		return typeDecision, nil
	case "request":
		return typeRequest, nil
	case "import":
		return typeImport, nil
	}
	return typeUnknown, nil
}

// unsupported rejects a type that an input of the given name does not take.
func unsupported(t recordType, input string) *Reject {
	switch t {
	case typeMissing:
		return &Reject{Malformed, "type is missing"}
	case typeAlias:
		return &Reject{UnsupportedType, "an alias call"}
	case typeGroup:
		return &Reject{UnsupportedType, "a group call"}
	case typeDecision:
		return &Reject{UnsupportedType, "a decision on " + input + askKind}
	case typeRequest, typeImport:
		return &Reject{UnsupportedType, "a request on " + input + askKind}
	case typeUnknown:
		return &Reject{UnsupportedType, "type is none that is known"}
	}
	return &Reject{UnsupportedType, "an event on " + input + askKind}
}

// askKind asks for the setting that is wrong where all records are refused so.
const askKind = ": is the input's kind right?"

func (d *Decoder) fromEvents(in Input, mode ceMode) (Item, *Reject) {
	isCloudEvent, rejected := d.isCloudEvent(mode)
	switch {
	case rejected != nil:
		return Item{}, rejected
	case isCloudEvent:
		return d.cloudEvent(in)
	}
	t, rejected := d.recordType()
	if rejected != nil {
		return Item{}, rejected
	}
	return d.fromType(in, t)
}

// fromType decodes one of Segment's calls.
func (d *Decoder) fromType(in Input, t recordType) (Item, *Reject) {
	if t < typeTrack || t > typeScreen {
		return Item{}, unsupported(t, "an event topic")
	}
	rejected := d.begin(in)
	if rejected != nil {
		return Item{}, rejected
	}
	if t == typeIdentify {
		rejected = d.identify()
	} else {
		rejected = d.behaviour(t)
	}
	if rejected != nil {
		return Item{}, rejected
	}
	return d.eventItem(), nil
}

// begin reads what all of Segment's calls have in common.
func (d *Decoder) begin(in Input) *Reject {
	id, rejected := d.subject(in)
	if rejected != nil {
		return rejected
	}
	at, rejected := d.eventTime(in, fieldTimestamp, fieldOriginalTimestamp)
	if rejected != nil {
		return rejected
	}
	d.reset(in, id, at)
	message, rejected := d.text(fieldMessageID)
	if rejected != nil {
		return rejected
	}
	d.setMessage(message)
	return nil
}

// reset prepares the event's memory.
func (d *Decoder) reset(in Input, id subject.ID, at subject.Instant) {
	clear(d.fields)
	d.updates, d.denied = d.updates[:0], d.denied[:0]
	d.event = subject.Event{Subject: id, Time: at, Arrival: arrival(in), Source: in.Source, Fields: d.fields}
}

func (d *Decoder) eventItem() Item {
	if d.event.Identify {
		d.event.Traits = d.updates
	}
	d.event.Denied = d.denied
	return Item{Content: HasEvent, Subject: d.event.Subject, Event: &d.event, BelowMin: d.belowMin}
}

// setMessage keeps a message id. The hash is of all of it; what is kept for
// causedBy is at most MaxIDBytes, whole characters.
func (d *Decoder) setMessage(id []byte) {
	if len(id) == 0 {
		return
	}
	d.event.Message = MessageHash(id)
	if len(id) > subject.MaxIDBytes {
		end := subject.MaxIDBytes
		for !utf8.RuneStart(id[end]) {
			end--
		}
		id = id[:end]
	}
	d.event.MessageID = string(id)
}

// MessageHash is what is remembered of a message id: the first 8 bytes of its
// SHA-256, big endian, with 1 in place of 0.
func MessageHash(id []byte) uint64 {
	sum := sha256.Sum256(id)
	return max(binary.BigEndian.Uint64(sum[:8]), 1)
}

func (d *Decoder) identify() *Reject {
	traits, rejected := d.object(fieldTraits)
	if rejected != nil {
		return rejected
	}
	if rejected = d.readContext(nil); rejected != nil {
		return rejected
	}
	d.event.Identify = true
	d.readTraits(traits)
	return nil
}

// behaviour reads a track, page or screen call.
func (d *Decoder) behaviour(t recordType) *Reject {
	switch t {
	case typePage:
		d.event.Name = pageViewed
	case typeScreen:
		d.event.Name = screenViewed
	default:
		name, rejected := d.text(fieldEvent)
		if rejected != nil {
			return rejected
		}
		if name == nil {
			return &Reject{Malformed, "event is missing"}
		}
		d.event.Name = d.shared(name)
	}
	properties, rejected := d.object(fieldProperties)
	if rejected != nil {
		return rejected
	}
	d.readProperties(properties, t)
	return d.readContext(d.context)
}

// shared returns the text in memory shared by all events where rules know it.
func (d *Decoder) shared(text []byte) string {
	if s, ok := d.names[string(text)]; ok {
		return s
	}
	return string(text)
}

func (d *Decoder) readProperties(raw []byte, t recordType) {
	if d.properties == nil {
		return
	}
	if raw != nil {
		d.fill(d.properties, raw)
	}
	if t == typePage || t == typeScreen {
		d.inherit(raw, fieldName)
		d.inherit(raw, fieldCategory)
	}
}

// inherit takes a property of a page or screen from the call itself where the
// properties lack it.
func (d *Decoder) inherit(properties []byte, f field) {
	n := d.properties.child([]byte(f.String()))
	if n == nil || d.env[f] == nil {
		return
	}
	if properties != nil && d.has(properties, f.String()) {
		return
	}
	d.fill(n, d.env[f])
}

// has reports whether an object has a member of that name that is not null.
func (d *Decoder) has(object []byte, name string) bool {
	for m := scan.MembersOf(object); ; {
		quoted, value, ok := m.Next()
		if !ok {
			return false
		}
		if string(d.unquote(quoted)) == name {
			return value[0] != 'n'
		}
	}
}

// readContext fills the fields below n, which may be nil, and collects what the
// event's own consent denies.
func (d *Decoder) readContext(n *node) *Reject {
	raw, rejected := d.object(fieldContext)
	if raw == nil || rejected != nil {
		return rejected
	}
	for m := scan.MembersOf(raw); ; {
		quoted, value, ok := m.Next()
		if !ok {
			return nil
		}
		name := d.unquote(quoted)
		c := n.child(name)
		switch string(name) {
		case "consent":
			rejected = d.categories(value)
		case "consentManagement":
			rejected = d.deniedIDs(value)
		}
		if rejected != nil {
			return rejected
		}
		if c != nil {
			d.fill(c, value)
		}
	}
}

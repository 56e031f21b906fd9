// Package wire is segmentd's formats as other systems see them: it decodes
// events, decisions and requests (Segment's JSON, CloudEvents) and encodes
// changes, members, rejected records and request results. It is pure: no I/O,
// no clock, the same bytes in give the same bytes out. No detail, error or
// schema of it ever holds a payload value or a subject's id.
package wire

import (
	"github.com/segmentd/segmentd/processor/stream"
	"github.com/segmentd/segmentd/state/subject"
)

// Kind is the kind of records an input is configured to hold.
type Kind uint8

// The kinds of inputs.
const (
	Events    Kind = iota // track, identify, page, screen; CloudEvents
	Decisions             // decision, and Segment's consent call
	Requests              // request
	Mixed                 // all three, as in files for replay
)

var kindNames = [...]string{"event", "decision", "request", "mixed"}

// String is the kind as the configuration writes it.
func (k Kind) String() string { return kindNames[k] }

// Reason says why a record was rejected: a closed set.
type Reason uint8

// The reasons of a reject. WrongPartition is given by callers only; the decoder
// knows no partitions.
const (
	Malformed Reason = iota
	NoSubject
	KeyMismatch
	WrongPartition
	BadTimestamp
	Future
	TooLarge
	UnknownPurpose
	UnsupportedType
	UnsupportedFormat
	BadMapping
	// Reasons is their number.
	Reasons
)

var rejectNames = [Reasons]string{"malformed", "no_subject", "key_mismatch", "wrong_partition", "bad_timestamp", "future",
	"too_large", "unknown_purpose", "unsupported_type", "unsupported_format", "bad_mapping"}

// String is the reason as rejected records and metrics write it.
func (r Reason) String() string { return rejectNames[r] }

// Reject says why a record was not taken. Detail is plain words with names of
// fields, kinds of values and byte offsets; never a value of the record.
type Reject struct {
	Reason Reason
	Detail string
}

// String is "reason: detail".
func (r *Reject) String() string { return r.Reason.String() + ": " + r.Detail }

// Input is one record to decode.
type Input struct {
	Key       []byte          // nil: none
	Value     []byte          // nil: a tombstone
	Headers   []stream.Header // CloudEvents attributes and content types are looked for here
	Timestamp subject.Instant // arrival: the record's own timestamp; Never where unknown (files)
	Source    subject.Position
}

// Content says which part of an Item is set.
type Content uint8

// The contents of items.
const (
	HasEvent Content = iota
	HasDecisions
	HasRequest
)

// Item is one decoded record. Event, Decisions and Request point to memory of
// the decoder and are valid until its next Decode; the strings and values in
// them are copies that may be kept.
type Item struct {
	Content   Content
	Subject   subject.ID
	Event     *subject.Event
	Decisions []subject.Decision // may be empty: a consent call that names no declared purpose
	Request   *subject.Request
	// Misunderstood is set if Decisions are refusals only because the record,
	// though it parses, could not be understood, or if Request stops something
	// although something else about it is wrong: what that is, in the words of
	// a Reject's detail. Count it and raise an alarm.
	Misunderstood string
	// BelowMin counts numbers below their field's declared minimum, which were
	// taken as missing.
	BelowMin int
}

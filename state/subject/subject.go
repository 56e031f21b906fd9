package subject

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// IDType tells a known user from an anonymous visitor. The two are different
// subjects even where the ids are equal.
type IDType uint8

// The types of ids.
const (
	UserID IDType = iota
	AnonymousID
)

// String is the field name the type has in input and output records.
func (t IDType) String() string {
	if t == AnonymousID {
		return "anonymousId"
	}
	return "userId"
}

// MaxIDBytes bounds a subject's id and every other id of an input record.
const MaxIDBytes = 512

// ID identifies a data subject. It is personal data: it must not appear in a
// log line, a metric label or an error text.
type ID struct {
	Type  IDType
	Value string
}

// IsZero reports whether no subject is named.
func (id ID) IsZero() bool { return id.Value == "" }

// MemberKeyPrefix is the key prefix of the subject's rows on the members topic: "u|<id>|" or "a|<id>|".
func (id ID) MemberKeyPrefix() string {
	if id.Type == AnonymousID {
		return "a|" + id.Value + "|"
	}
	return "u|" + id.Value + "|"
}

// ValidID reports whether s may be an id: 1 to MaxIDBytes bytes of UTF-8
// without control characters.
func ValidID(s string) bool {
	return s != "" && len(s) <= MaxIDBytes && utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool { return r < 0x20 || r >= 0x7f && r <= 0x9f })
}

// Position names a record in its source: a Kafka topic partition, or a file
// (topic: its name, offset: the line).
type Position struct {
	Topic     string
	Partition int32
	Offset    int64
}

// String writes topic:partition:offset.
func (p Position) String() string {
	return p.Topic + ":" + strconv.Itoa(int(p.Partition)) + ":" + strconv.FormatInt(p.Offset, 10)
}

// Event is one decoded behaviour record of a subject (track, page, screen) or a
// trait update (identify), holding only what some rule reads.
type Event struct {
	Subject   ID
	Identify  bool   // traits, no behaviour
	Name      string // of behaviour: the event's own, "Page Viewed" or "Screen Viewed"
	MessageID string // "" where the producer gave none
	Message   uint64 // its hash (never 0 where MessageID is given); 0: none
	Time      Instant
	Arrival   Instant // the broker's timestamp; Never where unknown (files)
	Source    Position
	Fields    []Value // by slot of rules.Fields; valid until the decoder's next record
	Traits    []TraitUpdate
	Denied    []string // purposes or categories the event's own consent context denies, lower case
}

// Cause names the event in the changes it causes: its messageId, else its
// position as topic:partition:offset.
func (e *Event) Cause() string {
	if e.MessageID != "" {
		return e.MessageID
	}
	return e.Source.String()
}

// TraitUpdate is one top-level trait of an identify call, cut down to the
// paths rules read; null removes it.
type TraitUpdate struct {
	Key   string
	Value Value
}

// Status is what a decision says about a purpose.
type Status uint8

// The statuses of a decision. All but Given are stops.
const (
	NoDecision Status = iota
	Given
	Refused
	Withdrawn
	Objected
	// Forgotten is the stop of all purposes that an erasure is; no decision says it.
	Forgotten
)

// String is the status as decisions and metrics write it.
func (s Status) String() string {
	return [...]string{"no_decision", "given", "refused", "withdrawn", "objected", "erased"}[s]
}

// Stops reports whether the status ends what a purpose may do.
func (s Status) Stops() bool { return s > Given }

// Decision is what a subject said about one purpose.
type Decision struct {
	Subject ID
	Purpose string // "" names all purposes (a decision that cannot be understood)
	Status  Status
	Time    Instant // its own timestamp; Never where it could not be read
	Arrival Instant // the broker's timestamp; Never where unknown (files)
	// Explicit is the higher grade of consent that special categories need (GDPR art. 9(2)(a)).
	Explicit bool
	Expires  Instant // Never: it does not expire by itself
	Source   Position

	// What proves it (GDPR article 7(1)); "" where it does not say.
	NoticeVersion, Method, RecordID string
}

// Effective is the instant that orders decisions: the earlier of timestamp and arrival.
func (d Decision) Effective() Instant { return min(d.Time, d.Arrival) }

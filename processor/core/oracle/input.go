package oracle

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/segmentd/segmentd/state/subject"
)

// record is one line of input.
type record struct {
	id       subject.ID
	at       subject.Instant
	event    *event    // of behaviour and identify
	decision *decision // of decisions
	request  *request  // of the subject's requests
}

// event is a track, page, screen or identify call.
type event struct {
	id         string
	name       string // of behaviour; "" of identify
	at         subject.Instant
	order      int // of arrival
	properties map[string]any
	context    map[string]any
	traits     map[string]any // of identify
	right      bool           // what a rectification says
	denied     map[string]bool
	memo       []*memo
}

// memo remembers the value an expression has for an event.
type memo struct{ value any }

type decision struct {
	purpose  *purpose
	status   string
	explicit bool
	key      subject.Instant
	expires  subject.Instant
}

var errRecord = errors.New("not a record of the input formats")

const maxLineBytes = 16 << 20

// part is what selecting a name from an event gives.
func (e *event) part(name string) any {
	switch name {
	case "properties":
		return e.properties
	case "context":
		return e.context
	case "name":
		return e.name
	case "timestamp":
		return e.at
	}
	return nil
}

// readInputs reads all records in the order in which replay takes them.
func readInputs(set *ruleSet, inputs []io.Reader) ([]record, error) {
	queues := make([][]record, len(inputs))
	for i, in := range inputs {
		var err error
		if queues[i], err = set.readFile(in); err != nil {
			return nil, fmt.Errorf("input %d: %w", i+1, err)
		}
	}
	records := mergeQueues(queues)
	for i := range records {
		if records[i].event != nil {
			records[i].event.order = i
		}
	}
	return records, nil
}

// mergeQueues always takes the head with the smallest timestamp, a request before
// a decision and this before an event, of the earlier file.
func mergeQueues(queues [][]record) []record {
	var all []record
	for {
		best := -1
		for i, q := range queues {
			if len(q) > 0 && (best < 0 || q[0].earlier(queues[best][0])) {
				best = i
			}
		}
		if best < 0 {
			return all
		}
		all = append(all, queues[best][0])
		queues[best] = queues[best][1:]
	}
}

func (r record) earlier(s record) bool {
	if r.at != s.at {
		return r.at < s.at
	}
	return r.rank() < s.rank()
}

func (r record) rank() int {
	switch {
	case r.request != nil:
		return 0
	case r.decision != nil:
		return 1
	}
	return 2
}

func (set *ruleSet) readFile(in io.Reader) (all []record, err error) {
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, maxLineBytes)
	for n := 1; lines.Scan(); n++ {
		text := strings.TrimSpace(lines.Text())
		if text == "" {
			continue
		}
		r, used, err := set.readRecord(text)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
		if used {
			all = append(all, r)
		}
	}
	return all, lines.Err()
}

// readRecord reads one line; used is false where replay would reject it
// without effect (an unsupported type, an unknown purpose).
func (set *ruleSet) readRecord(line string) (r record, used bool, err error) {
	d := json.NewDecoder(strings.NewReader(line))
	d.UseNumber()
	var raw map[string]any
	if err := d.Decode(&raw); err != nil {
		return record{}, false, errRecord
	}
	m := fromJSON(raw).(map[string]any)
	if r.id = subjectOf(m); r.id.IsZero() {
		return record{}, false, fmt.Errorf("no subject: %w", errRecord)
	}
	if r.at, err = chronology(m); err != nil {
		return record{}, false, err
	}
	switch m["type"] {
	case "track", "page", "screen", "identify":
		r.event, err = set.readEvent(m, r.at)
	case "decision":
		r.decision, err = set.readDecision(m, r.at)
	case "request":
		r.request = readRequest(m, r.at)
	}
	return r, r.event != nil || r.decision != nil || r.request != nil, err
}

// fromJSON turns decoded JSON into values.
func fromJSON(v any) any {
	switch x := v.(type) {
	case json.Number:
		return parseNumber(string(x))
	case []any:
		for i := range x {
			x[i] = fromJSON(x[i])
		}
	case map[string]any:
		for k := range x {
			x[k] = fromJSON(x[k])
		}
	}
	return v
}

func subjectOf(m map[string]any) subject.ID {
	if id, _ := m["userId"].(string); id != "" {
		return subject.ID{Type: subject.UserID, Value: id}
	}
	id, _ := m["anonymousId"].(string)
	return subject.ID{Type: subject.AnonymousID, Value: id}
}

func chronology(m map[string]any) (subject.Instant, error) {
	for _, field := range []string{"timestamp", "originalTimestamp"} {
		if text, ok := m[field].(string); ok {
			if t, ok := parseInstant(text); ok {
				return t, nil
			}
		}
	}
	return 0, fmt.Errorf("no timestamp: %w", errRecord)
}

func (set *ruleSet) readEvent(m map[string]any, at subject.Instant) (*event, error) {
	e := &event{at: at}
	e.id, _ = m["messageId"].(string)
	e.properties, _ = m["properties"].(map[string]any)
	e.context, _ = m["context"].(map[string]any)
	e.denied = denied(e.context)
	switch m["type"] {
	case "identify":
		e.traits, _ = m["traits"].(map[string]any)
	case "page":
		e.view("Page Viewed", m)
	case "screen":
		e.view("Screen Viewed", m)
	default:
		if e.name, _ = m["event"].(string); e.name == "" {
			return nil, fmt.Errorf("no event name: %w", errRecord)
		}
		if e.name == "Segment Consent Preference Updated" {
			return nil, fmt.Errorf("%s: %w", e.name, ErrNotAvailable)
		}
	}
	for _, low := range set.minima {
		low.strike("properties", e.properties)
		low.strike("context", e.context)
	}
	return e, nil
}

// view names a page or screen call and gives it its name and category as properties.
func (e *event) view(name string, m map[string]any) {
	e.name = name
	for _, key := range []string{"name", "category"} {
		if v, ok := m[key]; ok && v != nil {
			if e.properties == nil {
				e.properties = map[string]any{}
			}
			e.properties[key] = v
		}
	}
}

// denied are the purposes an event's own consent context excludes, lower case.
func denied(context map[string]any) map[string]bool {
	names := map[string]bool{}
	preferences, _ := member(member(context, "consent"), "categoryPreferences").(map[string]any)
	for name, allowed := range preferences {
		if allowed == false {
			names[strings.ToLower(name)] = true
		}
	}
	ids, _ := member(member(context, "consentManagement"), "deniedConsentIds").([]any)
	for _, id := range ids {
		if name, ok := id.(string); ok {
			names[strings.ToLower(name)] = true
		}
	}
	return names
}

func (set *ruleSet) readDecision(m map[string]any, at subject.Instant) (*decision, error) {
	key, _ := m["purpose"].(string)
	d := &decision{purpose: set.purpose(key), key: at, expires: subject.Never}
	if d.purpose == nil {
		return nil, nil
	}
	d.status, _ = m["status"].(string)
	d.explicit, _ = m["explicit"].(bool)
	if text, ok := m["expiresAt"].(string); ok {
		t, ok := parseInstant(text)
		if !ok {
			return nil, fmt.Errorf("expiresAt: %w", errRecord)
		}
		d.expires = t
	}
	if d.purpose.expires > 0 {
		d.expires = min(d.expires, d.key+subject.Instant(d.purpose.expires))
	}
	switch d.status {
	case "given", "refused", "withdrawn", "objected":
		return d, nil
	}
	return nil, fmt.Errorf("status: %w", errRecord)
}

package oracle

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/segmentd/segmentd/state/subject"
)

// streamGenerator makes records; each is a JSON object.
type streamGenerator struct {
	*generator
	now    subject.Instant // where the stream has got to
	newest subject.Instant // newest timestamp given out
	times  []subject.Instant
	begun  map[string]bool
	sent   []map[string]any // events and identifies, to be repeated
	all    []map[string]any
}

// inputs is one input in order of arrival or, where no record is to be late,
// requests, decisions and events apart, each in order of time.
func (s *streamGenerator) inputs() []string {
	s.begun = map[string]bool{}
	for range 30 + s.IntN(110) {
		s.step()
	}
	if s.chance(75) {
		return []string{ndjson(s.all)}
	}
	var requests, decisions, events []map[string]any
	for _, r := range s.all {
		switch r["type"] {
		case "request":
			requests = append(requests, r)
		case "decision":
			decisions = append(decisions, r)
		default:
			events = append(events, r)
		}
	}
	return []string{ndjson(inTime(events)), ndjson(inTime(decisions)), ndjson(inTime(requests))}
}

func inTime(list []map[string]any) []map[string]any {
	slices.SortStableFunc(list, func(a, b map[string]any) int {
		x, _ := parseInstant(a["timestamp"].(string))
		y, _ := parseInstant(b["timestamp"].(string))
		return sign(int64(x) - int64(y))
	})
	return list
}

func ndjson(list []map[string]any) string {
	var b strings.Builder
	for _, r := range list {
		line, err := json.Marshal(r)
		if err != nil {
			panic(err) // INVARIANT: records hold only what JSON can write
		}
		b.Write(append(line, '\n'))
	}
	return b.String()
}

func (s *streamGenerator) step() {
	s.now += s.steps(4)
	if len(s.sent) > 0 && s.chance(8) {
		s.all = append(s.all, pick(s.generator, s.sent))
		return
	}
	r := map[string]any{"timestamp": timeText(s.moment())}
	user := pick(s.generator, []string{"u0", "u0", "u0", "u1", "u1", "visitor"})
	r["userId"] = user
	if user == "visitor" {
		delete(r, "userId")
		r["anonymousId"] = user
	}
	switch n := s.IntN(100); {
	case s.asking && s.chance(8):
		s.request(r)
	case !s.begun[user]:
		s.firstDecisions(r)
	case s.restless && n < 25 || n < 4:
		s.decision(r)
	case n < 35:
		s.identify(r)
	default:
		s.behaviour(r)
	}
	s.all = append(s.all, r)
	switch {
	case !s.begun[user] && s.chance(75):
		s.birth(r)
	case s.restless && r["status"] == "given" && s.chance(30):
		s.lateStop(r)
	}
	s.begun[user] = s.begun[user] || r["type"] != "request"
}

// lateStop is a stop that comes after a grant and is older than it.
func (s *streamGenerator) lateStop(grant map[string]any) {
	r := maps.Clone(grant)
	delete(r, "expiresAt")
	at, _ := parseInstant(r["timestamp"].(string))
	r["status"], r["timestamp"] = pick(s.generator, []string{"refused", "withdrawn", "objected"}), timeText(at-s.steps(6))
	s.all = append(s.all, r)
}

// birth is a birthdate at the time of another record of the subject.
func (s *streamGenerator) birth(of map[string]any) {
	r := map[string]any{"type": "identify", "timestamp": of["timestamp"], "traits": map[string]any{"birthdate": s.birthdate()}}
	for _, key := range []string{"userId", "anonymousId"} {
		if id, ok := of[key]; ok {
			r[key] = id
		}
	}
	s.send(r)
	s.all = append(s.all, r)
}

// firstDecisions are grants, for some purposes or for all.
func (s *streamGenerator) firstDecisions(r map[string]any) {
	r["type"], r["status"], r["explicit"] = "decision", "given", s.chance(90)
	r["purpose"] = s.purposes[0].key
	for _, p := range s.purposes[1:] {
		if s.chance(80) {
			another := maps.Clone(r)
			another["purpose"] = p.key
			s.all = append(s.all, another)
		}
	}
}

func (s *streamGenerator) decision(r map[string]any) {
	r["type"], r["purpose"] = "decision", pick(s.generator, s.purposes).key
	r["status"] = pick(s.generator, []string{"given", "given", "given", "given", "refused", "withdrawn", "objected"})
	if s.chance(60) {
		r["explicit"] = true
	}
	if s.restless && s.chance(50) {
		at, _ := parseInstant(r["timestamp"].(string))
		r["expiresAt"] = timeText(at + s.steps(60))
	}
}

// request is one of a data subject; more often than not it is to be restricted or no longer to be.
func (s *streamGenerator) request(r map[string]any) {
	r["type"], r["requestId"] = "request", fmt.Sprintf("q%d", len(s.all))
	r["request"] = pick(s.generator, []string{"restrict", "restrict", "unrestrict", "unrestrict", "unrestrict", "erase", "rectify", "rectify", "access"})
	if r["request"] == "rectify" {
		r["traits"] = s.traits()
	}
}

// choice is a field and the values it may have.
type choice struct {
	key    string
	values []any
}

func (s *streamGenerator) identify(r map[string]any) {
	r["type"], r["traits"] = "identify", s.traits()
	s.send(r)
}

func (s *streamGenerator) traits() map[string]any {
	traits := s.some(50, []choice{
		{"plan", []any{"a", "b", "ab", nil, 3}},
		{"level", []any{0, 1, 2, json.Number("2.0"), "2", nil}},
		{"tags", []any{[]any{"x"}, []any{"x", "y"}, []any{}, "x", nil}},
		{"m", []any{map[string]any{"k": 1}, map[string]any{"j": 1}, 1}},
		{"at", []any{s.instantText(), s.day(0), s.day(5), s.day(22), "1992-02-29", "soon", nil, 1767830400}},
		{"items", []any{[]any{item(1, 2), item(3, 1)}, []any{item(2, 2), 1}}},
		{"unread", []any{1}},
	})
	if s.chance(30) {
		traits["birthdate"] = s.birthdate()
	}
	return traits
}

func (s *streamGenerator) behaviour(r map[string]any) {
	properties := s.some(65, []choice{
		{"n", []any{-1, 0, 1, 2, json.Number("2.0"), json.Number("2.5"), json.Number("0.1"), 3, "2", true, nil, []any{1, 2}}},
		{"plan", []any{"a", "b", "c", "ab", 1, nil}},
		{"tags", []any{[]any{"x"}, []any{"x", "y"}, []any{"y", 1, json.Number("1.0")}, "x"}},
		{"items", []any{[]any{item(1, 2), item(3, 1)}, []any{item(json.Number("2.5"), 2), map[string]any{"p": 9}}, "none"}},
		{"at", []any{s.instantText(), nil}},
	})
	context := s.some(30, []choice{
		{"device", []any{"ios", "web"}},
		{"consent", []any{s.preferences()}},
		{"consentManagement", []any{map[string]any{"deniedConsentIds": []any{strings.ToUpper(pick(s.generator, s.purposes).key)}}}},
	})
	r["type"], r["properties"], r["context"] = "track", properties, context
	if r["event"] = pick(s.generator, append([]string{"Unused"}, s.names...)); r["event"] == "Page Viewed" {
		delete(r, "event")
		r["type"], r["name"] = "page", "Home"
	}
	s.send(r)
}

func item(price, quantity any) map[string]any { return map[string]any{"p": price, "q": quantity} }

func (s *streamGenerator) preferences() map[string]any {
	return map[string]any{"categoryPreferences": map[string]any{pick(s.generator, s.purposes).key: s.chance(50)}}
}

// birthdate is of one who is old enough, is not, or comes to be.
func (s *streamGenerator) birthdate() any {
	return pick(s.generator, []any{"1980-07-01", "1980-07-01", s.day(16), s.day(16), s.day(30), s.day(15), s.day(3), s.day(16) + "T23:30:00-05:00", "2008-02-29", "1996-02-29", "soon", nil,
		timeText(s.world.start() - 17*365*subject.Day), -10})
}

// some gives each field, in n of a hundred cases, one of its values.
func (s *streamGenerator) some(n int, choices []choice) map[string]any {
	m := map[string]any{}
	for _, c := range choices {
		if v := pick(s.generator, c.values); s.chance(n) {
			m[c.key] = v
		}
	}
	return m
}

// send gives a record an id, mostly, and remembers it for repetition.
func (s *streamGenerator) send(r map[string]any) {
	if s.chance(85) {
		r["messageId"] = fmt.Sprintf("m%d", len(s.sent))
	}
	s.sent = append(s.sent, r)
}

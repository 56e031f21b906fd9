package wire

import (
	"strings"
	"testing"

	"github.com/segmentd/segmentd/processor/wire/mapping"
	"github.com/segmentd/segmentd/state/subject"
)

// decisionDecoder knows the purposes marketing and Ads.
func decisionDecoder() *Decoder {
	return NewDecoder(DecoderOptions{Purposes: []string{"marketing", "Ads"}})
}

func decisionOf(purpose string, status subject.Status, at subject.Instant) subject.Decision {
	return subject.Decision{Subject: subject.ID{Value: "u1"}, Purpose: purpose, Status: status, Time: at, Arrival: testArrival, Expires: subject.Never}
}

func TestDecisions(t *testing.T) {
	d := decisionDecoder()
	at := instant(t, "2026-01-02T03:04:05Z")
	explicit := decisionOf("marketing", subject.Given, at)
	explicit.Explicit, explicit.Expires = true, instant(t, "2027-01-01T00:00:00Z")
	for _, c := range []struct {
		name, members string
		want          subject.Decision
	}{
		{"given", `"status":"given","timestamp":"2026-01-02T03:04:05Z","explicit":false,"expiresAt":null`, decisionOf("marketing", subject.Given, at)},
		{"explicit until", `"status":"given","timestamp":"2026-01-02T03:04:05Z","explicit":true,"expiresAt":"2027-01-01T00:00:00Z"`, explicit},
		{"no timestamp", `"status":"given"`, decisionOf("marketing", subject.Given, testArrival)},
		{"ahead", `"status":"given","timestamp":"2027-01-01T00:00:00Z"`, decisionOf("marketing", subject.Given, instant(t, "2027-01-01T00:00:00Z"))},
		{"refused", `"status":"refused","timestamp":"2026-01-02T03:04:05Z"`, decisionOf("marketing", subject.Refused, at)},
		{"withdrawn", `"status":"withdrawn","timestamp":"2026-01-02T03:04:05Z"`, decisionOf("marketing", subject.Withdrawn, at)},
		{"objected", `"status":"objected","timestamp":"2026-01-02T03:04:05Z"`, decisionOf("marketing", subject.Objected, at)},
		{"a stop at an unreadable time", `"status":"withdrawn","timestamp":"yesterday"`, decisionOf("marketing", subject.Withdrawn, subject.Never)},
		{"a stop at a number", `"status":"objected","timestamp":17`, decisionOf("marketing", subject.Objected, subject.Never)},
		{"a stop before 1970", `"status":"refused","timestamp":"1960-01-01T00:00:00Z"`, decisionOf("marketing", subject.Refused, subject.Never)},
		{"a stop at no date", `"status":"refused","timestamp":"0001-01-01T00:00:00Z"`, decisionOf("marketing", subject.Refused, subject.Never)},
		{"a stop at the start of 1970", `"status":"refused","timestamp":"1970-01-01T00:00:00Z"`, decisionOf("marketing", subject.Refused, subject.Never)},
		{"a stop with other members of wrong kinds", `"status":"withdrawn","timestamp":"2026-01-02T03:04:05Z","explicit":"x","expiresAt":[]`, decisionOf("marketing", subject.Withdrawn, at)},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, kind := range []Kind{Decisions, Mixed} {
				item := mustDecode(t, d, kind, `{"type":"decision","userId":"u1","purpose":"marketing",`+c.members+`}`)
				diff(t, item.Decisions, []subject.Decision{c.want})
				diff(t, []any{item.Content, item.Misunderstood}, []any{HasDecisions, ""})
			}
		})
	}
}

func TestDecisionsThatAreNotUnderstood(t *testing.T) {
	d := decisionDecoder()
	for _, c := range []struct {
		name, members, wrong string
		purposes             []string // "" is all
	}{
		{"no status", `"type":"decision","purpose":"marketing"`, "status is missing", []string{"marketing"}},
		{"unknown status", `"type":"decision","purpose":"marketing","status":"Given"`, "status is none of given, refused, withdrawn, objected", []string{"marketing"}},
		{"status of wrong kind", `"type":"decision","purpose":"marketing","status":true`, "status is a boolean, not a string", []string{"marketing"}},
		{"no purpose", `"type":"decision","status":"withdrawn"`, "purpose is missing", []string{""}},
		{"empty purpose", `"type":"decision","status":"given","purpose":""`, "purpose is missing", []string{""}},
		{"purpose of wrong kind", `"type":"decision","status":"given","purpose":7`, "purpose is a number, not a string", []string{""}},
		{"several purposes", `"type":"decision","status":"given","purpose":["Ads","unknown","marketing"]`, "purpose is a list, not a string", []string{"Ads", "marketing"}},
		{"no purposes", `"type":"decision","status":"given","purpose":[]`, "purpose is a list, not a string", []string{""}},
		{"purposes of wrong kind", `"type":"decision","status":"given","purpose":["Ads",{}]`, "purpose is a list, not a string", []string{""}},
		{"grant at an unreadable time", `"type":"decision","purpose":"marketing","status":"given","timestamp":"x"`, "timestamp is not RFC 3339", []string{"marketing"}},
		{"grant before 1970", `"type":"decision","purpose":"marketing","status":"given","timestamp":"1960-01-01T00:00:00Z"`, "timestamp is before 1970", []string{"marketing"}},
		{"grant at the start of 1970", `"type":"decision","purpose":"marketing","status":"given","timestamp":"1970-01-01T00:00:00Z"`, "timestamp is that of no date, the start of 1970", []string{"marketing"}},
		{"grant with unreadable expiry", `"type":"decision","purpose":"marketing","status":"given","expiresAt":"never"`, "expiresAt is not RFC 3339", []string{"marketing"}},
		{"grant with expiry as a number", `"type":"decision","purpose":"marketing","status":"given","expiresAt":1769904000`, "expiresAt is a number; set timestamp_unit: s", []string{"marketing"}},
		{"explicit of wrong kind", `"type":"decision","purpose":"marketing","status":"given","explicit":"true"`, "explicit is a string, not a boolean", []string{"marketing"}},
		{"no type", `"purpose":"marketing","status":"given"`, "type is not decision", []string{"marketing"}},
		{"another type", `"type":"consent","status":"given"`, "type is not decision", []string{""}},
		{"type of wrong kind", `"type":1,"status":"given"`, "type is a number, not a string", []string{""}},
		{"consent call without context", `"type":"track","event":"Segment Consent Preference Updated"`, "context is missing", []string{""}},
		{"consent call without consent", `"type":"track","event":"Segment Consent Preference Updated","context":{}`, "context.consent.categoryPreferences is missing", []string{""}},
		{"consent call with a list", `"type":"track","event":"Segment Consent Preference Updated","context":{"consent":{"categoryPreferences":[]}}`,
			"context.consent.categoryPreferences is a list, not an object", []string{""}},
		{"consent call with a context of wrong kind", `"type":"track","event":"Segment Consent Preference Updated","context":1`, "context is a number, not an object", []string{""}},
	} {
		t.Run(c.name, func(t *testing.T) {
			item := mustDecode(t, d, Decisions, `{"userId":"u1",`+c.members+`}`)
			var want []subject.Decision
			for _, p := range c.purposes {
				want = append(want, decisionOf(p, subject.Refused, subject.Never))
			}
			diff(t, item.Decisions, want)
			diff(t, item.Misunderstood, c.wrong)
		})
	}
}

func TestDecisionsInFiles(t *testing.T) {
	d := decisionDecoder()
	in := Input{Timestamp: subject.Never, Value: []byte(`{"type":"decision","userId":"u1","purpose":"marketing","status":"given"}`)}
	item, rejected := d.Decode(Mixed, in)
	if rejected != nil {
		t.Fatal(rejected)
	}
	diff(t, item.Misunderstood, "no timestamp")
	diff(t, []any{item.Decisions[0].Status, item.Decisions[0].Effective()}, []any{subject.Refused, subject.Never})
}

func TestConsentCalls(t *testing.T) {
	d := decisionDecoder()
	at := instant(t, "2026-01-02T03:04:05Z")
	call := func(preferences, timestamp string) string {
		return `{"type":"track","event":"Segment Consent Preference Updated","userId":"u1","timestamp":` + timestamp +
			`,"context":{"consent":{"categoryPreferences":` + preferences + `}}}`
	}
	const good = `"2026-01-02T03:04:05Z"`
	for _, c := range []struct {
		name, value, wrong string
		want               []subject.Decision
	}{
		{"both", call(`{"Marketing":true,"ADS":false,"Functional":true}`, good), "",
			[]subject.Decision{decisionOf("marketing", subject.Given, at), decisionOf("Ads", subject.Withdrawn, at)}},
		{"no declared purpose", call(`{"Functional":false}`, good), "", nil},
		{"empty", call(`{}`, good), "", []subject.Decision{decisionOf("", subject.Withdrawn, at)}},
		{"neither true nor false", call(`{"marketing":"yes","ads":true}`, good), "a category's preference is a string, not a boolean",
			[]subject.Decision{decisionOf("marketing", subject.Refused, at), decisionOf("Ads", subject.Given, at)}},
		{"unreadable time", call(`{"marketing":true,"ads":false}`, `"x"`), "timestamp is not RFC 3339",
			[]subject.Decision{decisionOf("marketing", subject.Refused, subject.Never), decisionOf("Ads", subject.Withdrawn, subject.Never)}},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, kind := range []Kind{Decisions, Mixed} {
				item := mustDecode(t, d, kind, c.value)
				diff(t, append([]subject.Decision(nil), item.Decisions...), c.want)
				diff(t, item.Misunderstood, c.wrong)
			}
		})
	}
	event := mustDecode(t, d, Events, call(`{"marketing":false}`, good))
	diff(t, []any{event.Content, event.Event.Name, event.Event.Denied}, []any{HasEvent, "Segment Consent Preference Updated", []string{"marketing"}})
}

func TestRequests(t *testing.T) {
	d := NewDecoder(DecoderOptions{Fields: fieldsOf(nil, []string{"country"})})
	for k := range subject.Import {
		for _, kind := range []Kind{Requests, Mixed} {
			item := mustDecode(t, d, kind, `{"type":"request","requestId":"r-1","userId":"u1","request":"`+k.String()+
				`","timestamp":"2026-01-02T03:04:05Z","traits":{"country":"FR","email":"x"}}`)
			want := subject.Request{Subject: subject.ID{Value: "u1"}, RequestID: "r-1", Kind: k, Time: instant(t, "2026-01-02T03:04:05Z"), Arrival: testArrival}
			if k == subject.Rectify {
				want.Traits, want.Unread = []subject.TraitUpdate{{Key: "country", Value: str("FR")}}, 1
			}
			diff(t, *item.Request, want)
			diff(t, item.Content, HasRequest)
		}
	}
	item := mustDecode(t, d, Requests, `{"type":"request","requestId":"r-1","anonymousId":"a1","request":"erase","timestamp":"?"}`)
	diff(t, *item.Request, subject.Request{Subject: subject.ID{Type: subject.AnonymousID, Value: "a1"}, RequestID: "r-1", Kind: subject.Erase, Time: subject.Never, Arrival: testArrival})
}

// Whatever is wrong with its id, a request that protects its subject is in force.
func TestRequestsThatStopNeedNoID(t *testing.T) {
	d := NewDecoder(DecoderOptions{})
	for id, wrong := range map[string]string{``: "requestId is missing", `"requestId":7,`: "requestId is a number, not a string",
		`"requestId":"` + strings.Repeat("r", 513) + `",`: "requestId is longer than 512 bytes", `"requestId":"q\n1",`: "requestId has control characters, as a line break"} {
		for kind := range subject.Import {
			in := Input{Value: []byte(`{"type":"request","userId":"u1",` + id + `"request":"` + kind.String() + `"}`), Timestamp: testArrival,
				Source: subject.Position{Topic: "requests", Partition: 3, Offset: 7}}
			item, rejected := d.Decode(Requests, in)
			if kind != subject.Erase && kind != subject.Restrict {
				if rejected == nil || rejected.String() != "malformed: "+wrong {
					t.Errorf("%s, %s: %v", kind, wrong, rejected)
				}
				continue
			}
			if rejected != nil {
				t.Fatalf("%s, %s: %v", kind, wrong, rejected)
			}
			diff(t, []any{item.Request.RequestID, item.Request.Kind, item.Misunderstood}, []any{"requests:3:7", kind, wrong})
		}
	}
}

// The same of a mapping that cannot evaluate all.
func TestMappedRequestsThatStop(t *testing.T) {
	d := mappedDecoder(t, mapping.Request, DecoderOptions{}, map[string]string{"userId": "value.u", "requestId": "value.a + value.b", "request": "value.r"})
	in := Input{Value: []byte(`{"u":"u1","a":1,"b":"x","r":"erase"}`), Timestamp: testArrival, Source: subject.Position{Topic: "requests", Partition: 3, Offset: 7}}
	item, rejected := d.Decode(Requests, in)
	if rejected != nil {
		t.Fatal(rejected)
	}
	diff(t, []any{item.Request.RequestID, item.Request.Kind, item.Misunderstood}, []any{"requests:3:7", subject.Erase, "map.requestId: column 9: + does not take a number and a string"})
	in.Value = []byte(`{"u":"u1","a":1,"b":"x","r":"access"}`)
	if _, rejected = d.Decode(Requests, in); rejected == nil || rejected.Reason != BadMapping {
		t.Errorf("access: %v", rejected)
	}
}

func TestProofsOfDecisions(t *testing.T) {
	d := decisionDecoder()
	long := strings.Repeat("é", 80)
	for _, c := range []struct{ members, notice, method, record string }{
		{`"status":"given","noticeVersion":"2026-03","method":"web_form","recordId":"r-1"`, "2026-03", "web_form", "r-1"},
		{`"status":"withdrawn","noticeVersion":3,"method":"","recordId":null`, "", "", ""},
		{`"status":"perhaps","method":"phone"`, "", "phone", ""},
		{`"status":"given","noticeVersion":"` + long + `","method":"x` + long + `"`, long[:128], "x" + long[:126], ""},
	} {
		item := mustDecode(t, d, Decisions, `{"type":"decision","userId":"u1","purpose":"marketing",`+c.members+`}`)
		got := item.Decisions[0]
		diff(t, []string{got.NoticeVersion, got.Method, got.RecordID}, []string{c.notice, c.method, c.record})
	}
}

// A mapping that cannot say what proves a decision leaves the decision as it is.
func TestMappedProofsDecideNothing(t *testing.T) {
	d := mappedDecoder(t, mapping.Decision, DecoderOptions{Purposes: []string{"marketing"}},
		map[string]string{"userId": "value.u", "purpose": `"marketing"`, "status": `"given"`, "timestamp": "value.at", "noticeVersion": "value.n", "method": "value.n + value.u"})
	item := mustDecode(t, d, Decisions, `{"u":"u1","n":3,"at":"2026-01-02T03:04:05Z"}`)
	diff(t, []any{item.Decisions[0].Status, item.Decisions[0].NoticeVersion, item.Misunderstood}, []any{subject.Given, "", ""})
}

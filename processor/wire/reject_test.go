package wire

import (
	"strings"
	"testing"

	"github.com/segmentd/segmentd/processor/stream"
	"github.com/segmentd/segmentd/state/subject"
)

// secret stands for payload in the tables: no detail may hold it.
const secret = "s3cr3t"

type rejectCase struct {
	name  string
	kind  Kind
	value string
	want  string
}

// track is a valid track event with one member replaced or added.
func track(member string) string {
	return `{"type":"track","userId":"u1","event":"E","timestamp":"2026-01-02T03:04:05Z",` + member + `}`
}

var jsonRejects = []rejectCase{
	{"tombstone", Events, "", "malformed: empty record"},
	{"only space", Events, " \n", "malformed: empty record"},
	{"ends early", Events, `{"type":"track"`, "malformed: JSON that ends early at byte 15"},
	{"ends in text", Events, `{"type":"` + secret, "malformed: JSON that ends early at byte 15"},
	{"no JSON", Events, secret, "malformed: not valid JSON at byte 0"},
	{"single quotes", Events, `{'type':1}`, "malformed: not valid JSON at byte 1"},
	{"trailing comma", Events, `{"a":1,}`, "malformed: not valid JSON at byte 7"},
	{"NaN", Events, `{"a":NaN}`, "malformed: not valid JSON at byte 5"},
	{"leading zero", Events, `{"a":01}`, "malformed: not valid JSON at byte 6"},
	{"trailing object", Events, `{} {"a":1}`, "malformed: more than one JSON value at byte 3"},
	{"trailing brace", Events, `{}}`, "malformed: more than one JSON value at byte 2"},
	{"trailing zero byte", Events, "{}\x00", "malformed: more than one JSON value at byte 2"},
	{"control character", Events, "{\"a\":\"x\ny\"}", "malformed: not valid JSON at byte 7"},
	{"invalid UTF-8", Events, "{\"a\":\"\xff\"}", "malformed: invalid UTF-8 at byte 6"},
	{"invalid UTF-8 in a name", Events, "{\"\xc3\":1}", "malformed: invalid UTF-8 at byte 2"},
	{"lone surrogate", Events, `{"a":"\ud800"}`, "malformed: not valid JSON at byte 6"},
	{"duplicate name", Events, `{"userId":"a","userId":"` + secret + `"}`, "malformed: duplicate name at byte 14"},
	{"duplicate escaped name", Events, `{"userId":"a","user\u0049d":"b"}`, "malformed: duplicate name at byte 14"},
	{"duplicate in a skipped value", Events, track(`"other":[{"x":1,"x":2}]`), "malformed: duplicate name at byte 93"},
	{"Avro behind a registry's prefix", Events, "\x00\x00\x00\x00\x07\x0c" + secret, "unsupported_format: " + noJSONSchema},
	{"Protobuf behind it", Decisions, "\x00\x00\x00\x00\x07\x00\x0a\x06" + secret, "unsupported_format: " + noJSONSchema},
	{"broken JSON behind it", Requests, "\x00\x00\x00\x00\x07{'}", "unsupported_format: " + noJSONSchema},
	{"nothing behind it", Events, "\x00\x00\x00\x00\x07", "unsupported_format: " + noJSONSchema},
	{"zero bytes", Events, "\x00\x00", "malformed: not valid JSON at byte 0"},
	{"a list", Events, `[{"type":"track"}]`, "malformed: the record is a list, not an object"},
	{"a text", Events, `"` + secret + `"`, "malformed: the record is a string, not an object"},
	{"a number", Events, `17`, "malformed: the record is a number, not an object"},
	{"null", Events, `null`, "malformed: the record is null, not an object"},
	{"too deep", Events, track(`"x":` + strings.Repeat("[", 10001) + strings.Repeat("]", 10001)), "malformed: nested too deeply at byte 10080"},
}

var typeRejects = []rejectCase{
	{"no type", Events, `{"userId":"u1"}`, "malformed: type is missing"},
	{"null type", Events, `{"type":null,"userId":"u1"}`, "malformed: type is missing"},
	{"type is a number", Events, `{"type":7,"userId":"u1"}`, "malformed: type is a number, not a string"},
	{"alias", Events, `{"type":"alias","userId":"u1","previousId":"a"}`, "unsupported_type: an alias call"},
	{"group", Events, `{"type":"group","groupId":"g"}`, "unsupported_type: a group call"},
	{"unknown type", Events, `{"type":"` + secret + `"}`, "unsupported_type: type is none that is known"},
	{"type in capitals", Events, `{"type":"Track"}`, "unsupported_type: type is none that is known"},
	{"decision among events", Events, `{"type":"decision"}`, "unsupported_type: a decision on an event topic: is the input's kind right?"},
	{"request among events", Events, `{"type":"request"}`, "unsupported_type: a request on an event topic: is the input's kind right?"},
	{"track among decisions", Decisions, `{"type":"track","event":"E","userId":"u1"}`, "unsupported_type: an event on a decision topic: is the input's kind right?"},
	{"page among decisions", Decisions, `{"type":"page","userId":"u1"}`, "unsupported_type: an event on a decision topic: is the input's kind right?"},
	{"alias among decisions", Decisions, `{"type":"alias"}`, "unsupported_type: an alias call"},
	{"request among decisions", Decisions, `{"type":"request","userId":"u1"}`, "unsupported_type: a request on a decision topic: is the input's kind right?"},
	{"decision among requests", Requests, `{"type":"decision","userId":"u1"}`, "unsupported_type: a decision on a request topic: is the input's kind right?"},
	{"track among requests", Requests, `{"type":"track","userId":"u1"}`, "unsupported_type: an event on a request topic: is the input's kind right?"},
	{"no type among requests", Requests, `{"userId":"u1"}`, "malformed: type is missing"},
	{"no type in a mixed file", Mixed, `{"userId":"u1"}`, "malformed: type is missing"},
}

var memberRejects = []rejectCase{
	{"no subject", Events, `{"type":"track","event":"E"}`, "no_subject: neither userId nor anonymousId"},
	{"empty subject", Events, `{"type":"track","userId":"","anonymousId":null}`, "no_subject: neither userId nor anonymousId"},
	{"userId is a number", Events, `{"type":"track","userId":17}`, "malformed: userId is a number, not a string"},
	{"userId is an object", Events, `{"type":"track","userId":{}}`, "malformed: userId is an object, not a string"},
	{"anonymousId is a list", Events, `{"type":"track","anonymousId":[]}`, "malformed: anonymousId is a list, not a string"},
	{"long userId", Events, `{"type":"track","userId":"` + strings.Repeat("é", 257) + `"}`, "no_subject: userId is longer than 512 bytes"},
	{"long anonymousId", Events, `{"type":"track","anonymousId":"` + strings.Repeat("x", 513) + `"}`, "no_subject: anonymousId is longer than 512 bytes"},
	{"control character in an id", Events, `{"type":"track","userId":"` + secret + `\u0000"}`, "no_subject: userId has a control character"},
	{"C1 control character in an id", Events, `{"type":"track","userId":"a\u0085"}`, "no_subject: userId has a control character"},
	{"no event name", Events, `{"type":"track","userId":"u1"}`, "malformed: event is missing"},
	{"empty event name", Events, `{"type":"track","userId":"u1","event":""}`, "malformed: event is missing"},
	{"event name is a boolean", Events, `{"type":"track","userId":"u1","event":true}`, "malformed: event is a boolean, not a string"},
	{"messageId is a number", Events, track(`"messageId":1`), "malformed: messageId is a number, not a string"},
	{"properties are a list", Events, track(`"properties":[1]`), "malformed: properties is a list, not an object"},
	{"context is a text", Events, track(`"context":"` + secret + `"`), "malformed: context is a string, not an object"},
	{"traits are a text", Events, `{"type":"identify","userId":"u1","traits":"x"}`, "malformed: traits is a string, not an object"},
	{"consent is a boolean", Events, track(`"context":{"consent":false}`), "malformed: context.consent is a boolean, not an object"},
	{"preferences are a list", Events, track(`"context":{"consent":{"categoryPreferences":["a"]}}`), "malformed: context.consent.categoryPreferences is a list, not an object"},
	{"consentManagement is a list", Events, track(`"context":{"consentManagement":[]}`), "malformed: context.consentManagement is a list, not an object"},
	{"denied ids are an object", Events, track(`"context":{"consentManagement":{"deniedConsentIds":{}}}`), "malformed: context.consentManagement.deniedConsentIds is an object, not a list"},
	{"a denied id is a number", Events, track(`"context":{"consentManagement":{"deniedConsentIds":["a",1]}}`), "malformed: an element of context.consentManagement.deniedConsentIds is a number, not a string"},
	{"decision without subject", Decisions, `{"type":"decision","purpose":"marketing","status":"given"}`, "no_subject: neither userId nor anonymousId"},
	{"decision on an unknown purpose", Decisions, `{"type":"decision","userId":"u1","purpose":"` + secret + `","status":"withdrawn"}`, "unknown_purpose: the rules declare no such purpose; they declare marketing"},
	{"purpose in capitals", Decisions, `{"type":"decision","userId":"u1","purpose":"Marketing","status":"given"}`, "unknown_purpose: the rules declare no such purpose (nearest: marketing); they declare marketing"},
	{"unreadable decision on an unknown purpose", Decisions, `{"type":"decision","userId":"u1","purpose":"x","status":"?"}`, "unknown_purpose: the rules declare no such purpose; they declare marketing"},
	{"decision that does not parse", Decisions, `{"type":"decision","userId":"u1","purpose":"marketing"`, "malformed: JSON that ends early at byte 54"},
	{"request without id", Requests, `{"type":"request","userId":"u1","request":"access"}`, "malformed: requestId is missing"},
	{"request with a number as id", Requests, `{"type":"request","requestId":7,"userId":"u1","request":"unrestrict"}`, "malformed: requestId is a number, not a string"},
	{"request with a long id", Requests, `{"type":"request","requestId":"` + strings.Repeat("r", 513) + `","userId":"u1","request":"rectify"}`, "malformed: requestId is longer than 512 bytes"},
	{"request without kind", Requests, `{"type":"request","requestId":"r","userId":"u1"}`, "malformed: request is missing"},
	{"request of unknown kind", Requests, `{"type":"request","requestId":"r","userId":"u1","request":"` + secret + `"}`, "malformed: request is none of access, portability, erase, rectify, restrict, unrestrict"},
	{"request with a kind of wrong kind", Requests, `{"type":"request","requestId":"r","userId":"u1","request":[]}`, "malformed: request is a list, not a string"},
	{"rectify with a list", Requests, `{"type":"request","requestId":"r","userId":"u1","request":"rectify","traits":[]}`, "malformed: traits is a list, not an object"},
	{"request without subject", Requests, `{"type":"request","requestId":"r","request":"erase"}`, "no_subject: neither userId nor anonymousId"},
}

func TestRejects(t *testing.T) {
	d := NewDecoder(DecoderOptions{Purposes: []string{"marketing"}})
	for _, table := range [][]rejectCase{jsonRejects, typeRejects, memberRejects} {
		for _, c := range table {
			t.Run(c.name, func(t *testing.T) {
				checkRejected(t, d, c, Input{Value: []byte(c.value), Timestamp: testArrival})
			})
		}
	}
}

func checkRejected(t *testing.T, d *Decoder, c rejectCase, in Input) {
	t.Helper()
	_, rejected := d.Decode(c.kind, in)
	if rejected == nil {
		t.Fatalf("taken; want %s", c.want)
	}
	if rejected.String() != c.want {
		t.Errorf("got  %s\nwant %s", rejected, c.want)
	}
	if strings.Contains(rejected.Detail, secret) {
		t.Error("the detail holds payload")
	}
}

func TestRejectedTimestamps(t *testing.T) {
	at := func(value string) string {
		return `{"type":"track","userId":"u1","event":"E","timestamp":` + value + `}`
	}
	for _, c := range []struct {
		name, value string
		unit        TimestampUnit
		arrival     subject.Instant
		want        string
	}{
		{"none in a file", `{"type":"track","userId":"u1","event":"E"}`, RFC3339, subject.Never, "bad_timestamp: no timestamp"},
		{"none, and none of Kafka's", `{"type":"track","userId":"u1","event":"E"}`, RFC3339, -1, "bad_timestamp: no timestamp"},
		{"text", at(`"` + secret + `"`), RFC3339, testArrival, "bad_timestamp: timestamp is not RFC 3339"},
		{"empty", at(`""`), RFC3339, testArrival, "bad_timestamp: timestamp is not RFC 3339"},
		{"date only", at(`"2026-01-02"`), RFC3339, testArrival, "bad_timestamp: timestamp is not RFC 3339"},
		{"no zone", at(`"2026-01-02T03:04:05"`), RFC3339, testArrival, "bad_timestamp: timestamp is not RFC 3339"},
		{"no day of the calendar", at(`"2026-02-30T03:04:05Z"`), RFC3339, testArrival, "bad_timestamp: timestamp is not RFC 3339"},
		{"very long", at(`"2026-01-02T03:04:05.` + strings.Repeat("0", 60) + `Z"`), RFC3339, testArrival, "bad_timestamp: timestamp is not RFC 3339"},
		{"before 1970", at(`"1969-12-31T23:59:59.999999Z"`), RFC3339, testArrival, "bad_timestamp: timestamp is before 1970"},
		{"seconds", at(`1769904000`), RFC3339, testArrival, "bad_timestamp: timestamp is a number; set timestamp_unit: s"},
		{"milliseconds", at(`1769904000000`), RFC3339, testArrival, "bad_timestamp: timestamp is a number; set timestamp_unit: ms"},
		{"microseconds", at(`1769904000000000`), RFC3339, testArrival, "bad_timestamp: timestamp is a number; set timestamp_unit: us"},
		{"object", at(`{}`), RFC3339, testArrival, "bad_timestamp: timestamp is an object, not a string"},
		{"boolean", at(`true`), RFC3339, testArrival, "bad_timestamp: timestamp is a boolean, not a string"},
		{"original", `{"type":"page","userId":"u1","originalTimestamp":"x"}`, RFC3339, testArrival, "bad_timestamp: originalTimestamp is not RFC 3339"},
		{"future", at(`"2026-02-01T00:05:00.000001Z"`), RFC3339, testArrival, "future: timestamp is more than 5m0s ahead of the record's arrival"},
		{"2099", at(`"2099-01-01T00:00:00Z"`), RFC3339, testArrival, "future: timestamp is more than 5m0s ahead of the record's arrival"},
		{"text for seconds", at(`"2026-01-02T03:04:05Z"`), Seconds, testArrival, "bad_timestamp: timestamp is not a number of s"},
		{"empty for seconds", at(`""`), Seconds, testArrival, "bad_timestamp: timestamp is not a number of s"},
		{"object for milliseconds", at(`{"a":1}`), Milliseconds, testArrival, "bad_timestamp: timestamp is not a number of ms"},
		{"boolean for microseconds", at(`true`), Microseconds, testArrival, "bad_timestamp: timestamp is not a number of us"},
		{"negative", at(`-1`), Milliseconds, testArrival, "bad_timestamp: timestamp is before 1970"},
		{"beyond years", at(`1e18`), Seconds, subject.Never, "bad_timestamp: timestamp is after 9999"},
		{"beyond numbers", at(`1e308`), Seconds, subject.Never, "bad_timestamp: timestamp is after 9999"},
		{"milliseconds taken for seconds", at(`1769904000000`), Seconds, subject.Never, "bad_timestamp: timestamp is after 9999"},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := NewDecoder(DecoderOptions{TimestampUnit: c.unit})
			checkRejected(t, d, rejectCase{kind: Events, want: c.want}, Input{Value: []byte(c.value), Timestamp: c.arrival})
		})
	}
}

func TestRejectedKeysAndSizes(t *testing.T) {
	value := []byte(track(`"properties":{}`))
	d := NewDecoder(DecoderOptions{})
	mismatch := rejectCase{kind: Events, want: "key_mismatch: the record's key is not its userId"}
	checkRejected(t, d, mismatch, Input{Key: []byte(secret), Value: value, Timestamp: testArrival})
	checkRejected(t, d, mismatch, Input{Key: []byte{}, Value: value, Timestamp: testArrival})
	anonymous := rejectCase{kind: Decisions, want: "key_mismatch: the record's key is not its anonymousId"}
	checkRejected(t, d, anonymous, Input{Key: []byte(secret), Value: []byte(`{"anonymousId":"a"}`), Timestamp: testArrival})

	free := NewDecoder(DecoderOptions{AnyKey: true})
	if _, rejected := free.Decode(Events, Input{Key: []byte("other"), Value: value, Timestamp: testArrival}); rejected != nil {
		t.Errorf("any key: %s", rejected)
	}
	small := NewDecoder(DecoderOptions{MaxRecordBytes: 90})
	checkRejected(t, small, rejectCase{kind: Events, want: "too_large: 91 bytes, at most 90 are taken"}, Input{Value: make([]byte, 91)})
	checkRejected(t, d, rejectCase{kind: Events, want: "too_large: 10485760 bytes, at most 1048576 are taken"}, Input{Value: make([]byte, 10<<20)})
}

func TestRejectedFormats(t *testing.T) {
	only := NewDecoder(DecoderOptions{Format: FormatCloudEvents})
	checkRejected(t, only, rejectCase{kind: Events, want: "unsupported_format: no CloudEvent: specversion is missing"},
		Input{Value: []byte(track(`"x":1`)), Timestamp: testArrival})
	headers := func(kv ...string) (h []stream.Header) {
		for i := 0; i < len(kv); i += 2 {
			h = append(h, stream.Header{Key: kv[i], Value: []byte(kv[i+1])})
		}
		return h
	}
	d := NewDecoder(DecoderOptions{})
	ce := []string{"ce_specversion", "1.0", "ce_id", "1", "ce_source", "/s", "ce_type", "E"}
	for want, h := range map[string][]stream.Header{
		"unsupported_format: datacontenttype is not JSON":              headers(append(ce, "content-type", "application/avro")...),
		"unsupported_format: specversion is not 1.0":                   headers("ce_specversion", "0.3"),
		"malformed: id is missing":                                     headers("ce_specversion", "1.0"),
		"malformed: source is missing":                                 headers("ce_specversion", "1.0", "ce_id", "1"),
		"malformed: type is missing":                                   headers("ce_specversion", "1.0", "ce_id", "1", "ce_source", "/s"),
		"malformed: an attribute is not valid UTF-8":                   headers("ce_specversion", "1.0", "ce_id", "\xff"),
		"no_subject: neither partitionkey nor a key":                   headers(ce...),
		"no_subject: partitionkey has a control character":             headers(append(ce, "ce_partitionkey", "a\x00")...),
		"bad_timestamp: time is not RFC 3339":                          headers(append(ce, "ce_partitionkey", "u", "ce_time", secret)...),
		"future: time is more than 5m0s ahead of the record's arrival": headers(append(ce, "ce_partitionkey", "u", "ce_time", "2027-01-01T00:00:00Z")...),
	} {
		checkRejected(t, d, rejectCase{kind: Events, want: want}, Input{Value: []byte(`{}`), Headers: h, Timestamp: testArrival})
	}
	for contentType, want := range map[string]string{
		"application/cloudevents-batch+json; charset=utf-8": "unsupported_format: a batch of CloudEvents: each record must be one",
		"Application/CloudEvents-Batch":                     "unsupported_format: a batch of CloudEvents: each record must be one",
		"application/cloudevents+avro":                      "unsupported_format: the content-type says a CloudEvent in a format other than JSON",
		"application/cloudevents+json":                      "unsupported_format: no CloudEvent: specversion is missing",
	} {
		in := Input{Value: []byte(track(`"x":1`)), Headers: headers("Content-Type", contentType), Timestamp: testArrival}
		for _, kind := range []Kind{Events, Mixed} {
			checkRejected(t, d, rejectCase{kind: kind, want: want}, in)
			checkRejected(t, only, rejectCase{kind: kind, want: want}, in)
		}
		if _, rejected := NewDecoder(DecoderOptions{Format: FormatJSON}).Decode(Events, in); rejected != nil {
			t.Errorf("with format json %s is %v", contentType, rejected)
		}
	}
	for want, value := range map[string]string{
		"unsupported_format: data_base64: the data is not JSON":  `{"specversion":"1.0","id":"1","source":"/s","type":"E","data_base64":"AA=="}`,
		"unsupported_format: datacontenttype is not JSON":        `{"specversion":"1.0","id":"1","source":"/s","type":"E","datacontenttype":"text/xml","data":"<a/>"}`,
		"unsupported_format: specversion is not 1.0":             `{"specversion":"2.0","id":"1","source":"/s","type":"E"}`,
		"malformed: specversion is a number, not a string":       `{"specversion":1.0,"id":"1","source":"/s","type":"E"}`,
		"key_mismatch: the record's key is not its partitionkey": `{"specversion":"1.0","id":"1","source":"/s","type":"E","partitionkey":"x"}`,
	} {
		checkRejected(t, d, rejectCase{kind: Events, want: want}, Input{Key: []byte("k"), Value: []byte(value), Timestamp: testArrival})
	}
	invalid := rejectCase{kind: Events, want: "no_subject: the record's key is not valid UTF-8"}
	checkRejected(t, d, invalid, Input{Key: []byte("\xff"), Headers: headers(ce...), Timestamp: testArrival})
}

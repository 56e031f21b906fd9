package wire

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/segmentd/segmentd/processor/stream"
	"github.com/segmentd/segmentd/state/subject"
)

func headerText(headers []stream.Header) (out []string) {
	for _, h := range headers {
		out = append(out, h.Key+"="+string(h.Value))
	}
	return out
}

func erasure() subject.Change {
	return subject.Change{Subject: subject.ID{Type: subject.AnonymousID, Value: "a\"1"}, Kind: subject.Erased,
		Time: 1769853600_500_000, Reason: subject.ByErased, Version: 18}
}

func TestChangeID(t *testing.T) {
	sum := sha256.Sum256([]byte("segmentd\x00userId\x00u1\x0017"))
	diff(t, ChangeID("segmentd", subject.ID{Value: "u1"}, 17), hex.EncodeToString(sum[:16]))
	if ChangeID("g", subject.ID{Value: "x"}, 1) == ChangeID("g", subject.ID{Type: subject.AnonymousID, Value: "x"}, 1) {
		t.Error("the type of the id does not matter")
	}
}

func TestEncodeChange(t *testing.T) {
	e := NewEncoder(EncoderOptions{Group: "segmentd", RuleSet: "4be1"})
	c := testChange()
	id := ChangeID("segmentd", c.Subject, c.Version)
	m := e.Change(&c, Place{Topic: "segmentd-changes", Partition: 4, Timestamp: testArrival})
	diff(t, string(m.Value), `{"id":"`+id+`","userId":"u1","idType":"userId","segment":"big_spenders","change":"entered",`+
		`"time":"2026-01-31T10:00:00Z","reason":"event","purpose":"marketing","version":17,"causedBy":"m-1","ruleSet":"4be1"}`)
	diff(t, headerText(m.Headers), []string{"ce_id=" + id, "ce_source=/segmentd/segmentd", "ce_type=segmentd.segment.entered", "ce_subject=u1",
		"ce_time=2026-01-31T10:00:00Z", "ce_specversion=1.0", "ce_segment=big_spenders", "ce_reason=event", "ce_version=17", "content-type=application/json"})
	diff(t, []any{m.Topic, m.Partition, m.Timestamp, string(m.Key)}, []any{"segmentd-changes", int32(4), testArrival, "u1"})
	diff(t, string(e.AppendChange([]byte("x"), &c)), "x"+string(m.Value))
}

func TestEncodeErasure(t *testing.T) {
	e := NewEncoder(EncoderOptions{Group: "a/b", CETypePrefix: "com.shop", RuleSet: "4be1"})
	c := erasure()
	id := ChangeID("a/b", c.Subject, c.Version)
	m := e.Change(&c, Place{})
	diff(t, string(m.Value), `{"id":"`+id+`","userId":"a\"1","idType":"anonymousId","change":"erased","time":"2026-01-31T10:00:00.5Z",`+
		`"reason":"erased","version":18,"ruleSet":"4be1"}`)
	diff(t, headerText(m.Headers), []string{"ce_id=" + id, "ce_source=/segmentd/a%2Fb", "ce_type=com.shop.subject.erased", "ce_subject=a\"1",
		"ce_time=2026-01-31T10:00:00.5Z", "ce_specversion=1.0", "ce_reason=erased", "ce_version=18", "content-type=application/json"})
	if _, ok := e.Member(&c, Place{}); ok {
		t.Error("an erasure has a members row")
	}
}

func TestEncodeSegmentFormat(t *testing.T) {
	e := NewEncoder(EncoderOptions{Group: "segmentd", Format: FormatSegment, RuleSet: "4be1"})
	c := testChange()
	id := ChangeID("segmentd", c.Subject, c.Version)
	sum := sha256.Sum256([]byte("segmentd\x00big_spenders"))
	personas := `"personas":{"computation_class":"audience","computation_key":"big_spenders","computation_id":"aud_` + hex.EncodeToString(sum[:16]) + `"}`
	diff(t, string(e.Change(&c, Place{}).Value), `{"type":"track","messageId":"`+id+`","userId":"u1","event":"Audience Entered","timestamp":"2026-01-31T10:00:00Z",`+
		`"properties":{"audience_key":"big_spenders","big_spenders":true},"context":{`+personas+
		`,"segmentd":{"reason":"event","purpose":"marketing","version":17,"causedBy":"m-1","ruleSet":"4be1"}}}`)
	c.Kind, c.Subject.Type, c.CausedBy = subject.Exited, subject.AnonymousID, ""
	got := string(e.Change(&c, Place{}).Value)
	for _, part := range []string{`"anonymousId":"u1"`, `"event":"Audience Exited"`, `"big_spenders":false`} {
		if !strings.Contains(got, part) {
			t.Errorf("%s lacks %s", got, part)
		}
	}
	gone := erasure()
	diff(t, string(e.AppendChange(nil, &gone)), `{"type":"track","messageId":"`+ChangeID("segmentd", gone.Subject, 18)+`","anonymousId":"a\"1",`+
		`"event":"Subject Erased","timestamp":"2026-01-31T10:00:00.5Z","properties":{},"context":{"segmentd":{"reason":"erased","version":18,"ruleSet":"4be1"}}}`)
	c.Segment = "audience_key"
	if !strictJSON(e.AppendChange(nil, &c)) {
		t.Error("a segment's key collides with audience_key")
	}
}

// strictJSON reports whether text is JSON by the decoder's strict rules.
func strictJSON(text []byte) bool {
	_, err := NewDecoder(DecoderOptions{}).validate(text)
	return err == nil
}

func TestMembers(t *testing.T) {
	e := NewEncoder(EncoderOptions{Group: "segmentd"})
	c := testChange()
	m, ok := e.Member(&c, Place{Topic: "segmentd-members", Partition: 4})
	diff(t, []any{ok, m.Topic, m.Partition, string(m.Key)}, []any{true, "segmentd-members", int32(4), "u|u1|big_spenders"})
	diff(t, string(m.Value), `{"userId":"u1","idType":"userId","segment":"big_spenders","since":"2026-01-31T10:00:00Z","version":17}`)
	diff(t, headerText(m.Headers), []string{"version=17", "time=2026-01-31T10:00:00Z", "reason=event"})

	c.Kind, c.Reason, c.Subject.Type, c.Version = subject.Exited, subject.ByWithdrawn, subject.AnonymousID, 18
	m, _ = e.Member(&c, Place{})
	diff(t, string(m.Key), "a|u1|big_spenders")
	diff(t, headerText(m.Headers), []string{"version=18", "time=2026-01-31T10:00:00Z", "reason=withdrawn"})
	if m.Value != nil {
		t.Errorf("an exit leaves %q, not a tombstone", m.Value)
	}
}

func TestRejectedRecords(t *testing.T) {
	e := NewEncoder(EncoderOptions{Group: "segmentd"})
	m := e.Rejected(&Rejected{Source: subject.Position{Topic: "shop.events", Partition: 3, Offset: 99},
		Reject: Reject{Malformed, "empty record"}, Time: testArrival}, Place{Topic: "segmentd-rejected"})
	diff(t, string(m.Value), `{"topic":"shop.events","partition":3,"offset":99,"reason":"malformed","detail":"empty record","time":"2026-02-01T00:00:00Z"}`)
	diff(t, headerText(m.Headers), []string{"content-type=application/json"})
	if m.Key != nil {
		t.Error("a rejected record has a key")
	}
}

func TestRequestResults(t *testing.T) {
	e := NewEncoder(EncoderOptions{Group: "segmentd"})
	m := e.RequestResult(&RequestResult{RequestID: "r-1", Status: subject.InProgress, Time: testArrival}, Place{})
	diff(t, string(m.Value), `{"requestId":"r-1","status":"in_progress","time":"2026-02-01T00:00:00Z","detail":""}`)
	diff(t, string(m.Key), "r-1")
	for s := range subject.RequestStatuses {
		want := RequestResult{RequestID: "r-\"2\"", Status: s, Time: testArrival, Detail: "x"}
		if got, ok := ParseRequestResult(e.RequestResult(&want, Place{}).Value); !ok || got != want {
			t.Errorf("read %+v, %v, want %+v", got, ok, want)
		}
	}
	for _, other := range []string{"", "{}", "null", `{"requestId":"r","status":"lost","time":"2026-02-01T00:00:00Z"}`, `{"requestId":"r","status":"failed","time":"now"}`, `[]`} {
		if r, ok := ParseRequestResult([]byte(other)); ok {
			t.Errorf("%s was read as %+v", other, r)
		}
	}
}

// TestMessagesKeepTheirMemory writes more than an arena holds before it looks.
func TestMessagesKeepTheirMemory(t *testing.T) {
	e := NewEncoder(EncoderOptions{Group: "segmentd", RuleSet: "4be1"})
	for range 2 {
		var got []stream.Message
		var want []string
		for v := range uint64(2000) {
			c := testChange()
			c.Version, c.Subject.Value = v+1, strings.Repeat("\x01", int(v%512)+1)
			got = append(got, e.Change(&c, Place{}))
			row, _ := e.Member(&c, Place{})
			got = append(got, row)
			alone := NewEncoder(EncoderOptions{Group: "segmentd", RuleSet: "4be1"})
			m := alone.Change(&c, Place{})
			row, _ = alone.Member(&c, Place{})
			want = append(want, messageText(m), messageText(row))
		}
		for i, m := range got {
			if messageText(m) != want[i] {
				t.Fatalf("message %d changed", i)
			}
		}
		e.Reset()
	}
}

func messageText(m stream.Message) string {
	return fmt.Sprintf("%q %q %q", m.Key, m.Value, headerText(m.Headers))
}

func TestParseChange(t *testing.T) {
	for _, format := range []OutputFormat{FormatSegmentd, FormatSegment} {
		e := NewEncoder(EncoderOptions{Group: "segmentd", Format: format, RuleSet: "4be1"})
		for r := range subject.Reasons {
			for k := subject.Entered; k <= subject.Erased; k++ {
				c := testChange()
				c.Kind, c.Reason, c.Subject.Value = k, r, "u\u2028\"\\\u007f"
				if k == subject.Erased {
					c = erasure()
				}
				got, err := ParseChange(append([]byte(" \n"), e.AppendChange(nil, &c)...))
				if err != nil {
					t.Fatal(err)
				}
				diff(t, got, Published{ID: ChangeID("segmentd", c.Subject, c.Version), Change: c, RuleSet: "4be1"})
			}
		}
	}
}

func TestParseChangeErrors(t *testing.T) {
	e := NewEncoder(EncoderOptions{Group: "segmentd", RuleSet: "4be1"})
	c := testChange()
	good := string(e.AppendChange(nil, &c))
	for _, x := range []struct{ from, to, want string }{
		{`{"id"`, `["id"`, "not a change: not valid JSON at byte 5"},
		{`"userId":"u1",`, ``, "not a change: userId is missing"},
		{`"userId":"u1"`, `"userId":7`, "not a change: userId is a number, not a string"},
		{`"idType":"userId"`, `"idType":"x"`, "not a change: idType is none that is known"},
		{`"change":"entered"`, `"change":"left"`, "not a change: change is none that is known"},
		{`"segment":"big_spenders",`, ``, "not a change: segment is missing"},
		{`"time":"2026`, `"time":"x`, "not a change: time is not RFC 3339"},
		{`"reason":"event"`, `"reason":"whim"`, "not a change: reason is none that is known"},
		{`"version":17`, `"version":1.7`, "not a change: version is no whole number above 0"},
		{`"version":17,`, ``, "not a change: version is missing"},
		{`"version":17`, `"version":17,"version":17`, "not a change: duplicate name at byte 199"},
	} {
		_, err := ParseChange([]byte(strings.Replace(good, x.from, x.to, 1)))
		if !errors.Is(err, ErrChange) || err.Error() != x.want {
			t.Errorf("%s: got %v, want %s", x.to, err, x.want)
		}
	}
	for _, value := range []string{"", "null", "[]", "{}"} {
		if _, err := ParseChange([]byte(value)); !errors.Is(err, ErrChange) {
			t.Errorf("%q: got %v", value, err)
		}
	}
}

func TestNamesOfConfiguration(t *testing.T) {
	for _, u := range []TimestampUnit{RFC3339, Seconds, Milliseconds, Microseconds} {
		got, err := ParseTimestampUnit(u.String())
		diff(t, []any{got, err}, []any{u, error(nil)})
	}
	for _, f := range []InputFormat{FormatAuto, FormatJSON, FormatCloudEvents} {
		got, err := ParseInputFormat(f.String())
		diff(t, []any{got, err}, []any{f, error(nil)})
	}
	for _, f := range []OutputFormat{FormatSegmentd, FormatSegment} {
		got, err := ParseOutputFormat(f.String())
		diff(t, []any{got, err}, []any{f, error(nil)})
	}
	_, err := ParseTimestampUnit("h")
	if err == nil || err.Error() != `"h" is none of rfc3339, s, ms, us` {
		t.Errorf("got %v", err)
	}
}

func TestInvalidTextIsWrittenAsJSON(t *testing.T) {
	e := NewEncoder(EncoderOptions{Group: "g"})
	c := testChange()
	c.CausedBy = "\xff\x00\u2028"
	if got := e.AppendChange(nil, &c); !bytes.Contains(got, []byte(`"causedBy":"`+"\ufffd"+`\u0000`+"\u2028"+`"`)) {
		t.Errorf("got %s", got)
	}
}

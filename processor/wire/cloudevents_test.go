package wire

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/segmentd/segmentd/processor/stream"
	"github.com/segmentd/segmentd/processor/wire/mapping"
	"github.com/segmentd/segmentd/state/subject"
)

// The conformance data of CloudEvents' SDKs, each event as a record of each
// mode, with a mapping beside it that adds nothing but the subject.

type conformance struct {
	Tests []struct {
		ID    string
		Event json.RawMessage
		Batch json.RawMessage
	}
}

// unread are the events that are invalid by what is never read: they are taken.
var unread = map[string]bool{"invalidEmptyDataContentType": true, "invalidEmptyDataSchema": true, "invalidEmptySubject": true,
	"invalidCapitalizedExtension": true, "invalidPunctuatedExtension": true, "invalidNonIntegerExtensionValue": true}

func TestCloudEventsConformance(t *testing.T) {
	for file, valid := range map[string]bool{"valid-events.json": true, "invalid-events.json": false} {
		var c conformance
		sharedJSON(t, &c, "cloudevents", file)
		for _, test := range c.Tests {
			t.Run(test.ID, func(t *testing.T) {
				inputs := map[string]Input{"structured": structuredInput(test.Event)}
				if in, ok := binaryInput(test.Event); ok {
					inputs["binary"] = in
				}
				for mode, in := range inputs {
					checkConformance(t, mode, in, test.ID, test.Event, valid || unread[test.ID])
				}
			})
		}
		t.Logf("%s: %d events", file, len(c.Tests))
	}
}

func structuredInput(event []byte) Input {
	return Input{Key: []byte("u1"), Value: event, Timestamp: testArrival,
		Headers: []stream.Header{{Key: "content-type", Value: []byte("application/cloudevents+json; charset=UTF-8")}}}
}

// binaryInput is the event in binary mode, as the Kafka protocol binding lays
// it out; ok is false where its attributes cannot be headers.
func binaryInput(event []byte) (in Input, ok bool) {
	var members map[string]json.RawMessage
	if json.Unmarshal(event, &members) != nil || members["data_base64"] != nil || members["specversion"] == nil {
		return in, false
	}
	in = Input{Key: []byte("u1"), Timestamp: testArrival}
	for name, raw := range members {
		var text string
		switch {
		case name == "data":
			in.Value = raw
			continue
		case string(raw) == "null":
			continue
		case json.Unmarshal(raw, &text) != nil && (raw[0] == '{' || name == "id"):
			return in, false
		case raw[0] != '"':
			text = string(raw)
		}
		key := "ce_" + name
		if name == "datacontenttype" {
			key = "content-type"
		}
		in.Headers = append(in.Headers, stream.Header{Key: key, Value: []byte(text)})
	}
	return in, true
}

func checkConformance(t *testing.T, mode string, in Input, id string, event []byte, valid bool) {
	t.Helper()
	for _, format := range []InputFormat{FormatAuto, FormatCloudEvents} {
		plain := NewDecoder(DecoderOptions{Format: format})
		mapped := mappedDecoder(t, mapping.Event, DecoderOptions{Format: format}, map[string]string{"userId": "key"})
		for name, d := range map[string]*Decoder{"plain": plain, "mapped": mapped} {
			item, rejected := d.Decode(Events, in)
			switch {
			case id == "validSimpleTextData":
				if rejected == nil || rejected.Reason != UnsupportedFormat {
					t.Errorf("%s %s: text as data is %v", mode, name, rejected)
				}
			case !valid:
				if rejected == nil {
					t.Errorf("%s %s: taken", mode, name)
				}
			case rejected != nil:
				t.Errorf("%s %s: %v", mode, name, rejected)
			default:
				diff(t, *item.Event, expectedEvent(t, event))
			}
		}
	}
}

// expectedEvent is what the contract makes of an event, read with the standard library.
func expectedEvent(t *testing.T, event []byte) subject.Event {
	t.Helper()
	var e struct{ ID, Source, Type, Time string }
	if err := json.Unmarshal(event, &e); err != nil {
		t.Fatal(err)
	}
	message := e.Source + " " + e.ID
	want := subject.Event{Subject: subject.ID{Value: "u1"}, Name: e.Type, MessageID: message, Message: MessageHash([]byte(message)),
		Time: testArrival, Arrival: testArrival, Fields: []subject.Value{}}
	if e.Time != "" {
		want.Time = instant(t, strings.Replace(e.Time, ".000000000", "", 1))
	}
	return want
}

func TestCloudEventsBatches(t *testing.T) {
	for _, file := range []string{"valid-batches.json", "invalid-batches.json"} {
		var c conformance
		sharedJSON(t, &c, "cloudevents", file)
		for _, test := range c.Tests {
			in := Input{Key: []byte("u1"), Value: test.Batch, Timestamp: testArrival,
				Headers: []stream.Header{{Key: "content-type", Value: []byte("application/cloudevents-batch+json")}}}
			mapped := mappedDecoder(t, mapping.Event, DecoderOptions{}, map[string]string{"userId": "key"})
			for _, d := range []*Decoder{NewDecoder(DecoderOptions{}), mapped} {
				if _, rejected := d.Decode(Events, in); rejected == nil || rejected.Reason != UnsupportedFormat {
					t.Errorf("%s: %v", test.ID, rejected)
				}
			}
		}
	}
}

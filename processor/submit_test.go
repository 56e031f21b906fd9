package processor

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/segmentd/segmentd/processor/stream"
	"github.com/segmentd/segmentd/processor/wire"
	"github.com/segmentd/segmentd/processor/wire/mapping"
	"github.com/segmentd/segmentd/rules"
	"github.com/segmentd/segmentd/state/subject"
)

// outbox keeps what is sent.
type outbox struct{ sent []stream.Message }

func (o *outbox) Send(_ context.Context, messages []stream.Message) ([]stream.Produced, error) {
	o.sent = append(o.sent, messages...)
	return nil, nil
}

// What is submitted goes to the first input that can take it, as that input reads it;
// where none can, it is said what to configure, and what would be read otherwise is
// not sent.
func TestSubmit(t *testing.T) {
	set, problems := rules.Load(fstest.MapFS{"r.yaml": {Data: []byte(`purposes: [{key: ads, description: d, lawful_basis: consent, retention: 30d}, {key: orders, description: d, lawful_basis: contract, retention: 30d},
  {key: fraud, description: d, lawful_basis: legitimate_interests, retention: 30d}]
segments: [{key: s, purpose: ads, when: 'events("E").exists()'}]`)}})
	if set == nil {
		t.Fatal(problems)
	}
	last := func(_ []byte, n int32) int32 { return n - 1 }
	input := func(topic string, kind wire.Kind) Input {
		return Input{Topic: topic, Kind: kind, Partition: last, Decoder: wire.DecoderOptions{TimestampUnit: wire.Milliseconds}}
	}
	mapped, unknown := input("mapped", wire.Requests), input("unknown", wire.Requests)
	mapped.Decoder.Map, unknown.Partition = &mapping.Mapping{}, nil
	at := subject.FromTime(time.Date(2026, 1, 31, 0, 0, 0, 0, time.UTC))
	erase := Submission{wire.Requests, subject.ID{Type: subject.AnonymousID, Value: "a1"}, at, map[string]any{"requestId": "q-1", "request": "erase"}}
	decision := Submission{wire.Decisions, subject.ID{Value: "u1"}, at, map[string]any{"purpose": "ads", "status": "objected"}}
	decided := func(purpose, status string) Submission {
		s := decision
		s.Fields = map[string]any{"purpose": purpose, "status": status}
		return s
	}
	wrong := erase
	wrong.Fields = map[string]any{"requestId": strings.Repeat("q", subject.MaxIDBytes+1), "request": "erase"}
	for _, c := range []struct {
		name   string
		inputs []Input
		what   Submission
		want   string // topic and value, or a part of the error
	}{
		{"none", []Input{input("events", wire.Events)}, erase, "no input has kind request: add one"},
		{"a map", []Input{mapped}, erase, "mapped has a map"},
		{"any partitioner", []Input{unknown}, erase, "the partitioner of unknown is any"},
		{"the first that can", []Input{mapped, input("requests", wire.Requests), input("more", wire.Requests)}, erase,
			`requests {"anonymousId":"a1","request":"erase","requestId":"q-1","timestamp":1769817600000,"type":"request"}`},
		{"a decision", []Input{input("decisions", wire.Decisions)}, decision, `decisions {"purpose":"ads","status":"objected","timestamp":1769817600000,"type":"decision","userId":"u1"}`},
		{"an unknown purpose", []Input{input("decisions", wire.Decisions)}, decided("orderz", "objected"), "unknown_purpose: the rules declare no such purpose (nearest: orders); they declare ads, fraud, orders"},
		{"what no decision ends", []Input{input("decisions", wire.Decisions)}, decided("orders", "objected"), "nothing was sent: orders has the lawful basis contract, and no decision ends that"},
		{"what only an objection ends", []Input{input("decisions", wire.Decisions)}, decided("fraud", "withdrawn"), "nothing was sent: there is no consent to fraud, whose lawful basis is legitimate_interests; what ends it is an objection"},
		{"what an objection ends", []Input{input("decisions", wire.Decisions)}, decided("fraud", "objected"), `decisions {"purpose":"fraud"`},
		{"an id that would not be read", []Input{input("requests", wire.Requests)}, wrong, "requestId is longer"},
	} {
		o := &outbox{}
		p, err := New(Config{Group: "g", Partitions: 4, Inputs: c.inputs}, Deps{Rules: set, Producer: o})
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		if err = p.Submit(t.Context(), c.what); err != nil {
			got = err.Error()
		}
		for _, m := range o.sent {
			got += m.Topic + " " + string(m.Value)
			if m.Partition != 3 || string(m.Key) != c.what.Subject.Value {
				t.Errorf("%s: sent to partition %d under the key %s", c.name, m.Partition, m.Key)
			}
		}
		if !strings.Contains(got, c.want) || len(o.sent) > 1 {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
	p, err := New(Config{Group: "g", Partitions: 4, Inputs: []Input{input("requests", wire.Requests)}}, Deps{Rules: set, Producer: &outbox{}})
	if err != nil {
		t.Fatal(err)
	}
	p.sending <- struct{}{} // somebody else sends, for long
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := p.Submit(ctx, erase); !errors.Is(err, context.Canceled) {
		t.Errorf("of one who waits no longer: %v", err)
	}
}

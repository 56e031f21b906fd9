package processor

import (
	"slices"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/segmentd/segmentd/processor/stream"
	"github.com/segmentd/segmentd/processor/wire"
	"github.com/segmentd/segmentd/rules/schematest"
	"github.com/segmentd/segmentd/state/subject"
)

// Changes in Segment's format hold to their schema, say what those in our own
// say, and are records that an events input takes.
func TestSegmentOutput(t *testing.T) {
	h := newHistory(seed(t), 600)
	published := map[wire.OutputFormat][]subject.Change{}
	text, _ := wire.Schema("change-segment")
	compiled := schematest.Compile(t, text)
	for _, format := range []wire.OutputFormat{wire.FormatSegmentd, wire.FormatSegment} {
		t.Run(format.String(), func(t *testing.T) {
			l := newLab(t, labConfig{partitions: 1})
			l.cfg.OutputFormat = format
			l.holdClock(h.events[0].at)
			l.produce(h.all()...)
			r := l.start()
			r.read()
			r.stop()
			published[format] = l.changes()
			if format == wire.FormatSegment {
				checkAudienceCalls(t, compiled, l.readTopic(Topics{l.cfg.Group}.Changes("")))
			}
		})
	}
	if len(published[wire.FormatSegment]) == 0 || !slices.Equal(published[wire.FormatSegmentd], published[wire.FormatSegment]) {
		t.Errorf("%d changes in our own format, %d other ones in Segment's", len(published[wire.FormatSegmentd]), len(published[wire.FormatSegment]))
	}
}

func checkAudienceCalls(t *testing.T, schema *jsonschema.Schema, records []stream.Record) {
	t.Helper()
	d := wire.NewDecoder(wire.DecoderOptions{})
	for _, record := range records {
		if err := schema.Validate(schematest.JSON(t, record.Value)); err != nil {
			t.Fatal(err)
		}
		item, rejected := d.Decode(wire.Events, wire.Input{Key: record.Key, Value: record.Value, Timestamp: subject.Never})
		if rejected != nil || item.Event.Name != "Audience Entered" && item.Event.Name != "Audience Exited" || item.Event.MessageID == "" {
			t.Fatalf("%s: %v", record.Value, rejected)
		}
	}
}

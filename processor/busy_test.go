package processor

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/segmentd/segmentd/processor/wire"
	"github.com/segmentd/segmentd/processor/wire/mapping"
)

// costly is a map whose evaluation takes some milliseconds a record, within its bounds.
var costly = map[string]string{"userId": "value.id", "event": `value.list.all(a, value.list.all(b, a + b >= 0)) ? "Order Completed" : "none"`}

// What keeps a partition busy for long is told while it does, and a stop does not
// wait for it.
func TestBusyPartitionSaysWhatItIsAt(t *testing.T) {
	l := newLab(t, labConfig{rules: clockRules, partitions: 1})
	m, problems := mapping.Compile(mapping.Kind(wire.Events.String()), costly)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	l.cfg.Inputs[0].Decoder = wire.DecoderOptions{Format: wire.FormatJSON, Map: m}
	l.cfg.busyTold, l.cfg.busyLimit = 20*time.Millisecond, 40*time.Millisecond
	list := strings.Repeat("1,", 80) + "1"
	var records []record
	for range 3000 {
		records = append(records, record{topic: events, key: "u1", value: fmt.Sprintf(`{"id":"u1","list":[%s]}`, list)})
	}
	l.produceAtOnce(records)
	r := l.start()
	var st PartitionState
	eventually(t, "the partition is busy", func() bool { st = r.stateOf(0); return st.Busy != nil })
	if st.Ready || st.Busy.Topic != events || st.Busy.For < l.cfg.busyLimit || st.Busy.Offset >= int64(len(records)) {
		t.Errorf("%+v %+v", st, st.Busy)
	}
	eventually(t, "the log says so", func() bool {
		text := l.log.String()
		return strings.Contains(text, "a batch takes long to be judged") && strings.Contains(text, "topic=events offset=")
	})
	r.stop()
	if n := r.metric(t, "segmentd_events_total"); n > 0 {
		t.Errorf("%g events were judged before the stop", n)
	}
}

// A partition that is done with what kept it busy is ready again.
func TestPartitionIsReadyOnceItIsNotBusy(t *testing.T) {
	l := newLab(t, labConfig{rules: clockRules, partitions: 1})
	l.cfg.busyLimit = time.Nanosecond
	r := l.start()
	l.produce(given("u1", "marketing", ago(time.Hour)), track("u1", "Order Completed", "m1", ago(time.Hour)))
	r.read()
	eventually(t, "it is at work", func() bool { st := r.stateOf(0); return st.Ready && st.Busy == nil })
	r.stop()
}

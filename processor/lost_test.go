package processor

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/segmentd/segmentd/processor/kafka"
	"github.com/segmentd/segmentd/processor/stream"
	"github.com/segmentd/segmentd/state"
	"github.com/segmentd/segmentd/state/subject"
)

// stopsFor checks that a start ends for a reason, and that nothing is written.
func (l *lab) stopsFor(why ...string) {
	l.t.Helper()
	written := l.changelogEnd()
	err := l.start().fails()
	var stopped *StoppedError
	if !errors.As(err, &stopped) {
		l.t.Fatalf("the processor ended with %v", err)
	}
	for _, text := range why {
		if !strings.Contains(err.Error(), text) {
			l.t.Errorf("%q does not say %q", err, text)
		}
	}
	if end := l.changelogEnd(); end != written {
		l.t.Errorf("the changelog ends at %d, was at %d", end, written)
	}
}

// A changelog that was deleted and made anew while nobody ran is not begun anew,
// where an image or the group's offsets tell that there was one: all would be
// published a second time. Put back it is gone on from, in whatever image's place.
func TestLostChangelogIsNotBegunAnew(t *testing.T) {
	l := newLab(t, labConfig{rules: clockRules, partitions: 1})
	at := ago(time.Hour)
	l.holdClock(at)
	l.produce(given("u1", "marketing", at), track("u1", "Order Completed", "m1", at))
	r := l.start()
	r.read()
	r.stop()
	earlier := t.TempDir() + "/data"
	copyImage(t, l.data, earlier)
	l.produce(track("u1", "Order Completed", "m2", at))
	r = l.start()
	r.read()
	want := r.digests()
	r.stop()
	changelog := Topics{l.cfg.Group}.Changelog()
	kept := l.readTopic(changelog)
	before := len(l.changes())
	l.remake(changelog)

	l.stopsFor(changelog+" has no checkpoint of partition 0", "the local image is at transaction", "Put the topic back", "another group", "delete the image directories")
	data := l.data
	for name, other := range map[string]string{"an earlier image": earlier, "no image": t.TempDir() + "/data"} {
		t.Run(name, func(t *testing.T) {
			l.data = other
			l.stopsFor("the topic was deleted and made anew")
		})
	}
	if n := len(l.changes()); n != before {
		t.Errorf("%d changes are published, were %d", n, before)
	}
	l.producer = l.client.NewProducer(kafka.ProducerConfig{})
	for _, rec := range kept {
		_, err := l.producer.Send(t.Context(), []stream.Message{{Topic: changelog, Key: rec.Key, Value: rec.Value, Timestamp: subject.FromTime(time.Now())}})
		must(t, err)
	}
	for _, l.data = range []string{data, earlier, t.TempDir() + "/data"} {
		r = l.start()
		r.read()
		if got := r.digests(); got[0] != want[0] {
			t.Errorf("put back, the state is %v, was %v", got, want)
		}
		r.stop()
	}
	l.verify(l.changes())

	// With nothing that tells of it, a group begins: a new machine, or one that starts over.
	l.remake(changelog)
	l.forgetOffsets()
	must(t, os.RemoveAll(l.data))
	r = l.start()
	r.read()
	r.stop()
}

// A record of somebody else on the changelog ends a restore, and the message says
// where it is and how to be rid of it: a tombstone is enough.
func TestForeignRecordsOnTheChangelog(t *testing.T) {
	for name, key := range map[string]string{"another key": "hello", "a key like a subject's": "sixteen bytes, no"[:16], "no key": ""} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t, labConfig{rules: clockRules, partitions: 1})
			at := ago(time.Hour)
			l.produce(given("u1", "marketing", at), track("u1", "Order Completed", "m1", at))
			r := l.start()
			r.read()
			want := r.digests()
			r.stop()
			changelog, foreign := Topics{l.cfg.Group}.Changelog(), l.changelogEnd()
			put := func(value []byte) {
				_, err := l.producer.Send(t.Context(), []stream.Message{{Topic: changelog, Key: []byte(key), Value: value, Timestamp: subject.FromTime(time.Now())}})
				must(t, err)
			}
			put([]byte("\x01hello"))
			data := l.data
			for _, l.data = range []string{data, t.TempDir() + "/data"} {
				var stopped *StoppedError
				if err := l.start().fails(); !errors.As(err, &stopped) || !strings.Contains(err.Error(), fmt.Sprintf("%s partition 0, offset %d", changelog, foreign)) || !strings.Contains(err.Error(), "write a tombstone") {
					t.Errorf("the processor ended with %v", err)
				}
			}
			put(nil)
			for _, l.data = range []string{data, t.TempDir() + "/data"} {
				r = l.start()
				r.read()
				if got := r.digests(); got[0] != want[0] {
					t.Errorf("the state is %v, was %v", got, want)
				}
				r.stop()
			}
			l.verify(l.changes())
		})
	}
}

// A record of somebody else under the checkpoint's key stops who reads it as the last
// one. Once the owner has committed again, an image that is restored does without it.
func TestForeignCheckpointOnTheChangelog(t *testing.T) {
	l := newLab(t, labConfig{rules: clockRules, partitions: 1})
	at := ago(time.Hour)
	l.produce(given("u1", "marketing", at), track("u1", "Order Completed", "m1", at))
	r := l.start()
	r.read()
	changelog, foreign := Topics{l.cfg.Group}.Changelog(), l.changelogEnd()
	put := func() {
		_, err := l.producer.Send(t.Context(), []stream.Message{{Topic: changelog, Key: state.CheckpointKey, Value: []byte("hello"), Timestamp: subject.FromTime(time.Now())}})
		must(t, err)
	}
	put()
	l.produce(track("u1", "Order Completed", "m2", at))
	r.read()
	want := r.digests()
	r.stop()
	if end := l.changelogEnd(); end <= foreign+1 {
		t.Fatalf("nothing was committed after offset %d", foreign)
	}
	l.data = t.TempDir() + "/data"
	r = l.start()
	r.read()
	if got := r.digests(); got[0] != want[0] {
		t.Errorf("the state is %v, was %v", got, want)
	}
	r.stop()
	l.verify(l.changes())

	last := l.changelogEnd()
	put()
	l.data = t.TempDir() + "/data"
	var refused *ConfigError
	if err := l.start().fails(); !errors.As(err, &refused) || !strings.Contains(err.Error(), fmt.Sprintf("%s partition 0, offset %d,", changelog, last)) {
		t.Errorf("the processor ended with %v", err)
	}
}

package processor

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// remakings are when an input is deleted and made anew.
var remakings = map[string]bool{"while it runs": true, "while it is stopped": false}

// A decisions topic that was deleted and made anew, and has grown past where it
// was read, stops its partitions; once that is accepted it is read from its start,
// and no restart stops there again.
func TestDecisionsMadeAnewStopTheirPartition(t *testing.T) {
	for name, runs := range remakings {
		t.Run(name, func(t *testing.T) {
			l := newLab(t, labConfig{rules: clockRules, partitions: 1})
			l.cfg.topicWatch = 20 * time.Millisecond
			at := ago(time.Hour)
			l.produce(given("u1", "marketing", at), given("u2", "marketing", at), track("u1", "Order Completed", "m1", at), track("u2", "Order Completed", "m2", at))
			r := l.start()
			r.read()
			if !runs {
				r.stop()
			}
			l.remakeInput(decisions)
			later := at.Add(time.Minute)
			l.produce(decision("u1", "marketing", "withdrawn", later), given("u3", "marketing", later), given("u4", "marketing", later), given("u5", "marketing", later))
			if !runs {
				r = l.start()
			}
			gap := r.stops(0)
			if gap.From < 2 || gap.To != 0 || gap.Anew == "" || gap.Records() != 1 { // while it runs, some of the new one may have been taken for the old one
				t.Fatalf("the gap is %+v", gap)
			}
			if text := l.log.String(); !strings.Contains(text, "anew=true") || !strings.Contains(text, "resume --partition 0 --accept-gap") {
				t.Errorf("the log does not say what has happened:\n%s", text)
			}
			r.crash()
			r = l.start()
			if got := r.stops(0); got != gap {
				t.Fatalf("after a crash the gap is %s, want %s", got, gap)
			}
			must(t, r.processor.Resume(background(t), 0, true))
			r.crash()
			r = l.start()
			r.read()
			if st := r.stateOf(0); !st.Ready || len(st.Accepted) != 1 || st.Accepted[0].Gap != gap {
				t.Errorf("after the acceptance: %+v", st)
			}
			if got := l.membersOf(r, "u1"); got != "" {
				t.Errorf("u1 has withdrawn on the new topic, and is in %s", got)
			}
			eventually(t, "u3, who has consented on the new topic, is known once the clock is there", func() bool { return l.membersOf(r, "u3") == "known" })
			r.stop()
			l.verify(l.changes())
		})
	}
}

// So does a topic of requests: erasures may be missing.
func TestRequestsMadeAnewStopTheirPartition(t *testing.T) {
	l := newLab(t, labConfig{rules: clockRules, partitions: 1})
	at := ago(time.Hour)
	l.produce(given("u1", "marketing", at), request("u2", "q-1", "access", at))
	r := l.start()
	r.read()
	r.stop()
	l.remakeInput(requests)
	l.produce(request("u1", "q-2", "erase", at.Add(time.Minute)), request("u2", "q-3", "access", at.Add(time.Minute)))
	r = l.start()
	if gap := r.stops(0); gap.Topic != requests || gap.From != 1 || gap.To != 0 || gap.Anew == "" {
		t.Fatalf("the gap is %+v", gap)
	}
	must(t, r.processor.Resume(background(t), 0, true))
	r.read()
	if got := l.membersOf(r, "u1"); got != "" {
		t.Errorf("u1 is erased by a request on the new topic, and is in %s", got)
	}
	r.stop()
}

// An events topic that was deleted and made anew is read from its start, and the
// segments that events concern say since when they are complete.
func TestEventsMadeAnewAreReadFromTheStart(t *testing.T) {
	for name, runs := range remakings {
		for _, read := range []int{1, 4} { // of the old topic: less or more than the new one holds
			t.Run(fmt.Sprintf("%s, after %d", name, read), func(t *testing.T) {
				l := newLab(t, labConfig{rules: coveredRules, partitions: 1})
				l.cfg.topicWatch = 20 * time.Millisecond
				at := ago(time.Hour)
				l.produce(given("u1", "marketing", at))
				for i := range read {
					l.produce(track("u1", "Unread", fmt.Sprint("old", i), at))
				}
				r := l.start()
				r.read()
				if !runs {
					r.stop()
				}
				l.remakeInput(events)
				l.produce(track("u1", "Order Completed", "first", at.Add(time.Minute)), track("u1", "Order Completed", "second", at.Add(2*time.Minute)))
				if !runs {
					r = l.start()
				}
				eventually(t, "the new topic is read from its start", func() bool { return len(only(causes(l.changes()), "first")) > 0 })
				r.read()
				if n := r.metric(t, "segmentd_overtaken_records_total", "topic", events); n != 1 {
					t.Errorf("%v losses are counted, want 1", n)
				}
				for range 2 { // it is told of once
					r.crash()
					r = l.start()
					r.read()
				}
				if c, ok := r.processor.Coverage("buyer"); !ok || c.From.Time().Before(at.Add(time.Second)) {
					t.Errorf("the coverage of buyer is %v %+v", ok, c)
				}
				r.stop()
				if n := strings.Count(l.log.String(), "an event topic was deleted and made anew"); n < 1 || n > 2 {
					t.Errorf("it was told %d times", n)
				}
				l.verify(l.changes())
			})
		}
	}
}

// Topics made anew before anything of them was read lose nothing that is known of.
func TestInputsMadeAnewBeforeTheyAreRead(t *testing.T) {
	l := newLab(t, labConfig{rules: clockRules, partitions: 1})
	r := l.start()
	r.read()
	r.stop()
	l.remakeInput(decisions)
	l.remakeInput(events)
	l.produce(given("u1", "marketing", ago(time.Hour)), track("u1", "Order Completed", "m1", ago(time.Hour)))
	r = l.start()
	r.read()
	r.stop()
	if len(only(causes(l.changes()), "m1")) == 0 {
		t.Error("the new topics were not read")
	}
}

// A checkpoint from before topics' ids were kept is gone on from, and has them
// then.
func TestCheckpointsWithoutTopicIDs(t *testing.T) {
	l := newLab(t, labConfig{rules: clockRules, partitions: 1})
	l.produce(given("u1", "marketing", ago(time.Hour)))
	ids := l.topicIDs
	l.topicIDs = nil
	r := l.start()
	r.read()
	r.stop()
	l.topicIDs = ids
	r = l.start()
	r.read()
	var topics []string
	r.inspect(0, func(p *partitionLoop) {
		for topic, id := range p.checkpoint.Topics {
			topics = append(topics, topic)
			if id == "" {
				t.Errorf("%s has no id", topic)
			}
		}
	})
	r.stop()
	if slices.Sort(topics); !slices.Equal(topics, []string{decisions, events, requests}) {
		t.Errorf("ids are kept of %q", topics)
	}
	l.kept()
	l.verify(l.changes())
}

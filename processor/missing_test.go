package processor

import (
	"strings"
	"testing"
	"time"
)

// Somebody deletes a topic of a former output before those who were in its
// segments have left: the log says what is missing, and the change goes on once
// it is back.
func TestFormerOutputDeletedTooEarly(t *testing.T) {
	l := newLab(t, labConfig{rules: strings.Replace(beforeRules, "retention: 60d", "retention: 60d, output: letters", 1), partitions: 1})
	l.cfg.patience = 50 * time.Millisecond
	l.holdClock(ago(day))
	l.produce(given("u1", "marketing", ago(2*day)), track("u1", "Order Completed", "m", ago(day)))
	r := l.start()
	r.read()
	former := Topics{l.cfg.Group}.Changes("letters")
	left := len(l.readTopic(former))
	l.broker.DeleteTopic(former)
	_, err := r.reload(strings.Replace(beforeRules, "revision: 3", "revision: 4", 1), true)
	must(t, err)
	eventually(t, "the log names the topic", func() bool {
		return strings.Contains(l.log.String(), "a topic is missing") && strings.Contains(l.log.String(), "topic="+former+" partitions=1")
	})
	if strings.Contains(l.log.String(), "topic="+(Topics{l.cfg.Group}).Members("letters")+" ") {
		t.Error("the log names a topic that is there")
	}
	l.broker.CreateTopic(former, l.cfg.Partitions)
	r.changed()
	r.stop()
	if n := len(l.readTopic(former)); n == 0 || n != left {
		t.Errorf("%d left the former output's segments, %d had entered", n, left)
	}
}

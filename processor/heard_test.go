package processor

import (
	"slices"
	"strings"
	"testing"
	"time"
)

// TestALeakIsHeard holds that what processors of these tests log and count is heard
// and the ids in what they read are noted, so that a leak ends the suite: of one that
// is planted, with a text that is nobody's id.
func TestALeakIsHeard(t *testing.T) {
	l := newLab(t, labConfig{partitions: 1})
	r := l.start()
	l.produce(given("overheard-1", "marketing", ago(time.Hour)), track("overheard-1", "Order Completed", "message-2", ago(time.Hour)))
	r.caughtUp()
	l.log.logger().Debug("planted", "subject", "planted-3")
	r.stop()
	for _, id := range []string{"overheard-1", "message-2"} {
		if !heard.Keeps(id) {
			t.Errorf("%s is not listened for", id)
		}
	}
	for text, place := range map[string]string{"planted-3": "the log", "all assigned partitions are ready": "the log", "no_decision": "metrics"} {
		if told := heard.Tells(text); !slices.ContainsFunc(told, func(s string) bool { return strings.Contains(s, "in "+place) }) {
			t.Errorf("%q is not heard in %s: %q", text, place, told)
		}
	}
}

package processor

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/segmentd/segmentd/processor/stream"
	"github.com/segmentd/segmentd/state"
)

// The secret is compared before anything is opened: with the newest checkpoint
// that can be read, whatever else is behind it on the changelog.
func TestCheckGroup(t *testing.T) {
	l := newLab(t, labConfig{rules: clockRules, partitions: 2})
	right, wrong := state.NewKeyer([]byte(l.secret)).Fingerprint(), state.NewKeyer([]byte("another secret of sixteen bytes")).Fingerprint()
	check := func(fingerprint string) error {
		return CheckGroup(t.Context(), l.cfg, Deps{Fetcher: l.fetcher, Bounds: l.bounds, Secret: fingerprint})
	}
	l.watermarks(Topics{l.cfg.Group}.Changelog()) // once there are leaders
	must(t, check(wrong))                         // nothing was written yet
	l.only = []int32{1}
	at := ago(time.Hour)
	l.produce(given("u1", "marketing", at))
	r := l.start()
	eventually(t, "the decision is in force", func() bool { return r.stateOf(1).Ready })
	r.stop()
	refused := func() {
		t.Helper()
		must(t, check(right))
		err := check(wrong)
		var configured *ConfigError
		if !errors.As(err, &configured) || !strings.Contains(err.Error(), "give the same secret as before") || !strings.Contains(err.Error(), right) {
			t.Errorf("with another secret the error is %v", err)
		}
	}
	refused()
	stranger := l.transactor("somebody-else")
	must(t, stranger.Init(background(t)))
	for piece := range 3 { // beyond the first look back, aborted, and no checkpoints
		var noise []stream.Message
		for i := range 50 {
			noise = append(noise, stream.Message{Topic: Topics{l.cfg.Group}.Changelog(), Partition: 1, Key: fmt.Appendf(nil, "noise %d %d", piece, i), Value: []byte("none")})
		}
		_, err := stranger.Produce(background(t), noise)
		must(t, err)
	}
	refused()
	must(t, stranger.Abort(background(t)))
	_, err := l.producer.Send(t.Context(), []stream.Message{{Topic: Topics{l.cfg.Group}.Changelog(), Partition: 1, Key: state.CheckpointKey, Value: []byte("unreadable")}})
	must(t, err)
	refused()
}

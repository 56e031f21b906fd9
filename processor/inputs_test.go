package processor

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/segmentd/segmentd/processor/wire"
	"github.com/segmentd/segmentd/state"
)

// refusedInputs checks that a start with the present inputs is refused, before
// the group is joined and, where that is too late, before anything is written.
func (l *lab) refusedInputs(topic string) {
	l.t.Helper()
	deps := Deps{Fetcher: l.fetcher, Bounds: l.bounds, Secret: state.NewKeyer([]byte(l.secret)).Fingerprint()}
	for _, err := range []error{CheckGroup(l.t.Context(), l.cfg, deps), l.start().fails()} {
		var configured *ConfigError
		if !errors.As(err, &configured) || !strings.Contains(err.Error(), "the inputs lack "+topic) || !strings.Contains(err.Error(), "--drop-input "+topic) {
			l.t.Errorf("without %s: %v", topic, err)
		}
	}
}

// An instance without an input that the group has read is refused, until it is
// said that the input is dropped; from then on nothing need be said, also where
// the changelog still has checkpoints of before. New inputs are free.
func TestInputsThatAreLeftOutAreRefused(t *testing.T) {
	l := newLab(t, labConfig{rules: clockRules, partitions: 1})
	at := ago(time.Hour)
	l.produce(given("u1", "marketing", at), track("u1", "Order Completed", "m1", at))
	all := slices.Clone(l.cfg.Inputs[:2])
	before := l.changelogEnd()
	l.cfg.Inputs = all[:1]
	r := l.start() // the first one to start says what is read
	r.read()
	r.stop()
	l.cfg.Inputs = all
	r = l.start() // an input more
	r.read()
	if got := l.membersOf(r, "u1"); got != "known" {
		t.Errorf("the new input was not read from its start: u1 is in %q", got)
	}
	r.stop()
	if l.changelogEnd() == before {
		t.Fatal("nothing was written")
	}
	written := l.changelogEnd()
	l.cfg.Inputs = all[:1]
	l.refusedInputs(decisions)
	l.cfg.DropInputs = []string{"else"}
	l.refusedInputs(decisions)
	if l.changelogEnd() != written {
		t.Error("a refused start has written")
	}
	l.cfg.DropInputs = []string{decisions}
	r = l.start()
	r.read()
	r.stop()
	if n := strings.Count(l.log.String(), "an input is dropped"); n != 1 {
		t.Errorf("it was told %d times", n)
	}
	l.cfg.DropInputs, l.data = nil, t.TempDir()+"/data"
	r = l.start()
	r.read()
	r.inspect(0, func(p *partitionLoop) {
		if _, kept := p.checkpoint.Positions[decisions]; kept || p.checkpoint.Topics[decisions] != "" {
			t.Errorf("the checkpoint is %+v", p.checkpoint)
		}
	})
	r.stop()
	l.cfg.Inputs = []Input{l.input(events, wire.Events), l.input(decisions, wire.Decisions)}
	r = l.start() // as a new one
	r.read()
	r.stop()
	l.kept()
	l.verify(l.changes())
}

func (l *lab) changelogEnd() int64 {
	l.t.Helper()
	return l.watermarks(Topics{l.cfg.Group}.Changelog())[0].End
}

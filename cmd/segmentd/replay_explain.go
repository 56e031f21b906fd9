package main

import (
	"io"
	"slices"

	"github.com/spf13/pflag"

	"github.com/segmentd/segmentd/processor/core"
	"github.com/segmentd/segmentd/processor/replay"
	"github.com/segmentd/segmentd/rules"
	"github.com/segmentd/segmentd/state/subject"
)

// explainFlags are replay's flags of an explanation.
type explainFlags struct {
	user    string
	idType  string
	segment string
	output  string
	index   int // of the segment; -1: all
}

func (f *explainFlags) add(fs *pflag.FlagSet) {
	fs.StringVar(&f.user, "explain", "", `instead of the changes, explain this subject's memberships at the end ("-": read the id from stdin)`)
	fs.StringVar(&f.segment, "segment", "", "with --explain: only of this segment")
	fs.StringVar(&f.idType, "id-type", "userId", "with --explain: userId or anonymousId")
	fs.StringVar(&f.output, "output", "text", "with --explain: text or json")
}

func (f *explainFlags) wanted() bool { return f.user != "" }

// read checks the flags and reads the subject's id where it is not among them.
func (f *explainFlags) read(inv *invocation, members bool) error {
	if !f.wanted() {
		if f.segment != "" {
			return usagef("--segment needs --explain")
		}
		return nil
	}
	if members {
		return usagef("give either --explain or --members")
	}
	if f.output != "text" && f.output != "json" || f.idType != "userId" && f.idType != "anonymousId" {
		return usagef("--id-type is userId or anonymousId, --output is text or json")
	}
	if f.user != "-" {
		return checkUser(f.user)
	}
	if slices.Contains(inv.args, "-") {
		return usagef("stdin cannot be both the subject's id and a FILE")
	}
	user, err := readLine(inv.in)
	if err != nil {
		return inputError(err)
	}
	f.user = user
	return checkUser(user)
}

// find finds the segment among the rules.
func (f *explainFlags) find(set *rules.Set) error {
	if f.index = -1; f.segment == "" {
		return nil
	}
	i, ok := set.SegmentByKey(f.segment)
	if !ok {
		return usagef("%s", set.NoSegment(f.segment))
	}
	f.index = i
	return nil
}

// write explains the subject as it stands at the end of a replay.
func (f *explainFlags) write(w io.Writer, cfg replay.Config, records *core.Memory, clock subject.Instant) error {
	engine := core.New(cfg.Rules, cfg.Core)
	if err := engine.Assume(cfg.AssumeConsent); err != nil {
		return err
	}
	id := subject.ID{Value: f.user}
	if f.idType == "anonymousId" {
		id.Type = subject.AnonymousID
	}
	r, err := records.Get(id)
	if err != nil {
		return err
	}
	if r == nil {
		r = subject.NewRecord(id)
	}
	if f.index < 0 {
		all := engine.Explainer().ExplainAll(r, clock)
		return writeExplanation(w, &all, f.output)
	}
	one := engine.Explain(r, f.index, clock)
	return writeExplanation(w, &one, f.output)
}

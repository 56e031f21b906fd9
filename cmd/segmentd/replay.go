package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/spf13/pflag"

	"github.com/segmentd/segmentd/config"
	"github.com/segmentd/segmentd/processor/core"
	"github.com/segmentd/segmentd/processor/replay"
	"github.com/segmentd/segmentd/processor/wire"
	"github.com/segmentd/segmentd/rules"
	"github.com/segmentd/segmentd/state/subject"
)

type replayFlags struct {
	replayInput
	members bool
	group   string
	explain explainFlags
}

// replayInput is what all commands that replay files ask of how to read them.
type replayInput struct {
	files   fileInputs
	until   string
	assume  []string
	lenient bool
	unit    string
	dedupe  time.Duration
}

func (f *replayInput) addFlags(fs *pflag.FlagSet) {
	fs.StringVar(&f.until, "until", "", "move the clock on to this instant at the end (RFC 3339, or a date for its midnight UTC); what is due exactly then happens once it is past it")
	fs.StringSliceVar(&f.assume, "assume-consent", nil, "purposes to which every subject counts as having consented before its first input")
	fs.BoolVar(&f.lenient, "lenient", false, "exit 0 although lines were skipped")
	fs.StringVar(&f.unit, "timestamp-unit", "rfc3339", "what timestamps are: rfc3339, s, ms or us (without --config)")
	fs.DurationVar(&f.dedupe, "dedupe-window", 24*time.Hour, "how long message ids are remembered")
	f.files.addFlags(fs)
}

// config is the part of a replay's configuration that the flags decide.
func (f *replayInput) config(inv *invocation) (replay.Config, error) {
	until, err := f.untilInstant()
	if err != nil {
		return replay.Config{}, err
	}
	if err := f.files.load(inv); err != nil {
		return replay.Config{}, err
	}
	unit, err := wire.ParseTimestampUnit(f.unit)
	if err != nil {
		return replay.Config{}, usagef("--timestamp-unit: %w", err)
	}
	return replay.Config{Core: core.Config{DedupeWindow: f.dedupe}, Until: until, AssumeConsent: f.assume,
		Decoder: wire.DecoderOptions{TimestampUnit: unit, UnitSetting: "--timestamp-unit ", MaxRecordBytes: maxReplayRecordBytes},
		Problem: func(file string, line int64, what string) { fmt.Fprintf(inv.err, "%s:%d: %s\n", file, line, what) }}, nil
}

func replayCommand() command {
	return command{
		name: "replay", args: "[TOPIC=]FILE…", summary: "Run the rules over files instead of Kafka",
		details: `
Reads events and decisions as NDJSON ("-" is stdin; .gz and .zst are decompressed) and writes the membership changes
to stdout as NDJSON, in order, or with --members the memberships at the end. One file is taken in its own order,
several are merged by timestamp (ties: decisions before events). The clock is the newest timestamp seen.
A line that cannot be used is reported as file:line and skipped, a decision that cannot be understood is reported and
counts as refused; the exit status is then 1, unless --lenient. With --explain stdout has only the explanation.
` + fileInputsHelp + `

  segmentd replay --rules rules --until 2026-02-01T00:00:00Z decisions.ndjson events.ndjson.gz
  segmentd replay --rules rules --config segmentd.yaml shop.consent=decisions.ndjson shop.events=events.ndjson.gz`,
		setup: func(fs *pflag.FlagSet) func(context.Context, *invocation) error {
			var f replayFlags
			config.AddFlags(fs, "rules")
			fs.BoolVar(&f.members, "members", false, "write the memberships at the end instead of the changes")
			fs.StringVar(&f.group, "group", "segmentd", "consumer group from which the ids of changes are derived")
			f.addFlags(fs)
			f.explain.add(fs)
			return func(ctx context.Context, inv *invocation) error { return f.run(ctx, inv) }
		},
	}
}

func (f *replayFlags) run(ctx context.Context, inv *invocation) error {
	cfg, err := f.config(inv)
	if err != nil {
		return err
	}
	if f.files.rules == "" || len(inv.args) == 0 {
		return usagef("give --rules DIR and at least one FILE")
	}
	if err := f.explain.read(inv, f.members); err != nil {
		return err
	}
	set, err := loadRules(inv, f.files.rules)
	if err != nil {
		return err
	}
	if err := errors.Join(f.explain.find(set), f.checkAssumed(set)); err != nil {
		return err
	}
	sources, closeAll, err := f.openSources(inv)
	if err != nil {
		return err
	}
	defer closeAll()
	out := bufio.NewWriterSize(inv.out, 256<<10)
	cfg.Rules = set
	if !f.members && !f.explain.wanted() {
		cfg.Change = changeWriter(out, f.group, set.Hash)
	}
	began := time.Now()
	records, summary, err := replay.Run(ctx, cfg, sources)
	switch {
	case err != nil:
	case f.explain.wanted():
		err = f.explain.write(out, cfg, records, summary.Clock)
	case f.members:
		err = writeMembers(out, replay.Members(set, records))
	}
	if err = errors.Join(err, out.Flush()); err != nil {
		return inputError(err)
	}
	printSummary(inv.err, summary, time.Since(began))
	if summary.Skipped+summary.Refusals > 0 && !f.lenient {
		return inputError(errPrinted)
	}
	return nil
}

// maxReplayRecordBytes is Kafka's default bound of a record, as live.
const maxReplayRecordBytes = 1 << 20

func (f *replayInput) untilInstant() (subject.Instant, error) {
	if f.until == "" {
		return subject.Never, nil
	}
	t, err := subject.ParseDateOrInstant(f.until)
	if err != nil {
		return 0, usagef("--until %q: %w; write 2026-01-31T10:00:00Z, or a date for its midnight (UTC)", f.until, err)
	}
	return t, nil
}

// checkAssumed looks for the purposes of --assume-consent among those of rule sets.
func (f *replayInput) checkAssumed(sets ...*rules.Set) error {
	var known []string
	for _, set := range sets {
		for i := range set.Purposes {
			known = append(known, set.Purposes[i].Key)
		}
	}
	for _, purpose := range f.assume {
		if !slices.Contains(known, purpose) {
			return usagef("--assume-consent: no purpose %q in the rules%s", purpose, rules.Hint(purpose, known))
		}
	}
	return nil
}

// loadRules loads a rules directory and prints its problems.
func loadRules(inv *invocation, dir string) (*rules.Set, error) {
	set, problems := rules.LoadDir(dir)
	if set == nil {
		_ = rules.WriteProblems(inv.err, problems)
		return nil, inputError(fmt.Errorf("the rules in %s have errors", dir))
	}
	return set, nil
}

func (f *replayInput) openSources(inv *invocation) (sources []replay.Source, closeAll func(), err error) {
	var open []io.Closer
	closeAll = func() {
		for _, c := range open {
			_ = c.Close() // files opened for reading
		}
	}
	for _, arg := range inv.args {
		s, c, err := f.files.open(inv, arg)
		if err != nil {
			closeAll()
			return nil, nil, err
		}
		sources, open = append(sources, s), append(open, c)
	}
	return sources, closeAll, nil
}

func changeWriter(w io.Writer, group, ruleSet string) func(*subject.Change) error {
	encoder := wire.NewEncoder(wire.EncoderOptions{Group: group, RuleSet: ruleSet})
	var line []byte
	return func(c *subject.Change) error {
		line = append(encoder.AppendChange(line[:0], c), '\n')
		_, err := w.Write(line)
		return err
	}
}

// memberLine is a membership as --members writes it.
type memberLine struct {
	Segment string `json:"segment"`
	UserID  string `json:"userId"`
	IDType  string `json:"idType,omitempty"` // of anonymous ids only
	Since   string `json:"since"`
}

func writeMembers(w io.Writer, members []replay.Member) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	for _, m := range members {
		line := memberLine{Segment: m.Segment, UserID: m.Subject.Value, Since: m.Since.String()}
		if m.Subject.Type != subject.UserID {
			line.IDType = m.Subject.Type.String()
		}
		if err := e.Encode(line); err != nil {
			return err
		}
	}
	return nil
}

func printSummary(w io.Writer, s replay.Summary, took time.Duration) {
	fmt.Fprint(w, s.String())
	var events uint64
	for _, n := range s.Events {
		events += n
	}
	fmt.Fprintf(w, "seconds   %.2f (%.0f events/s)\n", took.Seconds(), float64(events)/max(took.Seconds(), 1e-9))
}

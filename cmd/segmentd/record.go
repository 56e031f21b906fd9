package main

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"github.com/segmentd/segmentd/config"
	"github.com/segmentd/segmentd/processor"
	"github.com/segmentd/segmentd/processor/transparency"
	"github.com/segmentd/segmentd/rules"
)

// documentFlags are those of a document made of the rules and the configuration.
type documentFlags struct {
	output string
	strict bool
	live   bool
}

func (f *documentFlags) add(fs *pflag.FlagSet, outputs string) {
	config.AddFlags(fs, "config", "rules", "group", "embedded", "brokers")
	fs.BoolVar(&f.live, "live", false, "ask the brokers for the settings of topics; else they are as segmentd creates them")
	fs.StringVar(&f.output, "output", f.output, outputs)
	fs.BoolVar(&f.strict, "strict", false, "end with status 1 where something is not stated")
}

func recordCommand() command {
	return command{
		name: "record", summary: "Print the record of processing activities (GDPR article 30)",
		details: `
Made of the rules and the configuration: controller, purposes with their lawful basis, categories of data and of
subjects, recipients, transfers, retention, security measures. The JSON is a system in fideslang's words, with more in
members named segmentd ('segmentd schema record'). What is not stated is in it as a gap, and a warning.

  segmentd record --rules rules --config segmentd.yaml --output markdown`,
		setup: func(fs *pflag.FlagSet) func(context.Context, *invocation) error {
			f := documentFlags{output: "json"}
			f.add(fs, "json or markdown")
			return func(ctx context.Context, inv *invocation) error { return f.record(ctx, inv) }
		},
	}
}

func (f *documentFlags) record(ctx context.Context, inv *invocation) error {
	if err := f.oneOf("json", "markdown"); err != nil {
		return err
	}
	source, err := f.source(ctx, inv)
	if err != nil {
		return err
	}
	record := transparency.NewRecord(source)
	if f.output == "markdown" {
		_, err = fmt.Fprint(inv.out, record.Markdown())
	} else {
		err = printDocument(inv, record)
	}
	if err != nil {
		return err
	}
	return f.judge(inv, record.Ours.Gaps)
}

type noticeFlags struct {
	documentFlags
	language string
	expect   string
}

func noticeCommand() command {
	return command{
		name: "notice", summary: "Print what data subjects must be told (GDPR articles 13 and 14)",
		details: `
Made of the rules and the configuration, in plain words: who is responsible, what for, what data, for how long, who
receives them, which rights there are, and how it is decided who is in which segment.

The hash is of all that is said but the versions of notices. With --expect a check in CI notices that what must be said
has changed, so that notice_version is due:

  segmentd notice --rules rules --config segmentd.yaml --expect 3f2a91c04be1d7a8`,
		setup: func(fs *pflag.FlagSet) func(context.Context, *invocation) error {
			f := noticeFlags{documentFlags: documentFlags{output: "text"}}
			f.add(fs, "text or json")
			fs.StringVar(&f.language, "language", "en", "language of the notice; there is en")
			fs.StringVar(&f.expect, "expect", "", "hash that the notice must have, or the beginning of it, at least 8 digits; else the status is 1")
			return func(ctx context.Context, inv *invocation) error { return f.run(ctx, inv) }
		},
	}
}

// minHashDigits is what --expect needs to mean one notice.
const minHashDigits = 8

func (f *noticeFlags) run(ctx context.Context, inv *invocation) error {
	if err := f.oneOf("text", "json"); err != nil {
		return err
	}
	if f.language != "en" {
		return usagef("--language %q: there is en", f.language)
	}
	if f.expect != "" && len(f.expect) < minHashDigits {
		return usagef("--expect %q: write at least %d digits", f.expect, minHashDigits)
	}
	source, err := f.source(ctx, inv)
	if err != nil {
		return err
	}
	notice := transparency.NewNotice(source)
	if f.output == "json" {
		err = printDocument(inv, notice)
	} else {
		_, err = fmt.Fprint(inv.out, notice.Text())
	}
	if err != nil {
		return err
	}
	if f.expect != "" && !notice.Is(f.expect) {
		return inputError(fmt.Errorf("the notice has the hash %.16s, not %s: what must be said has changed; publish it under a new notice_version", notice.Hash, f.expect))
	}
	return f.judge(inv, notice.Gaps)
}

func (f *documentFlags) oneOf(outputs ...string) error {
	if !slices.Contains(outputs, f.output) {
		return usagef("--output %q: use %s or %s", f.output, outputs[0], outputs[1])
	}
	return nil
}

// judge warns of what is not stated.
func (f *documentFlags) judge(inv *invocation, gaps []string) error {
	if f.strict && len(gaps) > 0 {
		return inputError(fmt.Errorf("not stated:\n  %s", strings.Join(gaps, "\n  ")))
	}
	for _, gap := range gaps {
		inv.log.Warn("not stated: " + gap)
	}
	return nil
}

func printDocument(inv *invocation, document any) error {
	e := json.NewEncoder(inv.out)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(document)
}

// source is what documents for subjects and authorities are made of.
func (f *documentFlags) source(ctx context.Context, inv *invocation) (source transparency.Source, err error) {
	needs := config.NeedRules
	if f.live {
		needs |= config.NeedBroker
	}
	cfg, err := loadConfig(inv, needs)
	if err != nil {
		return source, err
	}
	set, err := loadRules(inv, cfg.Rules)
	if err != nil {
		return source, err
	}
	settings := func(string) (map[string]string, bool) { return nil, false }
	if f.live {
		if cfg.Embedded {
			return source, usagef("--live asks brokers that run: name them with --brokers")
		}
		if settings, err = askSettings(ctx, inv, cfg, set); err != nil {
			return source, err
		}
	}
	return transparency.Source{Rules: set, Config: cfg, Topics: documentTopics(cfg.Group, set, cfg.Embedded, settings)}, nil
}

// askSettings asks the brokers for the settings of the group's topics.
func askSettings(ctx context.Context, inv *invocation, cfg *config.Config, set *rules.Set) (func(string) (map[string]string, bool), error) {
	client, err := connect(cfg, nil, inv.log)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	var known topicSettings
	for _, spec := range (processor.Topics{Group: cfg.Group}).Specs(set) {
		settings, err := client.Configs(ctx, spec.Name)
		if err != nil {
			return nil, environmentError(fmt.Errorf("read the settings of %s: %w", spec.Name, err))
		}
		known.set(spec.Name, settings)
	}
	return known.of, nil
}

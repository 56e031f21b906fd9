package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/pflag"

	"github.com/segmentd/segmentd/config"
	"github.com/segmentd/segmentd/processor"
	"github.com/segmentd/segmentd/processor/kafka"
	"github.com/segmentd/segmentd/rules"
)

type topicsFlags struct {
	create bool
	output string
}

func topicsCommand() command {
	return command{
		name: "topics", summary: "Show or create the topics that a configuration needs",
		details: `
Lists every topic, the settings it needs beside what is there, and the ACLs that 'segmentd run' needs: no more, where
Read and Write imply Describe, as they do in Kafka. With --create, topics that are missing (the inputs too) are created.
With brokers it compares; without, it lists what is needed.

The exit status is 1 where a topic is missing or differs, 0 where all are as they should be.`,
		setup: func(fs *pflag.FlagSet) func(context.Context, *invocation) error {
			var f topicsFlags
			config.AddFlags(fs)
			fs.BoolVar(&f.create, "create", false, "create the topics that are missing")
			fs.StringVar(&f.output, "output", "table", "table, json or strimzi")
			return func(ctx context.Context, inv *invocation) error {
				cfg, err := loadConfig(inv, config.NeedInputs|config.NeedRules)
				if err != nil {
					return err
				}
				return f.run(ctx, inv, cfg)
			}
		},
	}
}

// topicRow is one topic as it should be and as it is.
type topicRow struct {
	Topic      string            `json:"topic"`
	Partitions int32             `json:"partitions"`
	Settings   map[string]string `json:"settings"`
	ACLs       []string          `json:"acls"`
	Exists     *bool             `json:"exists,omitempty"` // nil: the brokers were not asked
	Differs    []string          `json:"differs,omitempty"`
	// ErasedWithin is how long after an erasure what is erased may still be there, and why.
	ErasedWithin string `json:"erasedWithin,omitempty"`

	alone   bool // its partition count is its own
	isInput bool // its retention is its owner's matter, but for needingConsent
}

func (f *topicsFlags) run(ctx context.Context, inv *invocation, cfg *config.Config) error {
	if !slices.Contains([]string{"table", "json", "strimzi"}, f.output) {
		return usagef("--output %q: use table, json or strimzi", f.output)
	}
	set, err := loadRules(inv, cfg.Rules)
	if err != nil {
		return err
	}
	rows := neededTopics(cfg, set)
	if len(cfg.Kafka.Brokers) > 0 {
		if err := f.compare(ctx, inv, cfg, set, rows); err != nil {
			return err
		}
	} else if f.create {
		return usagef("--create needs --brokers")
	}
	if err := f.print(inv, cfg, rows); err != nil {
		return err
	}
	return judgeTopics(rows)
}

// judgeTopics is an error where topics are not as they should be.
func judgeTopics(rows []topicRow) error {
	missing, differing := 0, 0
	for _, r := range rows {
		switch r.state() {
		case "", "ok":
		case "missing":
			missing++
		default:
			differing++
		}
	}
	if missing+differing == 0 {
		return nil
	}
	return inputError(fmt.Errorf("of %s %d missing, %d not as needed", count(len(rows), "topic"), missing, differing))
}

func neededTopics(cfg *config.Config, set *rules.Set) []topicRow {
	var rows []topicRow
	for _, in := range cfg.Inputs {
		rows = append(rows, topicRow{Topic: in.Topic, Partitions: int32(cfg.Topics.Partitions), Settings: inputSpec(in).Configs,
			ACLs: inputOperations(cfg, in), isInput: true})
	}
	topics := processor.Topics{Group: cfg.Group}
	for _, spec := range topics.Specs(set) {
		row := topicRow{Topic: spec.Name, Partitions: cmp.Or(spec.Partitions, int32(cfg.Topics.Partitions)), Settings: spec.Configs,
			ACLs: ownedOperations(cfg, spec), alone: spec.Partitions != 0}
		rows = append(rows, row)
	}
	return rows
}

// compare looks at the brokers' topics, and creates what is missing if asked to.
func (f *topicsFlags) compare(ctx context.Context, inv *invocation, cfg *config.Config, set *rules.Set, rows []topicRow) error {
	client, err := connect(cfg, nil, inv.log)
	if err != nil {
		return err
	}
	defer client.Close()
	if f.create {
		cfg.Topics.Create = true
		if _, err := prepareTopics(ctx, client, cfg, set, inv.log); err != nil {
			return err
		}
	}
	topics, err := describe(ctx, client, cfg, inv.log, topicNames(cfg, set))
	if err != nil {
		return err
	}
	plan, kept, personal := planTopics(cfg, set, topics), retentions{}, personalTopics(cfg, set)
	for i := range rows {
		row := &rows[i]
		if !row.alone {
			row.Partitions = plan.partitions
		}
		t, exists := topics[row.Topic]
		if row.Exists = &exists; !exists {
			continue
		}
		settings, err := client.Configs(ctx, row.Topic)
		if err != nil {
			return environmentError(fmt.Errorf("read the settings of %s: %w", row.Topic, err))
		}
		row.compare(t, settings)
		kept.note(row.Topic, settings)
		if spec, ok := personal[row.Topic]; ok {
			row.noteRemains(cfg, processor.RemainsOn(row.Topic, settings, spec.Keyed))
		}
	}
	for i, in := range cfg.Inputs { // the first rows
		if why := kept.outlived(in.Topic, outliving(cfg, set, in)); why != "" {
			rows[i].Differs = append(rows[i].Differs, why)
		}
	}
	return nil
}

// compare notes what differs from what is needed.
func (r *topicRow) compare(t kafka.Topic, settings map[string]string) {
	if t.Partitions != r.Partitions {
		r.Differs = append(r.Differs, fmt.Sprintf("partitions is %d", t.Partitions))
	}
	for _, key := range slices.Sorted(maps.Keys(r.Settings)) {
		if r.isInput && key == "retention.ms" {
			continue
		}
		if have := settings[key]; have != r.Settings[key] {
			r.Differs = append(r.Differs, fmt.Sprintf("%s is %q", key, have))
		}
	}
}

func (f *topicsFlags) print(inv *invocation, cfg *config.Config, rows []topicRow) error {
	switch f.output {
	case "json":
		e := json.NewEncoder(inv.out)
		e.SetIndent("", "  ")
		return e.Encode(struct {
			Topics []topicRow `json:"topics"`
			ACLs   []acl      `json:"acls"`
		}{rows, neededACLs(cfg, rows)})
	case "strimzi":
		return printStrimzi(inv, cfg, rows)
	}
	w := tabwriter.NewWriter(inv.out, 0, 8, 2, ' ', 0)
	fmt.Fprintln(w, "TOPIC\tPARTITIONS\tSETTINGS\tACLS\tSTATE")
	for _, r := range rows {
		fmt.Fprintf(w, "%s\t%d\t%s\t%s\t%s\n", r.Topic, r.Partitions, settingsText(r.Settings), strings.Join(r.ACLs, ","), r.state())
	}
	if err := w.Flush(); err != nil {
		return err
	}
	printRemains(inv.out, rows)
	return printFurtherACLs(inv.out, cfg)
}

func (r topicRow) state() string {
	switch {
	case r.Exists == nil:
		return ""
	case !*r.Exists:
		return "missing"
	case len(r.Differs) > 0:
		return "differs: " + strings.Join(r.Differs, ", ")
	}
	return "ok"
}

func settingsText(settings map[string]string) string {
	var all []string
	for _, key := range slices.Sorted(maps.Keys(settings)) {
		all = append(all, key+"="+settings[key])
	}
	return strings.Join(all, ",")
}

// printStrimzi writes KafkaTopic resources and the KafkaUser that may use them.
func printStrimzi(inv *invocation, cfg *config.Config, rows []topicRow) error {
	for _, r := range rows {
		fmt.Fprintf(inv.out, "---\napiVersion: kafka.strimzi.io/v1\nkind: KafkaTopic\nmetadata:\n  name: %s\n  labels:\n    strimzi.io/cluster: kafka\nspec:\n  topicName: %s\n  partitions: %d\n",
			strings.ToLower(strings.ReplaceAll(r.Topic, "_", "-")), r.Topic, r.Partitions)
		if cfg.Topics.ReplicationFactor > 0 {
			fmt.Fprintf(inv.out, "  replicas: %d\n", cfg.Topics.ReplicationFactor)
		}
		if len(r.Settings) > 0 {
			fmt.Fprintln(inv.out, "  config:")
		}
		for _, key := range slices.Sorted(maps.Keys(r.Settings)) {
			fmt.Fprintf(inv.out, "    %s: %q\n", key, r.Settings[key])
		}
	}
	return printStrimziUser(inv.out, cfg, neededACLs(cfg, rows))
}

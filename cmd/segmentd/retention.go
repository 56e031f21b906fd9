package main

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/segmentd/segmentd/config"
	"github.com/segmentd/segmentd/processor"
	"github.com/segmentd/segmentd/processor/kafka"
	"github.com/segmentd/segmentd/rules"
)

// forever is the retention of a topic that deletes nothing for its age.
const forever = math.MaxInt64

// retentionOf is how long a topic with these settings keeps records, in
// milliseconds; ok is false where they do not tell.
func retentionOf(settings map[string]string) (ms int64, ok bool) {
	if policy, told := settings["cleanup.policy"]; told && !strings.Contains(policy, "delete") {
		return forever, true
	}
	ms, err := strconv.ParseInt(settings["retention.ms"], 10, 64)
	if err == nil && ms < 0 {
		ms = forever
	}
	return ms, err == nil
}

// retentions is how long topics keep records, in milliseconds.
type retentions map[string]int64

func (r retentions) note(topic string, settings map[string]string) {
	if ms, ok := retentionOf(settings); ok {
		r[topic] = ms
	}
}

// outlived says why a topic keeps records for too short a time, "" if it does not:
// decisions are the evidence of consent to what the others hold.
func (r retentions) outlived(topic string, others []string) string {
	own, told := r[topic]
	if !told || len(others) == 0 {
		return ""
	}
	longest := slices.MaxFunc(others, func(a, b string) int { return cmp.Compare(r[a], r[b]) })
	switch {
	case r[longest] <= own:
		return ""
	case r[longest] == forever:
		return fmt.Sprintf("retention.ms is %d, and %s keeps its records for ever", own, longest)
	}
	return fmt.Sprintf("retention.ms is %d, less than the %d of %s", own, r[longest], longest)
}

// outliving lists the topics that an input may not be outlived by: a decisions topic
// by none that needs consent, and a requests topic by no decisions topic either, or
// a new group that reads from their start would know a grant and not the erasure
// that ended it. None for events.
func outliving(cfg *config.Config, set *rules.Set, in config.Input) []string {
	switch in.Kind {
	case config.KindDecision:
		return needingConsent(cfg, set)
	case config.KindRequest:
		names := needingConsent(cfg, set)
		for _, d := range cfg.InputsOf(config.KindDecision) {
			names = append(names, d.Topic)
		}
		return names
	}
	return nil
}

// needingConsent lists the topics that no decisions topic may be outlived by.
func needingConsent(cfg *config.Config, set *rules.Set) (names []string) {
	for _, in := range cfg.InputsOf(config.KindEvent) {
		names = append(names, in.Topic)
	}
	topics := processor.Topics{Group: cfg.Group}
	names = append(names, topics.Changes(""))
	for i := range set.Purposes {
		if output := set.Purposes[i].Output; output != "" {
			names = append(names, topics.Changes(output))
		}
	}
	return names
}

// warnOfRetention tells of decisions and requests topics that others outlive. It stops no
// group, and what the processor may not look at (it needs no right to) is left
// out, or taken to be as it is made.
func warnOfRetention(ctx context.Context, client *kafka.Client, cfg *config.Config, set *rules.Set, log *slog.Logger) {
	kept, others := retentions{}, needingConsent(cfg, set)
	for _, spec := range (processor.Topics{Group: cfg.Group}).Specs(set) {
		if slices.Contains(others, spec.Name) {
			kept.note(spec.Name, spec.Configs)
		}
	}
	names := slices.Clone(others)
	for _, in := range cfg.Inputs {
		if in.Kind != config.KindEvent {
			names = append(names, in.Topic)
		}
	}
	for _, name := range names {
		settings, err := client.Configs(ctx, name)
		if err != nil {
			log.Debug("the retention of a topic cannot be read", "topic", name, "error", err)
			continue
		}
		kept.note(name, settings)
	}
	for _, in := range cfg.Inputs {
		if why := kept.outlived(in.Topic, outliving(cfg, set, in)); why != "" {
			log.Warn("a topic of decisions or requests must keep its records longest of all, as the evidence of consent, and of erasures, that a new group or purpose reads from its start: set its retention.ms to -1",
				"topic", in.Topic, "reason", why)
		}
	}
}

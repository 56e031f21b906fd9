package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"time"

	"github.com/segmentd/segmentd/config"
	"github.com/segmentd/segmentd/processor"
	"github.com/segmentd/segmentd/processor/kafka"
	"github.com/segmentd/segmentd/rules"
)

// eraseFromTopics is the setting of the promise that topics are held against.
const eraseFromTopics = "privacy.erase_from_topics_within"

// personalTopics are the group's topics that tell of subjects, by name.
func personalTopics(cfg *config.Config, set *rules.Set) map[string]processor.TopicSpec {
	personal := map[string]processor.TopicSpec{}
	for _, spec := range (processor.Topics{Group: cfg.Group}).Specs(set) {
		if spec.Personal {
			personal[spec.Name] = spec
		}
	}
	return personal
}

// brokenBy says why a topic keeps what was erased for longer than is promised, "" if
// it does not. Those that go by retention have a promise of their own.
func brokenBy(cfg *config.Config, r processor.Remains) string {
	within := cfg.Privacy.EraseFromTopicsWithin
	if r.Method == processor.ByRetention || r.Within <= within {
		return ""
	}
	return fmt.Sprintf("with %s what was erased is gone %s, and %s is %s", r.Cause, remainsText(r.Within), eraseFromTopics, within)
}

func remainsText(d time.Duration) string {
	if d == processor.Forever {
		return "never"
	}
	return "within " + d.String()
}

// checkRemains refuses topics that cannot keep the promise that the configuration
// gives, and warns where that is only the default. What may not be looked at (it
// needs no right to) is left out.
func checkRemains(ctx context.Context, client *kafka.Client, cfg *config.Config, set *rules.Set, log *slog.Logger) error {
	var broken []string
	for name, spec := range personalTopics(cfg, set) {
		settings, err := client.Configs(ctx, name)
		if err != nil {
			log.Debug("the settings of a topic cannot be read", "topic", name, "error", err)
			continue
		}
		why := brokenBy(cfg, remainsOn(cfg.Embedded, spec, settings))
		switch {
		case why == "", cfg.Embedded && !cfg.Gives(eraseFromTopics): // the documents say it
		case cfg.Gives(eraseFromTopics):
			broken = append(broken, name+": "+why)
		default:
			log.Warn("a topic keeps what was erased for longer than it should: see 'segmentd topics' for the settings it needs", "topic", name, "reason", why)
		}
	}
	if len(broken) > 0 {
		return usagef("%s; change the topic's settings or the promise", strings.Join(broken, "; "))
	}
	return nil
}

func (r *topicRow) noteRemains(cfg *config.Config, m processor.Remains) {
	r.ErasedWithin = fmt.Sprintf("%s, by %s (%s)", remainsText(m.Within), m.Method, m.Cause)
	if why := brokenBy(cfg, m); why != "" {
		r.Differs = append(r.Differs, why)
	}
}

// printRemains tells by when what was erased is gone from the topics.
func printRemains(w io.Writer, rows []topicRow) {
	head := "\nWhat was erased is gone from\n"
	for _, r := range rows {
		if r.ErasedWithin != "" {
			fmt.Fprintf(w, "%s  %s %s\n", head, r.Topic, r.ErasedWithin)
			head = ""
		}
	}
}

package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/segmentd/segmentd/config"
	"github.com/segmentd/segmentd/processor"
	"github.com/segmentd/segmentd/processor/kafka"
	"github.com/segmentd/segmentd/processor/stream"
	"github.com/segmentd/segmentd/rules"
)

// startTimeout is how long a start waits for brokers that do not answer.
const startTimeout = 30 * time.Second

// connect returns a client of the configured brokers; nothing is sent yet.
func connect(cfg *config.Config, topics []string, log *slog.Logger) (*kafka.Client, error) {
	clientConfig := kafka.Config{Brokers: cfg.Kafka.Brokers, Topics: topics, Logger: log,
		SASL: kafka.SASL{Mechanism: cfg.Kafka.SASL.Mechanism, Username: cfg.Kafka.SASL.Username, Password: cfg.Kafka.SASL.ReadPassword}}
	if cfg.Kafka.TLS.Enabled {
		clientConfig.TLS = cfg.Kafka.TLS.Config
	}
	client, err := kafka.New(clientConfig)
	if err != nil {
		return nil, usageError(err)
	}
	return client, nil
}

// topicNames lists every topic a group reads and writes.
func topicNames(cfg *config.Config, set *rules.Set) []string {
	var names []string
	for _, in := range cfg.Inputs {
		names = append(names, in.Topic)
	}
	for _, spec := range (processor.Topics{Group: cfg.Group}).Specs(set) {
		names = append(names, spec.Name)
	}
	return names
}

// patiently asks the brokers for something, and again while they do not answer or
// cannot do it for the moment, for startTimeout.
func patiently(ctx context.Context, log *slog.Logger, what string, ask func() error) error {
	deadline := time.Now().Add(startTimeout)
	for {
		err := ask()
		var decided *exitError
		if err == nil || ctx.Err() != nil || errors.As(err, &decided) {
			return err
		}
		if errors.Is(err, kafka.ErrAccess) {
			return usageError(fmt.Errorf("%s: %w", what, err))
		}
		if errors.Is(err, stream.ErrFatal) || time.Now().After(deadline) {
			return environmentError(fmt.Errorf("%s: %w", what, err))
		}
		log.Warn("the brokers do not answer as they should; trying again", "what", what, "error", err)
		select {
		case <-time.After(2 * time.Second):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// describe asks for topics, patiently.
func describe(ctx context.Context, client *kafka.Client, cfg *config.Config, log *slog.Logger, names []string) (topics map[string]kafka.Topic, err error) {
	err = patiently(ctx, log, "reach the brokers "+strings.Join(cfg.Kafka.Brokers, ", "), func() (err error) {
		topics, err = client.Topics(ctx, names...)
		return err
	})
	return topics, err
}

// layout is how the topics of a group stand.
type layout struct {
	partitions int32
	logAppend  bool // the changelog bears the broker's clock
}

// prepareTopics creates what may be created and checks that every topic is as
// processing needs it.
func prepareTopics(ctx context.Context, client *kafka.Client, cfg *config.Config, set *rules.Set, log *slog.Logger) (layout, error) {
	names := topicNames(cfg, set)
	topics, err := describe(ctx, client, cfg, log, names)
	if err != nil {
		return layout{}, err
	}
	plan := planTopics(cfg, set, topics)
	if err := plan.mayRun(cfg); err != nil {
		return layout{}, err
	}
	if len(plan.missing) > 0 {
		err := patiently(ctx, log, "create topics", func() error {
			created, err := client.CreateTopics(ctx, plan.missing)
			if len(created) > 0 {
				log.Info("topics created", "topics", strings.Join(created, ","), "partitions", plan.partitions)
			}
			return err
		})
		if err != nil {
			return layout{}, err
		}
	}
	if err := client.WaitTopics(ctx, names...); err != nil {
		return layout{}, environmentError(fmt.Errorf("wait for topics: %w", err))
	}
	l := layout{partitions: plan.partitions}
	if err := patiently(ctx, log, "read the settings of topics", func() error { return l.checkSettings(ctx, client, cfg) }); err != nil {
		return l, err
	}
	warnOfRetention(ctx, client, cfg, set, log)
	return l, checkRemains(ctx, client, cfg, set, log)
}

// inputSpec is how an input topic is made where it is missing: decisions are kept
// for ever, as the evidence of consent, and requests, as a new group that reads
// decisions from their start must not miss that their subject was erased.
func inputSpec(in config.Input) processor.TopicSpec {
	spec := processor.TopicSpec{Name: in.Topic, Configs: map[string]string{}}
	if in.Kind != config.KindEvent {
		spec.Configs["cleanup.policy"], spec.Configs["retention.ms"] = "delete", "-1"
	}
	return spec
}

// topicPlan is what there is and what is missing.
type topicPlan struct {
	partitions int32
	counts     map[string]int32 // of those that exist and must have as many
	missing    []kafka.NewTopic
	wrong      []string // those with a count of their own that have another
}

func planTopics(cfg *config.Config, set *rules.Set, topics map[string]kafka.Topic) topicPlan {
	plan := topicPlan{partitions: int32(cfg.Topics.Partitions), counts: map[string]int32{}}
	for _, in := range slices.Backward(cfg.Inputs) {
		if t, ok := topics[in.Topic]; ok {
			plan.partitions = t.Partitions
		}
	}
	for _, in := range cfg.Inputs {
		plan.add(cfg, inputSpec(in), topics)
	}
	for _, spec := range (processor.Topics{Group: cfg.Group}).Specs(set) {
		plan.add(cfg, spec, topics)
	}
	return plan
}

func (p *topicPlan) add(cfg *config.Config, spec processor.TopicSpec, topics map[string]kafka.Topic) {
	t, exists := topics[spec.Name]
	switch {
	case !exists:
		p.missing = append(p.missing, kafka.NewTopic{Name: spec.Name, Partitions: cmp.Or(spec.Partitions, p.partitions),
			ReplicationFactor: cfg.Topics.ReplicationFactor, Configs: spec.Configs})
	case spec.Partitions == 0:
		p.counts[spec.Name] = t.Partitions
	case t.Partitions != spec.Partitions:
		p.wrong = append(p.wrong, fmt.Sprintf("%s has %d partitions and must have %d", spec.Name, t.Partitions, spec.Partitions))
	}
}

func (p topicPlan) mayRun(cfg *config.Config) error {
	if len(p.missing) > 0 && !cfg.Topics.Create {
		var names []string
		for _, t := range p.missing {
			names = append(names, t.Name)
		}
		return usagef("topics are missing: %s; create them with 'segmentd topics --create', or set topics.create: true", strings.Join(names, ", "))
	}
	if len(p.wrong) > 0 {
		return usagef("%s: delete it, and have it made with 'segmentd topics --create'", strings.Join(p.wrong, ", "))
	}
	for _, n := range p.counts {
		if n != p.partitions {
			return usagef("all topics need one partition count, as a subject's records must share a partition: %s", p.describeCounts())
		}
	}
	return nil
}

func (p topicPlan) describeCounts() string {
	var all []string
	for name, n := range p.counts {
		all = append(all, fmt.Sprintf("%s has %d", name, n))
	}
	slices.Sort(all)
	return strings.Join(all, ", ")
}

// lostByCompaction says what a compacted input loses, by kind.
var lostByCompaction = map[string]string{
	config.KindDecision: "a later decision about one purpose would delete the earlier ones about others, withdrawals among them",
	config.KindRequest:  "a later request would delete the earlier ones of its subject, erasures among them",
}

// checkSettings refuses settings under which the guarantees do not hold.
func (l *layout) checkSettings(ctx context.Context, client *kafka.Client, cfg *config.Config) error {
	for _, in := range cfg.Inputs {
		if in.Kind == config.KindEvent {
			continue
		}
		settings, err := client.Configs(ctx, in.Topic)
		if err != nil {
			return fmt.Errorf("read the settings of %s: %w", in.Topic, err)
		}
		if strings.Contains(settings["cleanup.policy"], "compact") {
			return usagef("%s is compacted: %s; set its cleanup.policy to delete with a long retention", in.Topic, lostByCompaction[in.Kind])
		}
	}
	topics := processor.Topics{Group: cfg.Group}
	for _, topic := range []string{topics.Changelog(), topics.Rules()} {
		settings, err := client.Configs(ctx, topic)
		if err != nil {
			return fmt.Errorf("read the settings of %s: %w", topic, err)
		}
		if policy := settings["cleanup.policy"]; policy != "compact" {
			return usagef("%s has cleanup.policy %q: records would be lost with it; set it to compact", topic, policy)
		}
		if topic == topics.Changelog() {
			l.logAppend = settings["message.timestamp.type"] == "LogAppendTime"
		}
	}
	return nil
}

package main

import (
	"context"
	"sync"
	"time"

	"github.com/segmentd/segmentd/processor"
	"github.com/segmentd/segmentd/processor/transparency"
	"github.com/segmentd/segmentd/rules"
)

// settingsEvery is how often a running instance reads the settings of the group's
// topics, for what it tells of how long records stay.
const settingsEvery = 5 * time.Minute

// settingsWait bounds one look at them: a start does not wait for longer.
const settingsWait = 10 * time.Second

// topicSettings are the brokers' settings of the group's topics as they were last
// read. The zero value knows none. Safe for concurrent use.
type topicSettings struct {
	mu  sync.Mutex
	all map[string]map[string]string // guarded by mu: by topic
}

func (k *topicSettings) of(topic string) (settings map[string]string, known bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	settings, known = k.all[topic]
	return settings, known
}

func (k *topicSettings) set(topic string, settings map[string]string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.all == nil {
		k.all = map[string]map[string]string{}
	}
	k.all[topic] = settings
}

// followSettings reads the settings of the group's topics until ctx ends. What may not
// be read (it needs no right to) stays unknown, and is told as such.
func (s *service) followSettings(ctx context.Context) error {
	for {
		s.readSettings(ctx)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(settingsEvery):
		}
	}
}

func (s *service) readSettings(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, settingsWait)
	defer cancel()
	for _, spec := range (processor.Topics{Group: s.cfg.Group}).Specs(s.processor.Rules()) {
		settings, err := s.client.Configs(ctx, spec.Name)
		if err != nil {
			s.log.Debug("the settings of a topic cannot be read", "topic", spec.Name, "error", err)
			continue
		}
		s.settings.set(spec.Name, settings)
	}
}

// remainsOn computes for how long what was erased remains on a topic of the group, on
// the embedded broker or on brokers of their own.
func remainsOn(embedded bool, spec processor.TopicSpec, settings map[string]string) processor.Remains {
	if embedded {
		return processor.RemainsEmbedded(spec.Name, settings, spec.Keyed)
	}
	return processor.RemainsOn(spec.Name, settings, spec.Keyed)
}

// remains tells for how long what was erased remains on a topic, by its settings.
func (s *service) remains(topic string) (processor.Remains, bool) {
	settings, known := s.settings.of(topic)
	if !known {
		return processor.Remains{}, false
	}
	for _, spec := range (processor.Topics{Group: s.cfg.Group}).Specs(s.processor.Rules()) {
		if spec.Name == topic {
			return remainsOn(s.cfg.Embedded, spec, settings), true
		}
	}
	return processor.Remains{}, false
}

// documentSource is what a running instance makes documents of.
func (s *service) documentSource(set *rules.Set) transparency.Source {
	return transparency.Source{Rules: set, Config: s.cfg, Topics: documentTopics(s.cfg.Group, set, s.cfg.Embedded, s.settings.of)}
}

// documentTopics are the topics that a group owns. settings tells those that they have;
// where it knows none they are taken to be as they are created.
func documentTopics(group string, set *rules.Set, embedded bool, settings func(topic string) (map[string]string, bool)) (all []transparency.Topic) {
	topics := processor.Topics{Group: group}
	roles := map[string]transparency.Topic{topics.Changelog(): {Role: transparency.Changelog}, topics.Rejected(): {Role: transparency.Rejected},
		topics.RequestResults(): {Role: transparency.RequestResults}, topics.Rules(): {Role: transparency.RuleSets}}
	for i := range set.Purposes {
		output := set.Purposes[i].Output
		roles[topics.Changes(output)] = transparency.Topic{Role: transparency.Changes, Output: output}
		roles[topics.Members(output)] = transparency.Topic{Role: transparency.Members, Output: output}
	}
	for _, spec := range topics.Specs(set) {
		t, known := roles[spec.Name]
		if !known {
			continue // no purpose writes there
		}
		t.Name, t.Keeps = spec.Name, keepingOf(spec, embedded, settings)
		all = append(all, t)
	}
	return all
}

func keepingOf(spec processor.TopicSpec, embedded bool, settings func(string) (map[string]string, bool)) transparency.Keeping {
	has, source := spec.AsCreated(), "as it is created: "
	if read, known := settings(spec.Name); known {
		has, source = read, ""
	}
	r := remainsOn(embedded, spec, has)
	k := transparency.Keeping{Within: r.Within, Compacted: r.Method != processor.ByRetention, Embedded: embedded, Settings: source + r.Cause}
	if r.Within == processor.Forever {
		k.Within = transparency.Forever
	}
	return k
}

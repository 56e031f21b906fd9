package processor

import (
	"maps"

	"github.com/segmentd/segmentd/rules"
)

// Topics names the topics that a group owns.
type Topics struct{ Group string }

// Changes is the topic of membership changes of purposes with an output of that name ("": the common one).
func (t Topics) Changes(output string) string { return t.named(output, "changes") }

// Members is the topic of current members, likewise.
func (t Topics) Members(output string) string { return t.named(output, "members") }

// Rejected is the topic of references to rejected records.
func (t Topics) Rejected() string { return t.Group + "-rejected" }

// RequestResults is the topic on which it is told how far requests are.
func (t Topics) RequestResults() string { return t.Group + "-request-results" }

// Changelog is the compacted topic of subjects' records and checkpoints.
func (t Topics) Changelog() string { return t.Group + "-changelog" }

// Rules is the topic on which the group's rule sets are published.
func (t Topics) Rules() string { return t.Group + "-rules" }

func (t Topics) named(output, what string) string {
	if output == "" {
		return t.Group + "-" + what
	}
	return t.Group + "-" + output + "-" + what
}

// TopicSpec is a topic that must exist, with the settings it is created with.
type TopicSpec struct {
	Name       string
	Partitions int32 // 0: as many as the inputs have
	Configs    map[string]string
	// Read says that processing reads the topic too, beside writing to it, and
	// Checked that its settings must be as they are here.
	Read, Checked bool
	// Personal says that records tell of subjects, and Keyed that their keys do.
	Personal, Keyed bool
}

// Retention and compaction of the topics we own (CONTRACT.md, Configuration).
const (
	thirtyDaysMs = "2592000000"
	sevenDaysMs  = "604800000"
	oneDayMs     = "86400000"
)

// Specs lists the topics that a group with these rules owns. Their timestamps
// are the broker's: a record's says when it was published, whatever the host's
// clock says, and no broker refuses a record for it (Kafka 4 does so beyond an
// hour ahead, message.timestamp.after.max.ms).
func (t Topics) Specs(set *rules.Set) []TopicSpec {
	owned := func(cleanup, setting, ms string) map[string]string {
		return map[string]string{"cleanup.policy": cleanup, setting: ms, "message.timestamp.type": "LogAppendTime"}
	}
	deleted := func(ms string) map[string]string { return owned("delete", "retention.ms", ms) }
	compacted := func() map[string]string { return owned("compact", "max.compaction.lag.ms", oneDayMs) }
	specs := []TopicSpec{
		{Name: t.Changelog(), Configs: compacted(), Read: true, Checked: true, Personal: true},
		{Name: t.Rejected(), Configs: deleted(sevenDaysMs)},
		{Name: t.RequestResults(), Configs: deleted(sevenDaysMs), Personal: true},
		{Name: t.Rules(), Partitions: 1, Configs: compacted(), Read: true, Checked: true},
	}
	seen := map[string]bool{}
	for _, output := range append([]string{""}, outputs(set)...) {
		if !seen[output] {
			seen[output] = true
			// Members are counted before rules remove segments.
			specs = append(specs, TopicSpec{Name: t.Changes(output), Configs: deleted(thirtyDaysMs), Personal: true},
				TopicSpec{Name: t.Members(output), Configs: compacted(), Read: true, Personal: true, Keyed: true})
		}
	}
	return specs
}

// kafkaDefaults are Kafka's own settings of topics that decide for how long records
// stay (Apache Kafka 4, Topic Configs).
var kafkaDefaults = map[string]string{"segment.ms": sevenDaysMs, "delete.retention.ms": oneDayMs, "min.compaction.lag.ms": "0"}

// AsCreated are the settings that decide for how long records stay on the topic as it
// is created, where the brokers' own are Kafka's.
func (s TopicSpec) AsCreated() map[string]string {
	settings := maps.Clone(kafkaDefaults)
	maps.Copy(settings, s.Configs)
	return settings
}

func (t Topics) names(set *rules.Set) (names []string) {
	for _, spec := range t.Specs(set) {
		names = append(names, spec.Name)
	}
	return names
}

func outputs(set *rules.Set) []string {
	var names []string
	for i := range set.Purposes {
		names = append(names, set.Purposes[i].Output)
	}
	return names
}

package transparency

import (
	"cmp"
	"fmt"

	"github.com/segmentd/segmentd/config"
	"github.com/segmentd/segmentd/state/subject"
)

// StoreDetails is a place where data about subjects are kept: a topic, a part of it,
// or a directory.
type StoreDetails struct {
	Name    string `json:"name"`
	Holds   string `json:"holds"`
	Keeps   string `json:"keeps"`   // for how long
	Erasure string `json:"erasure"` // what an erasure does to it
}

// topicWords is what a topic of a role holds, and what an erasure does to it.
var topicWords = [...]struct{ holds, erasure string }{
	Changes:        {"entries to and exits from segments: the subject's id, segment, time, reason", "recipients are told by a change erased; earlier changes stay until their time is over"},
	Members:        {"present memberships: the subject's id, segment, since when", "a tombstone for each membership"},
	Changelog:      {"what is kept of subjects to decide segments: the id, decisions in force, traits, evidence, memberships, counters and times, under a keyed hash of the id; beside it each subject's dossier", "replaced by a record of the erasure (the fence) without data"},
	Rejected:       {"where records lie that could not be read; nothing of subjects", "nothing: it has nothing of subjects"},
	RequestResults: {"how far requests are, by their ids, and what an erasure deleted where; not the subject's id", "nothing: it is told there; it stays until its time is over"},
	RuleSets:       {"the rules in force, with the ids on their lists", "nothing: ids on lists stay until the rules are changed"},
}

// Names of stores that are no topics. They are in the record, and in tests that hold
// what is kept against it.
const (
	StoreProofs   = "dossier: proofs of decisions"
	StoreRequests = "dossier: requests"
	StoreMessages = "hashes of message ids"
	StoreFence    = "fence of an erased subject"
	StoreImage    = "data directory: image"
	StoreAudit    = "data directory: audit"
	StoreBroker   = "data directory: broker"
	StoreLists    = "rule files: lists"
)

// topicStores are the topics of the inputs and of the group.
func (s *Source) topicStores() []StoreDetails {
	all := []StoreDetails{}
	for _, in := range s.Config.Inputs {
		all = append(all, StoreDetails{in.Topic, inputHolds(in.Kind), cmp.Or(s.Config.Privacy.InputRetention, "as its owner has set it"), "not reached: segmentd deletes nothing there"})
	}
	for _, t := range s.Topics {
		keeps := t.Keeps.inWords()
		if t.Keeps.Settings != "" {
			keeps += " (" + t.Keeps.Settings + ")"
		}
		all = append(all, StoreDetails{t.Name, topicWords[t.Role].holds, keeps, topicWords[t.Role].erasure})
	}
	return all
}

func inputHolds(kind string) string {
	switch kind {
	case config.KindDecision:
		return "what subjects decided about purposes"
	case config.KindRequest:
		return "what subjects asked for, with corrected traits"
	}
	return "what subjects did and said of themselves"
}

// stores are what is kept beside topics, or in parts of them.
func (s *Source) stores() []StoreDetails {
	within := inWords(s.Config.Privacy.EraseWithin.Milliseconds())
	unowned := inWords(min(s.Config.Privacy.KeepUnowned, s.Config.Privacy.EraseWithin).Milliseconds())
	all := []StoreDetails{
		{StoreProofs, fmt.Sprintf("on the changelog and in the image, one a subject: the newest %d decisions as they were read, with times, notice, method, record id and place", subject.MaxProofs),
			"until an erasure", "deleted, with the id"},
		{StoreRequests, fmt.Sprintf("likewise: the newest %d requests, how far they are, and what became of them", subject.MaxRequests),
			"without end", "they stay, without the subject's id, as what shows that it was done"},
		{StoreMessages, "likewise, in the record: hashes and times of up to 64 message ids, so that no event counts twice; none where processing.dedupe_window is 0s",
			"until an event is applied " + inWords(s.Config.Processing.DedupeWindow.Milliseconds()) + " later, or the last basis ends", "deleted"},
		{StoreFence, "on the changelog and in the image: a keyed hash of the id, the instant of the erasure, a counter; without it what is read again would bring the subject back",
			"without end", "it is what stays"},
		{StoreImage, "an image of the owned partitions of the changelog, dossiers included", "as the changelog; images of partitions that another instance has, " + unowned + "; of an instance that does not run, until it runs again",
			"gone from the files within " + within + ", while the instance runs"},
		{StoreAudit, "who looked at which subject's data, when and what for: keyed hashes of ids", "until its files are deleted", "nothing: it stays"},
	}
	if s.Config.Embedded {
		all = append(all, StoreDetails{StoreBroker, "the topics of the embedded broker, inputs too", "as the topics", "as the topics"})
	}
	if len(s.listNames()) > 0 {
		all = append(all, StoreDetails{StoreLists, "ids on the lists of the rules; copies on " + s.rulesTopic() + ", on the changelog and in the image",
			"until the files are changed; the copies, until other rules are in force", "nothing: ids on lists stay until the files are changed"})
	}
	return all
}

func (s *Source) rulesTopic() string {
	for _, t := range s.Topics {
		if t.Role == RuleSets {
			return t.Name
		}
	}
	return "the topic of rules"
}

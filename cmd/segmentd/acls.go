package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/segmentd/segmentd/config"
	"github.com/segmentd/segmentd/processor"
)

// acl allows operations on a resource, in the words of kafka-acls.sh. Read and
// Write imply Describe, which is not listed beside them.
type acl struct {
	Resource   string   `json:"resource"` // Topic, Group or TransactionalId
	Name       string   `json:"name"`
	Pattern    string   `json:"pattern"` // literal or prefixed
	Operations []string `json:"operations"`
}

// inputOperations are those of `segmentd run` on an input. Decisions and requests on
// the wrong partition are passed on, and a compacted topic of them is refused.
func inputOperations(cfg *config.Config, in config.Input) []string {
	passedOn := in.Kind != config.KindEvent
	return operations(cfg, processor.TopicSpec{Read: true, Checked: passedOn}, passedOn)
}

func ownedOperations(cfg *config.Config, spec processor.TopicSpec) []string {
	if len(cfg.OpenDSR.CallbackHosts) > 0 && spec.Name == cfg.OwnTopics().RequestResults {
		spec.Read = true // callbacks tell what is on it
	}
	return operations(cfg, spec, true)
}

func operations(cfg *config.Config, spec processor.TopicSpec, written bool) (all []string) {
	for _, op := range []struct {
		name   string
		needed bool
	}{{"Read", spec.Read}, {"Write", written}, {"DescribeConfigs", spec.Checked}, {"Create", cfg.Topics.Create}} {
		if op.needed {
			all = append(all, op.name)
		}
	}
	return all
}

// neededACLs are all that `segmentd run` needs.
func neededACLs(cfg *config.Config, rows []topicRow) []acl {
	var all []acl
	for _, r := range rows {
		all = append(all, acl{"Topic", r.Topic, "literal", r.ACLs})
	}
	return append(all, furtherACLs(cfg)...)
}

// furtherACLs are those beside topics.
func furtherACLs(cfg *config.Config) []acl {
	return []acl{
		{"Group", cfg.Group, "literal", []string{"Read"}},
		{"TransactionalId", cfg.Group + "-", "prefixed", []string{"Write"}},
	}
}

// otherCommands say what commands need that are not `segmentd run`.
const otherCommands = `
Other commands need, where another user runs them:
  topics            DescribeConfigs on every topic
  topics --create   DescribeConfigs and Create on every topic
  verify            Read on the changes topics
  produce           Write on its topic; Create, where it makes it
`

func printFurtherACLs(w io.Writer, cfg *config.Config) error {
	var all []string
	for _, a := range furtherACLs(cfg) {
		name := a.Name
		if a.Pattern == "prefixed" {
			name += "* (prefixed)"
		}
		all = append(all, fmt.Sprintf("%s %s: %s", a.Resource, name, strings.Join(a.Operations, ", ")))
	}
	_, err := fmt.Fprintf(w, "\nFurther ACLs: %s\n%s", strings.Join(all, "; "), otherCommands)
	return err
}

// strimziTypes are the kinds of resources as a KafkaUser has them.
var strimziTypes = map[string]string{"Topic": "topic", "Group": "group", "TransactionalId": "transactionalId"}

// printStrimziUser writes a KafkaUser that logs in as the configuration does.
func printStrimziUser(w io.Writer, cfg *config.Config, acls []acl) error {
	name := "segmentd"
	if cfg.Kafka.SASL.Username != "" {
		name = cfg.Kafka.SASL.Username
	}
	fmt.Fprintf(w, "---\napiVersion: kafka.strimzi.io/v1\nkind: KafkaUser\nmetadata:\n  name: %s\n  labels:\n    strimzi.io/cluster: kafka\nspec:\n", name)
	switch {
	case cfg.Kafka.SASL.Mechanism == config.MechanismSCRAMSHA512:
		fmt.Fprint(w, "  authentication:\n    type: scram-sha-512\n")
	case cfg.Kafka.TLS.CertFile != "":
		fmt.Fprint(w, "  authentication:\n    type: tls\n")
	}
	fmt.Fprint(w, "  authorization:\n    type: simple\n    acls:\n")
	for _, a := range acls {
		_, err := fmt.Fprintf(w, "      - resource:\n          type: %s\n          name: %s\n          patternType: %s\n        operations: [%s]\n",
			strimziTypes[a.Resource], a.Name, strings.Replace(a.Pattern, "prefixed", "prefix", 1), strings.Join(a.Operations, ", "))
		if err != nil {
			return err
		}
	}
	return nil
}

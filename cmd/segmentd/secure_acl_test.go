package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/segmentd/segmentd/processor/kafka"
	"github.com/segmentd/segmentd/processor/stream"
	"github.com/segmentd/segmentd/state/subject"
)

// allow is one right of a user.
type allow struct{ resource, name, pattern, operation string }

func (a allow) String() string { return a.operation + " on " + a.resource + " " + a.name }

// builder is the right of User:who as an ACL, and a filter for it.
func (a allow) builder(who string) *kadm.ACLBuilder {
	operation := map[string]kadm.ACLOperation{"Describe": kadm.OpDescribe, "Read": kadm.OpRead, "Write": kadm.OpWrite, "DescribeConfigs": kadm.OpDescribeConfigs, "Create": kadm.OpCreate}[a.operation]
	pattern := map[string]kadm.ACLPattern{"literal": kadm.ACLPatternLiteral, "prefixed": kadm.ACLPatternPrefixed}[a.pattern]
	b := kadm.NewACLs().Allow("User:" + who).AllowHosts("*").Operations(operation).ResourcePatternType(pattern)
	switch a.resource {
	case "Topic":
		return b.Topics(a.name)
	case "Group":
		return b.Groups(a.name)
	}
	return b.TransactionalIDs(a.name)
}

func (s *secure) grant(who string, all ...allow) {
	s.t.Helper()
	for _, a := range all {
		s.try(func(ctx context.Context) error {
			res, err := s.admin.CreateACLs(ctx, a.builder(who))
			if err == nil && res[0].Err != nil {
				err = res[0].Err
			}
			return err
		})
	}
}

func (s *secure) revoke(who string, all ...allow) {
	s.t.Helper()
	for _, a := range all {
		s.try(func(ctx context.Context) error {
			res, err := s.admin.DeleteACLs(ctx, a.builder(who))
			if err == nil && (res[0].Err != nil || len(res[0].Deleted) != 1) {
				err = fmt.Errorf("%d ACLs are deleted for %s: %v", len(res[0].Deleted), a, res[0].Err)
			}
			return err
		})
	}
}

// listed are the rights that segmentd topics prints.
func (s *secure) listed() (all []allow) {
	s.t.Helper()
	cmd := exec.Command(s.bin, "topics", "--config", filepath.Join(s.dir, "c.yaml"), "--output", "json")
	cmd.Env = append(environment(), crashSecret)
	out, err := cmd.Output()
	s.must(err)
	var printed struct{ ACLs []acl }
	s.must(json.Unmarshal(out, &printed))
	for _, a := range printed.ACLs {
		for _, operation := range a.Operations {
			all = append(all, allow{a.Resource, a.Name, a.Pattern, operation})
		}
	}
	return all
}

// round is input that makes the pipeline write to each of its topics: a new
// subject enters, an event is rejected, a decision and a request are passed on to
// their partition, the request has a result.
func (s *secure) round(group string, n int) {
	s.t.Helper()
	user, now := fmt.Sprintf("u%d", n), time.Now()
	decision := fmt.Sprintf(`{"type":"decision","userId":%q,"purpose":"marketing","status":"given","timestamp":%q}`, user, now.Format(time.RFC3339Nano))
	event := fmt.Sprintf(`{"type":"track","messageId":%q,"userId":%q,"event":"Order Completed","timestamp":%q}`, user, user, now.Format(time.RFC3339Nano))
	request := fmt.Sprintf(`{"type":"request","requestId":%q,"userId":%q,"request":"access","timestamp":%q}`, user, user, now.Format(time.RFC3339Nano))
	p, _ := kafka.Murmur2.Partition([]byte(user), 2)
	message := func(topic string, partition int32, value string) stream.Message {
		return stream.Message{Topic: group + "." + topic, Partition: partition, Key: []byte(user), Value: []byte(value), Timestamp: subject.FromTime(now)}
	}
	producer := s.client.NewProducer(kafka.ProducerConfig{})
	for _, messages := range [][]stream.Message{
		{message("decisions", p, decision)},
		{message("decisions", 1-p, decision), message("requests", 1-p, request), message("events", p, event), message("events", p, "{")},
	} {
		s.must(sendAll(s.t.Context(), producer, messages))
	}
}

// awaitChanges waits until so many changes are published.
func (s *secure) awaitChanges(p *process, group string, n int) {
	s.t.Helper()
	s.until(fmt.Sprintf("%d changes are published", n), func() bool {
		select {
		case <-p.ended:
			s.t.Fatalf("it ended by itself\n%s", p.log.String())
		default:
		}
		found := 0
		for partition := range int32(2) {
			err := readPartition(s.t.Context(), s.client, group+"-changes", partition, func(string, int32, *stream.Record) { found++ })
			if err != nil {
				return false
			}
		}
		return found >= n
	})
}

// command starts a command with the configuration.
func (s *secure) command(args ...string) *process {
	s.t.Helper()
	return s.start(append(args, "--config", filepath.Join(s.dir, "c.yaml"))...)
}

// testACLs grants a user what segmentd topics lists and no more, and sees that
// the whole pipeline works; then it takes each right away in turn, leaving at
// most Describe, and sees that the process, which has new input and new rules, ends
// and names the right.
func (s *secure) testACLs(t *testing.T) {
	s = s.on(t, "scram")
	const group, user = "least", "least"
	s.configure(group, "{"+s.trust()+", "+s.login("scram-sha-512", user)+"}", canary)
	s.broker = "" // without brokers the list is printed alone
	rights := s.listed()
	t.Log(rights)
	s.broker = s.node.Listeners["scram"]
	s.ends(s.command("run"), 3, `no ACL allows Describe on topic least-changelog, least-changes, .*least\.events`)

	var create []allow
	seen := map[string]bool{}
	for _, r := range rights {
		if r.resource == "Topic" && !seen[r.name] {
			seen[r.name] = true
			create = append(create, allow{r.resource, r.name, r.pattern, "Create"})
		}
	}
	describe := withoutRights(perTopic(create, "DescribeConfigs"), rights)
	s.grant(user, rights...)
	s.grant(user, create...)
	s.grant(user, describe...)
	s.ends(s.command("topics", "--create"), 0, `least-changelog .* ok`)
	s.revoke(user, create...)
	s.revoke(user, describe...)
	s.ends(s.command("topics"), 3, `no ACL allows DescribeConfigs on topic least\.events`)

	s.round(group, 1)
	p := s.command("run")
	s.awaitChanges(p, group, 1)
	p.stops(0)
	s.discreet(p)
	s.others(group)

	for i, r := range rights {
		t.Run(r.String(), func(t *testing.T) {
			s := s.of(t)
			s.revoke(user, r)
			less := allow{r.resource, r.name, r.pattern, "Describe"}
			s.grant(user, less)
			s.round(group, 2+i)
			s.write("rules/shop.yaml", secureRules(2+i))
			name := r.name
			if r.pattern == "prefixed" {
				name += "(rules|[01])"
			}
			resource := map[string]string{"Topic": "topic", "Group": "group", "TransactionalId": "transactional id"}[r.resource]
			s.ends(s.command("run"), 3, fmt.Sprintf(`no ACL allows %s on %s %s`, r.operation, resource, strings.ReplaceAll(name, ".", `\.`)))
			s.grant(user, r)
			s.revoke(user, less)
		})
	}
	p = s.command("run")
	s.awaitChanges(p, group, 1+len(rights))
	s.revoke(user, rights[0]) // while it runs
	s.ends(p, 3, `no ACL allows Read on topic least\.events`)
}

// others runs the commands that need rights of their own, as another user.
func (s *secure) others(group string) {
	const user = "guest"
	s.configure(group, "{"+s.trust()+", "+s.login("scram-sha-512", user)+"}", canary)
	defer s.configure(group, "{"+s.trust()+", "+s.login("scram-sha-512", "least")+"}", canary)
	s.ends(s.command("verify"), 1, `group least has no changes topic on these brokers that this user may read`)
	changes := allow{"Topic", group + "-changes", "literal", "Describe"}
	s.grant(user, changes)
	s.ends(s.command("verify"), 3, `no ACL allows Read on topic least-changes`)
	changes.operation = "Read"
	s.grant(user, changes)
	s.ends(s.command("verify"), 0, ` 0 faults`)

	s.write("events.ndjson", `{"type":"track","messageId":"m","userId":"guest","event":"Page Viewed","timestamp":"2026-01-01T10:00:00Z"}`)
	produce := func(topic string) *process {
		return s.start("produce", "--config", filepath.Join(s.dir, "c.yaml"), "--partitions", "2", "--topic", topic, filepath.Join(s.dir, "events.ndjson"))
	}
	s.ends(produce("guests"), 3, `no ACL allows Describe on topic guests`)
	topic := allow{"Topic", "guests", "literal", "Describe"}
	s.grant(user, topic)
	s.ends(produce("guests"), 3, `no ACL allows Create on topic guests`)
	topic.operation = "Create"
	s.grant(user, topic)
	s.ends(produce("guests"), 3, `no ACL allows Write on`)
	topic.operation = "Write"
	s.grant(user, topic)
	s.ends(produce("guests"), 0, `1 record sent to guests`)
}

func perTopic(all []allow, operation string) (out []allow) {
	for _, a := range all {
		a.operation = operation
		out = append(out, a)
	}
	return out
}

func withoutRights(all, some []allow) (rest []allow) {
	for _, a := range all {
		known := false
		for _, b := range some {
			known = known || a == b
		}
		if !known {
			rest = append(rest, a)
		}
	}
	return rest
}

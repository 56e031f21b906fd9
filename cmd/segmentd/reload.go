package main

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/segmentd/segmentd/processor"
	"github.com/segmentd/segmentd/processor/admin"
	"github.com/segmentd/segmentd/processor/audit"
	"github.com/segmentd/segmentd/rules"
)

// reload reads the rule files again and puts them in force. On an error nothing
// has changed: the log has all problems of the files, and so has a *admin.RulesError.
func (s *service) reload(ctx context.Context, allowRemovals bool) (processor.Reloaded, error) {
	allowRemovals = allowRemovals || s.cfg.AllowRemovals
	set, problems := rules.LoadDirWith(s.cfg.Rules, rules.LoadOptions{NoSegments: allowRemovals})
	if set == nil {
		return processor.Reloaded{}, s.refuseRules(problems)
	}
	if err := s.topicsFor(ctx, set); err != nil {
		s.log.Error("the rules stay as they are: their topics are not there", "error", err)
		return processor.Reloaded{}, err
	}
	done, err := s.processor.Reload(ctx, set, allowRemovals)
	switch {
	case err != nil:
		s.log.Error("the rules are not reloaded as they should be", "error", err)
	case !done.Changed:
		s.log.Info("the rules are read again and are the same", "rule_set", set.Hash[:12])
	default:
		s.log.Info("the rules are read again", "rule_set", set.Hash[:12], "revision", set.Revision, "added", len(done.Segments.Added),
			"changed", len(done.Segments.Changed), "removed", len(done.Segments.Removed))
	}
	return done, err
}

func (s *service) refuseRules(problems []rules.Problem) error {
	wrong := &admin.RulesError{}
	for _, p := range problems {
		if p.Severity == rules.Error {
			wrong.Problems = append(wrong.Problems, p.Error())
			s.log.Error("the rules stay as they are: the files have errors", "problem", p.Error())
		}
	}
	return wrong
}

// topicsFor makes sure of the topics that a rule set writes to.
func (s *service) topicsFor(ctx context.Context, set *rules.Set) error {
	s.addTopics(topicNames(s.cfg, set))
	_, err := prepareTopics(ctx, s.client, s.cfg, set, s.log)
	var exit *exitError
	if errors.As(err, &exit) && exit.status == exitUsage {
		return fmt.Errorf("%w: %w", processor.ErrRefused, err)
	}
	return err
}

// addTopics lets the client know topics beyond those it knows.
func (s *service) addTopics(names []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	known := len(s.topics)
	for _, name := range names {
		if !slices.Contains(s.topics, name) {
			s.topics = append(s.topics, name)
		}
	}
	if len(s.topics) > known {
		s.client.SetTopics(slices.Clone(s.topics))
	}
}

// reloadOnHangup reloads tokens and rules at each SIGHUP until ctx ends. It is an
// administrative act, and not done where the audit log cannot have it.
func (s *service) reloadOnHangup(ctx context.Context) error {
	for {
		select {
		case <-s.hangups:
			if s.tokens != nil {
				s.tokens.Reload()
			}
			if s.audit.Append(audit.Entry{Who: "SIGHUP", Route: "reload"}) == nil {
				_, _ = s.reload(ctx, false) // the log has said what is wrong
			}
		case <-ctx.Done():
			return nil
		}
	}
}

package main

import (
	"context"
	"time"

	"github.com/segmentd/segmentd/processor/kafka"
)

// How often input topics are looked for, and how often one that is missing is told.
const (
	absentEvery     = 2 * time.Second
	absentToldEvery = 10 * time.Second
)

// watchTopics tells, until ctx ends, which input topics are missing: by the log,
// and by absentInputs. The error is that of a topic whose partition count has
// changed. What does not answer is told by those who need it.
func (s *service) watchTopics(ctx context.Context) error {
	var told time.Time
	for {
		set := s.processor.Rules()
		topics, err := s.client.Topics(ctx, topicNames(s.cfg, set)...)
		if err == nil {
			if err := s.sameCounts(set, topics); err != nil {
				return err
			}
			told = s.tellAbsent(topics, told)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(absentEvery):
		}
	}
}

// tellAbsent notes which inputs are missing and logs it now and then; it returns
// when it was last logged.
func (s *service) tellAbsent(topics map[string]kafka.Topic, told time.Time) time.Time {
	var absent []string
	for _, in := range s.cfg.Inputs {
		if _, ok := topics[in.Topic]; !ok {
			absent = append(absent, in.Topic)
		}
	}
	before := s.absent.Swap(&absent)
	if before != nil && len(*before) > 0 && len(absent) == 0 {
		s.log.Info("all input topics are there again")
		return time.Time{}
	}
	if len(absent) > 0 && time.Since(told) >= absentToldEvery {
		told = time.Now()
		s.log.Error("an input topic is missing, and all partitions wait for it: make it again with the group's number of partitions; "+
			"where records of it had been read, partitions of a decisions topic then stop until that is accepted, and events are read from the new start",
			"topics", absent, "partitions", s.layout.partitions)
	}
	return told
}

// absentInputs lists the input topics that were missing when last looked for.
func (s *service) absentInputs() []string {
	if absent := s.absent.Load(); absent != nil {
		return *absent
	}
	return nil
}

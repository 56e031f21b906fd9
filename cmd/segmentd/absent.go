package main

import (
	"context"
	"slices"
	"time"
)

// How often input topics are looked for, and how often one that is missing is told.
const (
	absentEvery     = 2 * time.Second
	absentToldEvery = 10 * time.Second
)

// watchInputs tells, until ctx ends, which input topics are missing: by the log,
// and by absentInputs. What does not answer is told by those who need it.
func (s *service) watchInputs(ctx context.Context) error {
	var told time.Time
	for {
		absent, err := s.lookForInputs(ctx)
		if err == nil {
			before := s.absent.Swap(&absent)
			if before != nil && len(*before) > 0 && len(absent) == 0 {
				s.log.Info("all input topics are there again")
				told = time.Time{}
			}
			if len(absent) > 0 && time.Since(told) >= absentToldEvery {
				told = time.Now()
				s.log.Error("an input topic is missing, and all partitions wait for it: make it again with the group's number of partitions; "+
					"where records of it had been read, partitions of a decisions topic then stop until that is accepted, and events are read from the new start",
					"topics", absent, "partitions", s.layout.partitions)
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(absentEvery):
		}
	}
}

func (s *service) lookForInputs(ctx context.Context) (absent []string, err error) {
	var names []string
	for _, in := range s.cfg.Inputs {
		names = append(names, in.Topic)
	}
	there, err := s.client.Topics(ctx, names...)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(names, func(name string) bool { _, ok := there[name]; return ok }), nil
}

// absentInputs lists the input topics that were missing when last looked for.
func (s *service) absentInputs() []string {
	if absent := s.absent.Load(); absent != nil {
		return *absent
	}
	return nil
}

package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/segmentd/segmentd/config"
	"github.com/segmentd/segmentd/processor"
	"github.com/segmentd/segmentd/processor/kafka"
	"github.com/segmentd/segmentd/processor/stream"
	"github.com/segmentd/segmentd/rules"
)

// join is a member of the group until ctx ends. A member that died without
// leaving is taken out first, else the group would wait for its session to end.
func (s *service) join(ctx context.Context) error {
	ghost := memberFile(filepath.Join(s.cfg.Data, "member"))
	if id := ghost.read(); id != "" {
		if err := s.client.LeaveGroup(ctx, s.cfg.Group, id); err != nil {
			s.log.Debug("the former member could not leave the group", "error", err)
		}
	}
	cfg := kafka.GroupConfig{Group: s.cfg.Group, Topic: s.sharedTopic(), SessionTimeout: s.cfg.Kafka.SessionTimeout,
		Instance: instanceName(), Address: s.admin.Address(), Inputs: inputsDigest(s.cfg.Inputs), Held: s.held}
	var before []int32
	err := s.client.RunGroup(ctx, cfg, func(ctx context.Context, gen kafka.Generation) error {
		s.log.Info("generation begins", "generation", gen.ID, "partitions", fmt.Sprint(gen.Partitions),
			"gained", fmt.Sprint(without(gen.Partitions, before)), "lost", fmt.Sprint(without(before, gen.Partitions)))
		before = gen.Partitions
		if err := s.recountUntil(ctx); err != nil {
			return err
		}
		if err := ghost.write(gen.MemberID); err != nil {
			return err
		}
		return s.processor.Run(ctx, processor.Generation{Member: gen.Member(s.cfg.Group), Partitions: gen.Partitions})
	})
	switch {
	case errors.Is(err, kafka.ErrSessionTimeout), errors.Is(err, kafka.ErrUnlike):
		return usageError(err)
	case err != nil:
		return err
	}
	return ghost.remove()
}

// inputsDigest is equal where two instances judge alike what they read.
func inputsDigest(inputs []config.Input) string {
	h := sha256.New()
	for _, in := range inputs {
		fmt.Fprintf(h, "%s %s %s\n", in.Kind, in.Topic, in.Partitioner)
	}
	return hex.EncodeToString(h.Sum(nil)[:8])
}

// without lists what of all is not in some.
func without[T comparable](all, some []T) []T {
	return slices.DeleteFunc(slices.Clone(all), func(x T) bool { return slices.Contains(some, x) })
}

// sharedTopic is the topic whose partitions the group shares: who has one of
// them has that number of every topic.
func (s *service) sharedTopic() string { return s.cfg.InputsOf(config.KindEvent)[0].Topic }

// held lists the images on this disk. Where they cannot be read, others may be
// given the partitions; whoever opens them says what is wrong.
func (s *service) held() (all []kafka.Held) {
	images, err := s.store.Held(s.layout.partitions)
	if err != nil {
		s.log.Warn("it cannot be told which images are held", "error", err)
	}
	for _, id := range slices.Sorted(maps.Keys(images)) {
		all = append(all, kafka.Held{Partition: id, Transaction: images[id]})
	}
	return all
}

// instanceName tells this process from others in what is shown of the group.
func instanceName() string {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	return fmt.Sprintf("%s/%d", host, os.Getpid())
}

// recountUntil is recount, tried again where the brokers do not answer, until ctx ends.
func (s *service) recountUntil(ctx context.Context) error {
	for {
		err := s.recount(ctx)
		var exit *exitError
		if err == nil || ctx.Err() != nil {
			return nil
		}
		if errors.As(err, &exit) || errors.Is(err, stream.ErrFatal) {
			return err
		}
		s.log.Warn("the topics' partitions cannot be counted, trying again", "error", err)
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
		}
	}
}

// recount stops processing where a topic's partition count has changed since the
// start: keys then belong to other partitions than the state kept of them.
func (s *service) recount(ctx context.Context) error {
	set := s.processor.Rules()
	topics, err := s.client.Topics(ctx, topicNames(s.cfg, set)...)
	if err != nil {
		return err
	}
	return s.sameCounts(set, topics)
}

// sameCounts refuses topics that have another number of partitions than at the
// start; what does not exist is not looked at.
func (s *service) sameCounts(set *rules.Set, topics map[string]kafka.Topic) error {
	plan := planTopics(s.cfg, set, topics)
	for _, in := range s.cfg.Inputs {
		if n, ok := plan.counts[in.Topic]; ok && n != s.layout.partitions {
			return usagef("%s has %s now, and had %d at the start: keys belong to other partitions than the state kept of them. "+
				"Copy the inputs to topics with one partition count, keyed anew, and start with another group", in.Topic, count(n, "partition"), s.layout.partitions)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(plan.counts)) {
		if n := plan.counts[name]; n != s.layout.partitions {
			return usagef("%s has %s now, and had %d at the start: its readers would look on others than those that are written. "+
				"Copy what it holds to a topic of that name with %d, each partition to the same number, or start with another group", name, count(n, "partition"), s.layout.partitions, s.layout.partitions)
		}
	}
	if len(plan.wrong) > 0 {
		return usagef("%s: delete it, and have it made with 'segmentd topics --create'", strings.Join(plan.wrong, ", "))
	}
	return nil
}

// memberFile remembers the member id of the group under the data directory's lock.
type memberFile string

func (f memberFile) read() string {
	b, err := os.ReadFile(string(f))
	if err != nil {
		return ""
	}
	return string(b)
}

func (f memberFile) write(id string) error { return os.WriteFile(string(f), []byte(id), 0o600) }

func (f memberFile) remove() error {
	if err := os.Remove(string(f)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

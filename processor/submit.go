package processor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"

	"github.com/segmentd/segmentd/processor/core"
	"github.com/segmentd/segmentd/processor/stream"
	"github.com/segmentd/segmentd/processor/wire"
	"github.com/segmentd/segmentd/rules"
	"github.com/segmentd/segmentd/state/subject"
)

// Submission is a request or a decision of a subject that whoever asks this instance
// wants sent to an input.
type Submission struct {
	Kind    wire.Kind // wire.Requests or wire.Decisions
	Subject subject.ID
	At      subject.Instant
	Fields  map[string]any // the record's members beside type, subject and timestamp
}

// NoInputError: nothing can be sent to any input of the kind.
type NoInputError struct{ detail string }

// Error says what to configure.
func (e *NoInputError) Error() string { return e.detail }

// UnfitError: the record would have no effect, or another than is meant.
type UnfitError struct{ detail string }

// Error says what is wrong with the record. It holds nothing of the subject.
func (e *UnfitError) Error() string { return e.detail }

// Submit sends a record to the first input of its kind that has segmentd's own shapes,
// and returns once all replicas in sync have it: it is read as any record is, by the
// owner of the subject's partition. The error is a *NoInputError, an *UnfitError, or
// of Kafka; then it may have been sent all the same. Safe for concurrent use.
func (p *Processor) Submit(ctx context.Context, s Submission) error {
	if p.deps.Producer == nil {
		return &NoInputError{"nothing can be sent to inputs here"}
	}
	in, err := p.inputFor(s.Kind)
	if err != nil {
		return err
	}
	m, err := p.message(in, s)
	if err != nil {
		return err
	}
	select {
	case p.sending <- struct{}{}:
		defer func() { <-p.sending }()
	case <-ctx.Done():
		return ctx.Err()
	}
	_, err = p.deps.Producer.Send(ctx, []stream.Message{m})
	return err
}

// kindWords are what the configuration calls the kinds of words.
var kindWords = map[wire.Kind]string{wire.Decisions: "decision", wire.Requests: "request"}

// inputFor is the input that submissions of a kind go to.
func (p *Processor) inputFor(kind wire.Kind) (*Input, error) {
	word, why := kindWords[kind], ""
	for i := range p.cfg.Inputs {
		in := &p.cfg.Inputs[i]
		switch {
		case in.Kind != kind:
			continue
		case in.Decoder.Map != nil:
			why = fmt.Sprintf("%s has a map, for records of another shape", in.Topic)
		case in.Partition == nil:
			why = fmt.Sprintf("the partitioner of %s is any, so that nobody here knows the subject's partition", in.Topic)
		default:
			return in, nil
		}
	}
	if why == "" {
		return nil, &NoInputError{fmt.Sprintf("no input has kind %s: add one to inputs of the configuration ({topic: …, kind: %s})", word, word)}
	}
	return nil, &NoInputError{fmt.Sprintf("%s: send the %s there as your producers do, or add an input of kind %s without map and with a known partitioner", why, word, word)}
}

// message is a submission as a record of an input, which reads it as it is meant.
func (p *Processor) message(in *Input, s Submission) (stream.Message, error) {
	fields := map[string]any{"type": kindWords[s.Kind], s.Subject.Type.String(): s.Subject.Value, "timestamp": in.Decoder.TimestampUnit.JSON(s.At)}
	maps.Copy(fields, s.Fields)
	value, err := json.Marshal(fields)
	if err != nil {
		return stream.Message{}, fmt.Errorf("write the record: %w", err)
	}
	key := []byte(s.Subject.Value)
	m := stream.Message{Topic: in.Topic, Partition: in.Partition(key, p.cfg.Partitions), Timestamp: subject.FromTime(p.deps.Now()), Key: key, Value: value}
	item, rejected := wire.NewDecoder(decoderOptions(*in, p.Rules())).Decode(s.Kind, wire.Input{Key: key, Value: value, Timestamp: m.Timestamp})
	switch {
	case rejected != nil:
		return m, &UnfitError{rejected.String()}
	case item.Misunderstood != "":
		return m, &UnfitError{item.Misunderstood}
	case item.Subject != s.Subject:
		return m, errors.New("invariant: a record that was written is of another subject")
	}
	for i := range item.Decisions {
		if why := ineffective(p.Rules(), &item.Decisions[i]); why != "" {
			return m, &UnfitError{"nothing was sent: " + why}
		}
	}
	return m, nil
}

// ineffective says why a decision that stops a purpose does not; "" where it does.
func ineffective(set *rules.Set, d *subject.Decision) string {
	i, ok := set.PurposeIndex(d.Purpose)
	if !ok || !d.Status.Stops() {
		return ""
	}
	purpose := &set.Purposes[i]
	policy := core.PolicyOf(purpose)
	switch {
	case policy.Heeds(d.Status):
		return ""
	case policy.Heeds(subject.Objected):
		return fmt.Sprintf("there is no consent to %s, whose lawful basis is %s; what ends it is an objection (objected)", purpose.Key, purpose.Basis)
	}
	return fmt.Sprintf("%s has the lawful basis %s, and no decision ends that; the right to object (GDPR article 21) is of public_task, legitimate_interests and direct marketing. "+
		"What is left are restriction (article 18) and erasure (article 17)", purpose.Key, purpose.Basis)
}

// Request tells how far a subject's request is. found is false where none of that id
// is kept, or none was read yet. It waits and fails as Lookup does.
func (p *Processor) Request(ctx context.Context, id subject.ID, requestID string) (info RequestInfo, found bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, lookupWait)
	defer cancel()
	var elsewhere error
	for _, partition := range p.partitionsOf(id) {
		loop, err := p.ownerOf(partition)
		if err != nil {
			elsewhere = err
			continue
		}
		if info, found, err = loop.requestOf(ctx, id, requestID); found || err != nil {
			return info, found, err
		}
	}
	return RequestInfo{}, false, elsewhere
}

// requestOf asks the partition's goroutine for a request.
func (p *partition) requestOf(ctx context.Context, id subject.ID, requestID string) (info RequestInfo, found bool, err error) {
	err = p.ask(ctx, func(p *partition) {
		for _, s := range p.register.requests[p.image.KeyOf(id)] {
			if s.RequestID == requestID {
				info, found = p.infoOf(s), true
			}
		}
	})
	return info, found, err
}

package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/segmentd/segmentd/processor/kafka"
	"github.com/segmentd/segmentd/state/subject"
)

// seenSegments are what speakers can be in: at once, by timers, filled again when
// the rules change (the seconds are a parameter), and never.
const seenSegments = `
  - {key: seen, purpose: marketing, when: 'events("Seen").exists()'}
  - {key: lately, purpose: personalisation, when: 'events("Seen").within("2s").exists()'}
  - {key: rested, purpose: marketing, when: 'events("Seen").exists() && !events("Seen").within("1s").exists()'}
  - {key: known, purpose: personalisation, when: 'events("Seen").count() >= 0'}
  - {key: filled, purpose: marketing, when: 'events("Seen").within("%ds").count() >= 2'}
  - {key: denied_marketing, purpose: marketing, when: 'events("Seen").where(properties.marketing == "no").exists()'}
  - {key: denied_personalisation, purpose: personalisation, when: 'events("Seen").where(properties.personalisation == "no").exists()'}
`

// said is what a speaker's customer said last of a purpose.
type said string

const (
	yes     said = "yes"
	no      said = "no"      // or nothing
	pending said = "pending" // in a transaction that is open
)

// speaker decides for customers of its own, plainly and in transactions that hang,
// asks for their erasure and restriction, and sends events that say what was allowed when they were sent.
type speaker struct {
	name       string
	rng        *rand.Rand
	partitions int32
	plain, tx  *kgo.Client
	hang       time.Duration // at most
	pause      time.Duration // between two acts, at most
	ids        []string
	last       map[string]said // by "id purpose"
	restricted map[string]bool // by id
	ledger     ledger
	clock      time.Time
	serial     int
	counts     map[string]int
}

// speakerPrefix begins the ids of speakers' customers.
const speakerPrefix = "speaker-"

// newSpeaker has customers on all partitions.
func (l *live) newSpeaker(n int, hang, pause time.Duration) *speaker {
	name := fmt.Sprintf("%s%d-%d", speakerPrefix, l.seed, n)
	s := &speaker{name: name, rng: rand.New(rand.NewPCG(l.seed, uint64(100+n))), partitions: l.partitions, hang: hang, pause: pause,
		last: map[string]said{}, restricted: map[string]bool{}, ledger: ledger{}, counts: map[string]int{},
		plain: l.franz(kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerLinger(0)),
		tx:    l.franz(kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerLinger(0), kgo.TransactionalID(name))}
	for i := range 4 * l.partitions {
		s.ids = append(s.ids, fmt.Sprintf("%s-%d", name, i))
	}
	return s
}

// run acts until an instant. An error leaves it open what was said.
func (s *speaker) run(ctx context.Context, until time.Time) error {
	for time.Now().Before(until) {
		act := s.act
		if s.rng.IntN(20) == 0 {
			act = s.hung
		}
		if err := act(ctx); err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
	}
	return nil
}

// act decides and sends an event at once, or only sends one.
func (s *speaker) act(ctx context.Context) error {
	<-time.After(time.Duration(s.rng.Int64N(int64(s.pause))))
	id := s.ids[s.rng.IntN(len(s.ids))]
	if s.rng.IntN(12) == 0 && s.last[id+" marketing"] != pending && s.last[id+" personalisation"] != pending {
		if err := s.ask(ctx, id); err != nil {
			return err
		}
	}
	if purpose := s.purpose(); s.rng.IntN(3) > 0 && s.last[id+" "+purpose] != pending {
		e, err := s.decide(ctx, s.plain, id, purpose)
		if err != nil {
			return err
		}
		s.settle(id, e)
	}
	return s.event(ctx, id)
}

func (s *speaker) purpose() string { return []string{"marketing", "personalisation"}[s.rng.IntN(2)] }

// hung decides for up to three customers in a transaction, acts for some time, and
// then commits or aborts.
func (s *speaker) hung(ctx context.Context) error {
	if err := s.tx.BeginTransaction(); err != nil {
		return err
	}
	open := map[string]*entry{}
	for range 1 + s.rng.IntN(3) {
		id, purpose := s.ids[s.rng.IntN(len(s.ids))], s.purpose()
		if open[id] != nil {
			continue
		}
		e, err := s.decide(ctx, s.tx, id, purpose)
		if err != nil {
			return err
		}
		open[id], s.last[id+" "+purpose] = e, pending
	}
	for end := time.Now().Add(time.Duration(s.rng.Int64N(int64(s.hang)))); time.Now().Before(end); {
		if err := s.act(ctx); err != nil {
			return err
		}
	}
	commit := s.rng.IntN(2) == 0
	if err := s.tx.EndTransaction(ctx, kgo.TransactionEndTry(commit)); err != nil {
		return err
	}
	s.counts[map[bool]string{true: "committed", false: "aborted"}[commit]]++
	for id, e := range open {
		e.aborted = !commit
		s.settle(id, e)
		if err := s.event(ctx, id); err != nil {
			return err
		}
	}
	return nil
}

// decide sends a decision and waits for its acknowledgement.
func (s *speaker) decide(ctx context.Context, by *kgo.Client, id, purpose string) (*entry, error) {
	e := &entry{purpose: purpose, given: s.rng.IntN(2) == 0}
	status := "given"
	if !e.given {
		status = []string{"withdrawn", "objected", "refused"}[s.rng.IntN(3)]
	}
	s.counts[status]++
	return e, s.send(ctx, by, "decisions", id, e, fmt.Sprintf(`{"type":"decision","userId":%q,"purpose":%q,"status":%q,`, id, purpose, status))
}

// ask sends a request of a customer and waits for its acknowledgement: to be erased, or
// to be restricted until the next one.
func (s *speaker) ask(ctx context.Context, id string) error {
	s.serial++
	e := &entry{request: "erase"}
	switch {
	case s.rng.IntN(2) == 0:
	case s.restricted[id]:
		e.request = "unrestrict"
	default:
		e.request = "restrict"
	}
	s.counts[e.request]++
	if err := s.send(ctx, s.plain, "requests", id, e, fmt.Sprintf(`{"type":"request","requestId":"%s-q%d","userId":%q,"request":%q,`, s.name, s.serial, id, e.request)); err != nil {
		return err
	}
	s.restricted[id] = e.request == "restrict"
	if e.request == "erase" {
		s.last[id+" marketing"], s.last[id+" personalisation"] = no, no
	}
	return nil
}

// settle notes what is certain of a customer's purpose now: the last decision
// that was not aborted.
func (s *speaker) settle(id string, of *entry) {
	now := no
	for _, e := range s.ledger[id] {
		switch {
		case e.request == "erase":
			now = no
		case e.purpose == of.purpose && !e.aborted:
			now = map[bool]said{true: yes, false: no}[e.given]
		}
	}
	s.last[id+" "+of.purpose] = now
}

// event sends an event that says what is certain of its customer.
func (s *speaker) event(ctx context.Context, id string) error {
	s.serial++
	e := &entry{message: fmt.Sprintf("%s-m%d", s.name, s.serial)}
	marketing, personalisation := s.saidLast(id, "marketing"), s.saidLast(id, "personalisation")
	s.counts["events "+string(marketing)]++
	return s.send(ctx, s.plain, "events", id, e, fmt.Sprintf(`{"type":"track","event":"Seen","messageId":%q,"userId":%q,"properties":{"marketing":%q,"personalisation":%q},`,
		e.message, id, marketing, personalisation))
}

func (s *speaker) saidLast(id, purpose string) said {
	if s.restricted[id] {
		return no
	}
	if last, ok := s.last[id+" "+purpose]; ok {
		return last
	}
	return no
}

// send sends a record, ended by its timestamp, and enters it once it is
// acknowledged. No two of a speaker have one timestamp.
func (s *speaker) send(ctx context.Context, by *kgo.Client, topic, id string, e *entry, value string) error {
	now := time.Now().Truncate(time.Millisecond)
	if !now.After(s.clock) {
		now = s.clock.Add(time.Millisecond)
	}
	s.clock = now
	p, _ := kafka.Murmur2.Partition([]byte(id), s.partitions)
	r := &kgo.Record{Topic: topic, Partition: p, Key: []byte(id), Timestamp: now, Value: []byte(value + `"timestamp":"` + subject.FromTime(now).String() + `"}`)}
	if err := by.ProduceSync(ctx, r).FirstErr(); err != nil {
		return err
	}
	e.at, e.acked = subject.FromTime(now), subject.FromTime(time.Now())
	s.ledger[id] = append(s.ledger[id], e)
	return nil
}

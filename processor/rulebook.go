package processor

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/segmentd/segmentd/processor/stream"
	"github.com/segmentd/segmentd/rules"
	"github.com/segmentd/segmentd/state/subject"
)

// ruleBook is the topic on which a group's rule sets are published: the last one
// is wanted. Safe for concurrent use.
//
// INVARIANT: a partition follows a rule set only once it is published. So whoever
// has read the topic to its end knows the rule set of every checkpoint written
// before, and wants that one or a later one.
type ruleBook struct {
	group, topic string
	deps         *Deps

	mu     sync.Mutex
	buf    stream.Buffer       // guarded by mu
	next   int64               // guarded by mu: offset to read
	wanted *edition            // guarded by mu: the last one; nil: there is none
	seen   map[string]*edition // guarded by mu: all, by hash
	id     string              // guarded by mu: of the topic; "": not known
}

func newRuleBook(group string, deps *Deps) *ruleBook {
	return &ruleBook{group: group, topic: Topics{group}.Rules(), deps: deps, seen: map[string]*edition{}}
}

// read reads the topic to its end.
func (b *ruleBook) read(ctx context.Context) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.readOn(ctx)
}

func (b *ruleBook) readOn(ctx context.Context) error {
	for {
		f, err := b.fetch(ctx, b.next, 0, &b.buf)
		if err != nil {
			return err
		}
		if f.Next < b.next { // the topic was made anew
			b.forget()
		}
		for i := range f.Records {
			if err := b.take(&f.Records[i]); err != nil {
				return err
			}
		}
		b.next = f.Next
		if b.next >= f.LastStable {
			return nil
		}
	}
}

func (b *ruleBook) forget() { b.wanted, b.seen, b.next = nil, map[string]*edition{}, 0 }

// isTopic tells the topic's id: of one that was made anew nothing is known.
func (b *ruleBook) isTopic(id string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if isAnother(b.id, id) {
		b.forget()
	}
	b.id = cmp.Or(id, b.id)
}

// fetch reads from an offset; from the topic's start where it does not hold it.
func (b *ruleBook) fetch(ctx context.Context, at int64, wait time.Duration, buf *stream.Buffer) (*stream.Fetched, error) {
	fetched, err := b.deps.Fetcher.Fetch(ctx, []stream.Position{{Topic: b.topic, Offset: at}}, stream.FetchOptions{MaxWait: wait, MaxBytes: 4 << 20}, buf)
	if err == nil {
		err = fetched[0].Err
	}
	if errors.Is(err, stream.ErrOffsetOutOfRange) {
		start, end, err := b.deps.Bounds(ctx, b.topic, 0)
		if err != nil {
			return nil, fmt.Errorf("offsets of %s: %w", b.topic, err)
		}
		return &stream.Fetched{Topic: b.topic, Next: start, HighWatermark: end, LastStable: end}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("fetch %s: %w", b.topic, err)
	}
	return &fetched[0], nil
}

func (b *ruleBook) take(r *stream.Record) error {
	if r.Value == nil {
		delete(b.seen, string(r.Key))
		if b.wanted != nil && b.wanted.Hash == string(r.Key) {
			b.wanted = nil
		}
		return nil
	}
	e, err := decodeEdition(r.Key, r.Value)
	switch {
	case errors.Is(err, errForeign):
		b.deps.Logger.Error("a record that is not segmentd's is passed over", "topic", b.topic, "offset", r.Offset)
		return nil
	case err != nil:
		return configErrorf("%s, offset %d: %v: it was written by a newer version; upgrade this one", b.topic, r.Offset, err)
	}
	b.seen[e.Hash] = e
	if e.archive != nil {
		b.wanted = e
	}
	return nil
}

// want is the edition wanted as of what was read; nil: none was ever published.
func (b *ruleBook) want() *edition {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.wanted
}

// known is the edition with a hash; nil: it was never published.
func (b *ruleBook) known(hash string) *edition {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.seen[hash]
}

// await long-polls until something may have been published, or wait is over.
func (b *ruleBook) await(ctx context.Context, wait time.Duration, buf *stream.Buffer) error {
	b.mu.Lock()
	at := b.next
	b.mu.Unlock()
	_, err := b.fetch(ctx, at, wait, buf)
	return err
}

// publication is a rule set to be published.
type publication struct {
	set *rules.Set
	// removals: members of what it removes leave; nobody need look at what that is.
	removals bool
	// may looks at it as the one to follow the edition wanted so far; nil: it is the first.
	may func(context.Context, *edition) error
	// lost finds the edition that is in force where the topic has none, to be
	// published first; nil: there is none. A nil lost does not look.
	lost func(context.Context) (*edition, error)
}

// publish publishes a rule set, unless it was before, and returns once it is
// read; an error of may is returned. One transactional id for the whole group
// makes that a comparison and an exchange: of several publishers the last to
// begin has read what the others have published. What the broker does not answer
// is tried again until ctx ends.
func (b *ruleBook) publish(ctx context.Context, pub publication) error {
	for failures := 0; ; failures++ {
		err := b.tryPublish(ctx, pub)
		if err == nil || errors.Is(err, ErrRefused) || ctx.Err() != nil || dispose(err) == giveUp {
			return err
		}
		b.deps.Logger.Warn("publishing the rules failed, trying again", "topic", b.topic, "error", err)
		if err := sleep(ctx, backoff(failures)); err != nil {
			return err
		}
	}
}

func (b *ruleBook) tryPublish(ctx context.Context, pub publication) error {
	if err := b.read(ctx); err != nil || b.known(pub.set.Hash) != nil {
		return err
	}
	tx := b.deps.Transactor(b.group + "-rules")
	if err := tx.Init(ctx); err != nil {
		return fmt.Errorf("init producer: %w", err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.readOn(ctx); err != nil {
		return err
	}
	if err := b.republish(ctx, tx, pub); err != nil || b.seen[pub.set.Hash] != nil {
		return err
	}
	if err := pub.may(ctx, b.wanted); err != nil {
		return err
	}
	now := subject.FromTime(b.deps.Now())
	next, err := newEdition(pub.set, now)
	if err != nil {
		return err
	}
	next.Removals = pub.removals
	return b.write(ctx, tx, next, now)
}

// republish publishes what is in force and was lost with the topic, so that it is
// superseded as always.
func (b *ruleBook) republish(ctx context.Context, tx stream.Transactor, pub publication) error {
	if b.wanted != nil || pub.lost == nil {
		return nil
	}
	e, err := pub.lost(ctx)
	if e == nil || err != nil {
		return err
	}
	now := subject.FromTime(b.deps.Now())
	e.Published = now.String()
	b.deps.Logger.Warn("the rules in force are not on their topic any more: they are published again", "topic", b.topic, "rule_set", short(e.Hash), "revision", e.Revision)
	return b.write(ctx, tx, e, now)
}

// write publishes an edition and what is left of the one wanted so far, and
// returns once it is read.
func (b *ruleBook) write(ctx context.Context, tx stream.Transactor, next *edition, now subject.Instant) error {
	messages, err := b.messages(next, now)
	if err != nil {
		return err
	}
	if _, err := tx.Produce(ctx, messages); err != nil {
		return fmt.Errorf("produce: %w", err)
	}
	if err := tx.Commit(ctx); err != nil {
		return fmt.Errorf("commit: %w", err)
	}
	for b.seen[next.Hash] == nil { // the end of a transaction shows a little later
		if err := b.readOn(ctx); err != nil {
			return err
		}
		if err := sleep(ctx, 2*time.Millisecond); err != nil {
			return err
		}
	}
	return nil
}

// messages are what is left of the edition wanted so far, and the next one.
func (b *ruleBook) messages(next *edition, now subject.Instant) ([]stream.Message, error) {
	all := []*edition{next}
	if b.wanted != nil {
		next.Supersedes = b.wanted.Hash
		all = []*edition{b.wanted.supersededBy(next), next}
	}
	var messages []stream.Message
	for _, e := range all {
		value, err := e.encode()
		if err != nil {
			return nil, err
		}
		messages = append(messages, stream.Message{Topic: b.topic, Timestamp: now, Key: []byte(e.Hash), Value: value})
	}
	return messages, nil
}

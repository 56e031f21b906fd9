package processor

import (
	"slices"

	"github.com/segmentd/segmentd/processor/stream"
	"github.com/segmentd/segmentd/processor/wire"
	"github.com/segmentd/segmentd/state/subject"
)

// word is what a subject said, as it is read at the barrier: a decision or a request.
type word struct {
	decision subject.Decision
	request  *subject.Request // nil: it is a decision
	// beaten says of a grant that something stops it which is there to be read
	// already: it is kept as a proof, and does nothing.
	beaten bool
}

// stops reports whether it is in force from the moment it is read, whatever its date.
func (w *word) stops() bool {
	if w.request != nil {
		return w.request.Kind.Stops()
	}
	return w.decision.Status.Stops()
}

// wordsOf are the words of a decoded item, in memory of their own.
func wordsOf(item wire.Item) (words []word) {
	if item.Content == wire.HasRequest {
		q := *item.Request
		q.Traits = slices.Clone(q.Traits)
		return []word{{request: &q}}
	}
	for _, d := range item.Decisions {
		words = append(words, word{decision: d})
	}
	return words
}

// What is told of a record of decisions or requests, by the input's kind.
var (
	unreadable = map[wire.Kind]string{
		wire.Decisions: "a decision cannot be read: it has no effect",
		wire.Requests:  "a request cannot be read: it has no effect, and nobody will be answered",
	}
	misunderstood = map[wire.Kind]string{
		wire.Decisions: "a decision cannot be understood: it counts as refused",
		wire.Requests:  "something about a request is wrong: as it protects its subject it is in force",
	}
)

// decodeWords appends the words of fetched records to taken.
func (p *partition) decodeWords(in *input, f *stream.Fetched, taken []word) ([]word, error) {
	for i := range f.Records {
		r := &f.Records[i]
		p.judging.begin(in, r.Offset)
		item, reject := in.decoder.Decode(in.Kind, p.wireInput(in, r))
		if reject != nil {
			p.reject(in, r.Offset, reject)
			p.log.Error(unreadable[in.Kind], "topic", in.Topic, "offset", r.Offset, "reason", reject.Reason.String(), "detail", reject.Detail)
			continue
		}
		if to, ok := p.belongsElsewhere(in, r, item.Subject); ok {
			stops, err := p.misplaced(in, r, item, to)
			if err != nil {
				return nil, err
			}
			taken = append(taken, stops...)
			continue
		}
		if item.Misunderstood != "" {
			p.countMisunderstood(in.Kind)
			p.log.Error(misunderstood[in.Kind], "topic", in.Topic, "offset", r.Offset, "detail", item.Misunderstood)
		}
		taken = append(taken, wordsOf(item)...)
	}
	return taken, nil
}

func (p *partition) countMisunderstood(kind wire.Kind) {
	if kind == wire.Requests {
		p.deps.Metrics.CountRequestMisunderstood()
		return
	}
	p.deps.Metrics.CountMisunderstood()
}

// applyWords applies what subjects said, in order.
func (p *partition) applyWords(taken []word) error {
	for i := range taken {
		w := &taken[i]
		if w.request != nil {
			if err := p.takeRequest(w.request); err != nil {
				return err
			}
			continue
		}
		if !w.beaten {
			p.deps.Metrics.CountDecision(w.decision.Status)
			p.tellIneffective(&w.decision)
			if err := p.takeDecision(w.decision); err != nil {
				return err
			}
		}
		if err := p.keepProof(&w.decision); err != nil {
			return err
		}
	}
	return nil
}

// tellIneffective tells of a decision that was meant to stop a purpose, and does not.
// It is kept as a proof all the same.
func (p *partition) tellIneffective(d *subject.Decision) {
	if why := ineffective(p.rules(), d); why != "" {
		p.deps.Metrics.CountIneffective()
		p.log.Error("a decision ends nothing: whoever sent it has to be told", "topic", d.Source.Topic, "offset", d.Source.Offset, "status", d.Status.String(), "detail", why)
	}
}

// backlog is what stops something in more words than one transaction should hold.
type backlog struct {
	known        func(*subject.Request) (*subject.RequestState, error) // what was read before the backlog
	requests     map[requestKey]struct{}
	stops        map[stopKey]subject.Instant
	restrictions map[subject.ID]*restrictions
}

type stopKey struct {
	subject subject.ID
	purpose string // "": all
}

// requestKey is what a request is known by that is sent again.
type requestKey struct {
	subject subject.ID
	kind    subject.RequestKind
	id      string
}

// restrictions are a subject's newest requests to restrict processing and to end that.
type restrictions struct {
	restrict *subject.Request
	lifted   subject.Instant
}

func newBacklog(known func(*subject.Request) (*subject.RequestState, error)) *backlog {
	return &backlog{known, map[requestKey]struct{}{}, map[stopKey]subject.Instant{}, map[subject.ID]*restrictions{}}
}

func (b *backlog) note(taken []word) error {
	for i := range taken {
		w := &taken[i]
		switch {
		case w.request != nil:
			if err := b.noteRequest(w.request); err != nil {
				return err
			}
		case w.decision.Status.Stops():
			b.stop(stopKey{w.decision.Subject, w.decision.Purpose}, w.decision.Effective())
		}
	}
	return nil
}

func (b *backlog) stop(k stopKey, at subject.Instant) {
	if before, ok := b.stops[k]; !ok || before < at {
		b.stops[k] = at
	}
}

// noteRequest notes a request that was not sent before.
func (b *backlog) noteRequest(q *subject.Request) error {
	key := requestKey{q.Subject, q.Kind, q.RequestID}
	if _, sent := b.requests[key]; sent {
		return nil
	}
	b.requests[key] = struct{}{}
	known, err := b.known(q)
	if known != nil || err != nil {
		return err
	}
	switch q.Kind {
	case subject.Erase:
		b.stop(stopKey{q.Subject, ""}, q.Effective())
	case subject.Restrict, subject.Unrestrict:
		b.noteRestriction(q)
	}
	return nil
}

func (b *backlog) noteRestriction(q *subject.Request) {
	r := b.restrictions[q.Subject]
	if r == nil {
		r = &restrictions{lifted: subject.LongAgo}
		b.restrictions[q.Subject] = r
	}
	switch {
	case q.Kind == subject.Unrestrict:
		r.lifted = max(r.lifted, q.Effective())
	case r.restrict == nil || r.restrict.Effective() < q.Effective():
		r.restrict = q
	}
}

// restrict returns the requests to restrict that no later one in the backlog ends.
func (b *backlog) restrict() (requests []*subject.Request) {
	for _, r := range b.restrictions {
		if r.restrict != nil && r.restrict.Effective() >= r.lifted {
			requests = append(requests, r.restrict)
		}
	}
	slices.SortFunc(requests, func(a, b *subject.Request) int { return int(a.Source.Offset - b.Source.Offset) })
	return requests
}

// marked marks the grants that are beaten.
func (b *backlog) marked(taken []word) []word {
	for i := range taken {
		d := &taken[i].decision
		taken[i].beaten = taken[i].request == nil && d.Status == subject.Given && (b.beats(d, d.Purpose) || b.beats(d, ""))
	}
	return taken
}

func (b *backlog) beats(d *subject.Decision, purpose string) bool {
	at, ok := b.stops[stopKey{d.Subject, purpose}]
	return ok && at >= d.Effective()
}

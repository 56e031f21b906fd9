package transparency

import (
	"cmp"
	"fmt"
	"math"
	"time"

	"github.com/segmentd/segmentd/rules"
	"github.com/segmentd/segmentd/state/subject"
)

// Forever is longer than any bound: nothing deletes.
const Forever = time.Duration(math.MaxInt64)

// Keeping is how long a topic keeps records.
type Keeping struct {
	// Within is the longest that a record is there after it was published, or, on a
	// compacted topic, after it was replaced or removed; Forever: without bound.
	Within    time.Duration
	Compacted bool
	// Embedded says that the topic is on segmentd's own broker, which compacts when it
	// starts and deletes nothing while it is stopped.
	Embedded bool
	// Settings are those that make it so long.
	Settings string
}

// Words of Keeping and of what follows from it.
const (
	untilStart   = "until the broker in segmentd's own process starts again, as it tidies up only then"
	untilRemoved = "until replaced or removed; after that "
	// Kafka closes a partition's newest segment with the next record that is written to
	// it, and compacts closed segments alone (KIP-354).
	untilNext      = ", once a later record is written to its partition"
	untilNextPlain = ", once something newer is written to the same part of that log; until then it stays there"
)

// inWords says for how long.
func (k Keeping) inWords() string {
	switch {
	case k.Compacted:
		return untilRemoved + k.after()
	case k.Within == Forever:
		return "for ever"
	case k.Embedded:
		return "at most " + atMost(k.Within) + ", while the broker in segmentd's own process runs; it deletes nothing while it is stopped"
	}
	return "at most " + atMost(k.Within)
}

// during is inWords with the preposition.
func (k Keeping) during() string {
	if k.Within == Forever {
		return k.inWords()
	}
	return "for " + k.inWords()
}

// after says for how long what was removed or replaced stays on a compacted topic.
func (k Keeping) after() string { return k.afterIf(untilNext) }

// afterIf is after, where a bound holds on a condition, in the words that are given.
func (k Keeping) afterIf(condition string) string {
	switch {
	case k.Embedded:
		return untilStart
	case k.Within == Forever:
		return "for ever"
	}
	return "at most " + atMost(k.Within) + condition
}

// atMost says a bound in hours, from two days on in days, rounded up: it is true in any case.
func atMost(d time.Duration) string {
	unit := time.Hour
	if d > 48*time.Hour {
		unit = 24 * time.Hour
	}
	return inWords(((d + unit - 1) / unit * unit).Milliseconds())
}

// topicOf is the topic with a role that holds a purpose's data.
func (s *Source) topicOf(role Role, output string) (t Topic, ok bool) {
	for _, t := range s.Topics {
		if t.Role == role && (role == Changelog || role == RequestResults || t.Output == output) {
			return t, true
		}
	}
	return t, false
}

// howLong says of a purpose how long its data are used, when that ends, and what is
// deleted then.
func (s *Source) howLong(purpose int) []string {
	p := &s.Rules.Purposes[purpose]
	reads := s.Rules.ReadsFor(purpose)
	var said []string
	if len(reads.Events) > 0 {
		said = append(said, "What you did is used for at most "+inWords(p.Retention.Milliseconds())+
			". What is older is not used any more; it is deleted when you do the same again, when we stop looking at it, or when all of this ends.")
	}
	if s.readsTraits(purpose) {
		said = append(said, "What you told us about yourself is used until you change it, have it corrected, or this ends.")
	}
	said = append(said, "It ends "+list(s.ends(p), "or")+". What is kept for it is then deleted at once from what we use, from the working copies on our disks within "+
		inWords(s.Config.Privacy.EraseWithin.Milliseconds())+" (of a computer that is off: once it runs again)"+s.fromChangelog()+"; “What else we keep” says what stays.")
	return append(said, s.aboutGroups(p)...)
}

// ends are the ways in which the processing for a purpose ends for a subject.
func (s *Source) ends(p *rules.Purpose) (ways []string) {
	if p.Basis.NeedsConsent() {
		ways = append(ways, "when you withdraw your consent", "when the time for which you gave it is over")
	}
	if p.ConsentExpiresAfter > 0 {
		ways = append(ways, "by itself "+inWords(p.ConsentExpiresAfter.Milliseconds())+" after you agreed")
	}
	if p.Basis.EndedByObjection() || p.DirectMarketing {
		ways = append(ways, "when you object")
	}
	switch p.Basis {
	case rules.LegalObligation, rules.PublicTask:
		return append(ways, "when we erase your data, which we may refuse you while the law asks us to keep them")
	case rules.Contract:
		return append(ways, "when we erase your data, because you ask for it or because the contract is over")
	}
	return append(ways, "when you have your data erased")
}

// fromChangelog says by when the records that are replaced or removed are gone from
// the changelog.
func (s *Source) fromChangelog() string {
	t, ok := s.topicOf(Changelog, "")
	if !ok {
		return ""
	}
	switch k := t.Keeps; {
	case k.Embedded:
		return ", and from the log of our records when the broker that keeps it starts again, as it tidies up only then"
	case k.Within == Forever:
		return ", but not from the log of our records, which keeps it"
	default:
		return ", and from the log of our records within " + atMost(k.Within) + untilNextPlain
	}
}

// aboutGroups says for how long it can be seen that a subject is or was in a group.
func (s *Source) aboutGroups(p *rules.Purpose) (said []string) {
	if t, ok := s.topicOf(Changes, p.Output); ok {
		said = append(said, "That you entered or left a group is kept, for those who use the groups, "+t.Keeps.during()+".")
	}
	if t, ok := s.topicOf(Members, p.Output); ok {
		said = append(said, "That you are in a group is kept, in a log of its own, while you are; after that "+t.Keeps.afterIf(untilNextPlain)+".")
	}
	return said
}

// besides says what is kept beside the data of purposes, for how long, and why.
func (s *Source) besides() []string {
	said := []string{
		"The id by which we know you, when we last heard of you and how often your groups changed: until you have your data erased.",
		fmt.Sprintf("What you agreed to, refused, withdrew or objected to, when, how, and which version of this notice you had (the newest %d of it): until you have your data erased, as we must be able to show it.", subject.MaxProofs),
	}
	asked := fmt.Sprintf("What you asked of us and how far it is (the newest %d requests): for ever, after an erasure without your id.", subject.MaxRequests)
	if t, ok := s.topicOf(RequestResults, ""); ok {
		asked += " Messages about it, with the request's number and not with your id, are kept " + t.Keeps.during() + "."
	}
	said = append(said, asked)
	if window := s.Config.Processing.DedupeWindow; window > 0 {
		said = append(said, "Hashes of the numbers of the newest messages about you, so that none counts twice: until something reaches us "+inWords(window.Milliseconds())+" after that message, or nothing is allowed any more.")
	}
	said = append(said, "In an audit log, which of us looked at your data, when and what for, under a keyed hash of your id in the place of it: until we delete that part of the log; an erasure does not delete it.")
	if lists := s.listNames(); len(lists) > 0 {
		said = append(said, "Our lists of people ("+list(lists, "and")+"): until we change them by hand; an erasure does not change them.")
	}
	said = append(said, "After an erasure: a keyed hash of your id, the time of the erasure, a counter, and the numbers of your requests with how far they are, for ever. Without them older messages that are read again would bring your data back.")
	return append(said, "The messages themselves by which we learn what you do, decide and ask for, which an erasure does not change: "+
		cmp.Or(s.Config.Privacy.InputRetention, "ask us for how long."))
}

// listNames are the names of the lists that rules read, in words.
func (s *Source) listNames() (names []string) {
	read := map[string]bool{}
	for i := range s.Rules.Purposes {
		note(read, s.Rules.ReadsFor(i).Lists)
	}
	for _, key := range sorted(read) {
		names = append(names, "“"+label(key)+"”")
	}
	return names
}

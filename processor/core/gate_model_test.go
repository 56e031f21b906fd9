package core_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/segmentd/segmentd/state/subject"
)

// gateBases are the bases of the purposes that the model of the gate knows: all that
// the regulation has, p0 to p6.
var gateBases = []string{"consent", "explicit_consent", "contract", "legal_obligation", "vital_interests", "public_task", "legitimate_interests"}

// gateExpiry is consent_expires_after of p0, in seconds.
const gateExpiry = 40

// gateNotice is the oldest notice on which a consent counts for p0.
const gateNotice = "2026-02"

// gateInput is a step of an interleaving. Instants are small numbers: seconds.
type gateInput struct {
	kind     string // event identify decision erase restrict unrestrict rectify clock
	at       int64
	purpose  int // of events: the only one that reads it, -1: all do; of decisions: -1 is all
	status   string
	explicit bool
	notice   string // of a grant, the version that it refers to
	expires  int64  // of a grant; 0: it does not
	value    int64  // of traits
}

// gateModel says what may be kept of one subject, and why an event is not used,
// from the documents alone: it recomputes everything from all that was said.
type gateModel struct {
	clock, partition int64
	said             []gateInput // decisions that were read
	erased           int64       // 0: never
	restricts, lifts []int64
	waiting          []gateInput // rectifications ahead of the clock
	heard            bool        // an input that opens what needs no consent was applied
	kept             [7]gateKept
}

// gateKept is what is kept for one purpose.
type gateKept struct {
	known  bool
	since  int64
	all    []int64 // dates of the events that every purpose reads
	own    []int64 // and of those that this one alone does
	traits []gateTrait
}

// gateTrait is a value of the trait and its date; right: a rectification said it.
type gateTrait struct {
	at, value int64
	right     bool
}

const gateNever = int64(1) << 40

func needsConsent(p int) bool { return p < 2 }

// stops reports whether a decision ends a purpose's basis: any that is not a consent
// where consent is the basis; where article 21 gives a right to object, an objection.
func (in gateInput) stops(p int) bool {
	switch {
	case in.kind != "decision" || in.status == "given" || in.purpose >= 0 && in.purpose != p:
		return false
	case needsConsent(p):
		return true
	}
	return in.status == "objected" && gateObjects(p)
}

func gateObjects(p int) bool { return p >= 5 }

// grants reports whether it is a consent that a purpose takes (article 9: explicit; article 13: on a notice that still tells what is done).
func (in gateInput) grants(p int) bool {
	return in.kind == "decision" && in.status == "given" && (in.purpose < 0 || in.purpose == p) && (in.explicit || p != 1) && (p != 0 || in.notice >= gateNotice)
}

// stop is the newest stop of a purpose and its word.
func (m *gateModel) stop(p int) (at int64, word string) {
	rank := []string{"", "given", "refused", "withdrawn", "objected", "erased"}
	if m.erased != 0 {
		at, word = m.erased, "erased"
	}
	for _, d := range m.said {
		if d.stops(p) && (word == "" || d.at > at || d.at == at && slices.Index(rank, d.status) > slices.Index(rank, word)) {
			at, word = d.at, d.status
		}
	}
	return at, word
}

// end is when a consent ends for a purpose.
func (in gateInput) end(p int) int64 {
	end := gateNever
	if in.expires != 0 {
		end = in.expires
	}
	if p == 0 {
		end = min(end, in.at+gateExpiry)
	}
	return end
}

// period is whether the basis holds at an instant, since when, and until when.
func (m *gateModel) period(p int, at int64) (known bool, since, until int64, lapsed bool) {
	stop, word := m.stop(p)
	if !needsConsent(p) && word == "" {
		return m.heard, -gateNever, gateNever, false
	}
	var grants []gateInput
	for _, d := range m.said {
		if d.grants(p) && d.at <= at && (word == "" || d.at > stop) {
			grants = append(grants, d)
		}
	}
	if len(grants) == 0 {
		return false, 0, gateNever, false
	}
	slices.SortStableFunc(grants, func(a, b gateInput) int {
		if a.at != b.at {
			return int(a.at - b.at)
		}
		return int(b.end(p) - a.end(p)) // the one that ends first is the more restrictive, and counts
	})
	if !needsConsent(p) {
		return true, grants[0].at, gateNever, false
	}
	since, until = grants[0].at, grants[0].end(p)
	for _, g := range grants[1:] {
		if g.at > until {
			since = g.at
		}
		until = g.end(p)
	}
	return until > at, since, until, until <= at
}

func (m *gateModel) restrictedAt(t int64) bool {
	newest := -gateNever
	for _, l := range m.lifts {
		if l <= t {
			newest = max(newest, l)
		}
	}
	return slices.ContainsFunc(m.restricts, func(r int64) bool { return r <= t && r >= newest })
}

func (m *gateModel) restricted(clock int64) bool {
	newest := -gateNever
	for _, l := range m.lifts {
		if l <= clock {
			newest = max(newest, l)
		}
	}
	return slices.ContainsFunc(m.restricts, func(r int64) bool { return r >= newest })
}

// settle deletes what the basis does not cover at an instant. leave says that a basis
// that ends at this very instant is left for later: a renewal may come.
func (m *gateModel) settle(p int, at int64, leave bool) (moved bool) {
	k := &m.kept[p]
	known, since, until, _ := m.period(p, at)
	if leave && k.known && !known && until == at {
		return false
	}
	moved = known != k.known
	k.known, k.since = known, since
	outside := func(t int64) bool { return !known || t < since }
	k.all, k.own = slices.DeleteFunc(k.all, outside), slices.DeleteFunc(k.own, outside)
	k.traits = slices.DeleteFunc(k.traits, func(t gateTrait) bool { return outside(t.at) })
	return moved
}

// ahead returns the instants after the subject's clock, or where a basis ends at it,
// at which something takes force by itself.
func (m *gateModel) ahead() (instants []int64) {
	for _, d := range m.said {
		for p := range m.kept {
			if stop, word := m.stop(p); d.grants(p) && d.at > m.clock && (word == "" || d.at > stop) {
				instants = append(instants, d.at)
			}
		}
	}
	for p := range m.kept {
		if _, _, until, _ := m.period(p, m.clock); m.kept[p].known {
			instants = append(instants, until)
		}
	}
	if !m.fenced() { // of whom nothing is kept, not even a timer
		instants = append(instants, m.lifts...)
	}
	for _, w := range m.waiting {
		instants = append(instants, w.at)
	}
	slices.Sort(instants)
	return slices.Compact(instants)
}

// reach applies what takes force by itself before an instant, consents and requests
// at it too; over says that also bases end at it.
func (m *gateModel) reach(to int64, over bool) {
	for again := true; again; {
		again = false
		for _, d := range m.ahead() {
			if d < m.clock || d > to || d == m.clock && m.quiet(d, d < to || over) {
				continue
			}
			if m.takesForce(d, d < to || over) {
				again = true
				break
			}
		}
	}
}

// quiet reports whether nothing happens at the clock's own instant any more.
func (m *gateModel) quiet(d int64, past bool) bool {
	if slices.ContainsFunc(m.waiting, func(w gateInput) bool { return w.at <= d }) {
		return false
	}
	for p := range m.kept {
		if known, _, _, _ := m.period(p, d); m.kept[p].known && !known && past {
			return false
		}
	}
	return true
}

func (m *gateModel) takesForce(d int64, past bool) (any bool) {
	if i := slices.IndexFunc(m.waiting, func(w gateInput) bool { return w.at <= d }); i >= 0 {
		w := m.waiting[i]
		m.waiting = slices.Delete(m.waiting, i, i+1)
		m.rectify(w)
		return true
	}
	granted := false
	for p := range m.kept {
		stop, word := m.stop(p)
		granted = granted || d > m.clock && slices.ContainsFunc(m.said, func(g gateInput) bool { return g.grants(p) && g.at == d && (word == "" || d > stop) })
	}
	lifted := m.restricted(m.clock) && !m.restricted(d)
	m.heard = m.heard || granted
	for p := range m.kept {
		any = m.settle(p, d, !past) || any
	}
	if any || granted || lifted {
		any = any || m.clock < d
		m.clock = max(m.clock, d)
	}
	return any
}

// take applies an input and says what became of an event: "admitted", or why it was not.
func (m *gateModel) take(in gateInput) string {
	switch in.kind {
	case "clock":
		m.partition = max(m.partition, in.at)
		m.reach(m.partition, false)
	case "event", "identify":
		return m.event(in)
	case "decision":
		m.decide(in)
	case "erase":
		m.erase(in.at)
	case "restrict":
		if in.at > m.erased || m.erased == 0 {
			m.restricts = append(m.restricts, in.at)
		}
	case "unrestrict":
		if (in.at > m.erased || m.erased == 0) && !slices.Contains(m.lifts, in.at) {
			was := m.restricted(m.clock)
			m.lifts = append(m.lifts, in.at)
			if in.at > m.clock && in.at <= m.partition {
				if m.reach(in.at, false); m.fenced() && was && !m.restricted(in.at) {
					m.clock = in.at
				}
			}
		}
	case "rectify":
		if in.at > m.clock && in.at > m.partition {
			if !m.fenced() && in.at > m.erased && !slices.ContainsFunc(m.waiting, func(w gateInput) bool { return w.at == in.at }) {
				m.waiting = append(m.waiting, in)
			}
		} else {
			m.rectify(in)
		}
	}
	return ""
}

// fenced reports whether the subject was erased and has said nothing since.
func (m *gateModel) fenced() bool {
	return m.erased != 0 && !slices.ContainsFunc(m.said, func(d gateInput) bool {
		return slices.ContainsFunc([]int{0, 1, 2, 3, 4, 5, 6}, func(p int) bool { return d.at > m.erased && (d.stops(p) || d.grants(p)) })
	})
}

func (m *gateModel) event(in gateInput) string {
	at := max(m.clock, in.at)
	if m.restrictedAt(in.at) || m.restricted(at) {
		return "restricted"
	}
	opens := false
	if !m.heard && slices.ContainsFunc([]int{2, 3, 4, 5, 6}, func(p int) bool { _, word := m.stop(p); return word == "" }) {
		m.reach(at, true) // what is due before it finds what was known before it
		opens, m.heard = !m.heard, true
	}
	out, admitted := "", [7]bool{}
	for p := range m.kept {
		if in.purpose >= 0 && in.purpose != p {
			continue
		}
		why := m.judge(p, in.at, at)
		if admitted[p] = why == "admitted"; out == "" || why == "admitted" {
			out = why
		}
	}
	if out != "admitted" && !opens {
		return out
	}
	m.reach(at, true)
	m.clock = at
	for p := range m.kept {
		m.settle(p, at, false)
		if admitted[p] {
			m.kept[p].keep(in)
		}
	}
	return out
}

func (m *gateModel) judge(p int, date, at int64) string {
	known, since, _, lapsed := m.period(p, at)
	_, word := m.stop(p)
	switch {
	case !known && lapsed:
		return "expired"
	case !known && word != "":
		return word
	case !known:
		return "no_decision"
	case date < since:
		return "before_period"
	}
	return "admitted"
}

func (k *gateKept) keep(in gateInput) {
	switch {
	case in.kind == "identify":
		k.traits = append(k.traits, gateTrait{in.at, in.value, false})
	case in.kind == "rectify":
		k.traits = append(k.traits, gateTrait{in.at, in.value, true})
	case in.purpose < 0:
		k.all = append(k.all, in.at)
	default:
		k.own = append(k.own, in.at)
	}
}

// trait is the value that counts: the newest, of one instant the first rectification, else the
// last that was said.
func (k *gateKept) trait() (value int64, ok bool) {
	var best gateTrait
	for _, t := range k.traits {
		if !ok || t.at > best.at || t.at == best.at && !best.right {
			best, ok = t, true
		}
	}
	return best.value, ok
}

func (m *gateModel) decide(d gateInput) {
	m.said = append(m.said, d)
	if d.status != "given" {
		for p := range m.kept {
			if d.stops(p) {
				m.settle(p, m.clock, false)
			}
		}
		return
	}
	counts := false
	for p := range m.kept {
		stop, word := m.stop(p)
		counts = counts || d.grants(p) && (word == "" || d.at > stop)
	}
	switch {
	case !counts || d.at > m.clock && d.at > m.partition:
	case d.at > m.clock:
		m.reach(d.at, false)
	default:
		m.heard = true
		for p := range m.kept {
			m.settle(p, m.clock, !d.grants(p))
		}
	}
}

func (m *gateModel) erase(at int64) {
	if m.erased != 0 && at <= m.erased {
		return
	}
	older := func(t int64) bool { return t <= at }
	m.erased, m.clock = at, max(m.clock, at)
	m.restricts, m.lifts = slices.DeleteFunc(m.restricts, older), slices.DeleteFunc(m.lifts, older)
	m.waiting = slices.DeleteFunc(m.waiting, func(w gateInput) bool { return w.at <= at || m.fenced() })
	for p := range m.kept {
		m.settle(p, m.clock, false)
	}
}

func (m *gateModel) rectify(in gateInput) {
	if m.erased != 0 && in.at <= m.erased {
		return
	}
	at := max(m.clock, in.at)
	var admitted [7]bool
	any := false
	for p := range m.kept {
		admitted[p] = m.judge(p, in.at, at) == "admitted"
		any = any || admitted[p]
	}
	if !any {
		return
	}
	m.reach(at, true)
	m.clock = at
	for p := range m.kept {
		m.settle(p, at, false)
		if admitted[p] {
			m.kept[p].keep(in)
		}
	}
}

// text says what is kept, to be compared.
func (m *gateModel) text() string {
	var b strings.Builder
	for p := range m.kept {
		k := &m.kept[p]
		if !k.known {
			continue
		}
		slices.Sort(k.all)
		slices.Sort(k.own)
		fmt.Fprintf(&b, "p%d all %v own %v", p, k.all, k.own)
		value, ok := k.trait()
		if ok {
			fmt.Fprintf(&b, " trait %d", value)
		}
		holds, _, _, _ := m.period(p, m.clock) // a basis that ends at this very instant may yet be renewed: nothing is decided
		if int64(len(k.all)+len(k.own))+value >= 3 && holds && !m.restricted(m.clock) {
			b.WriteString(" member")
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// randomGateInputs is an interleaving.
func randomGateInputs(rng *rand.Rand, n int) (inputs []gateInput) {
	pick := func(words ...string) string { return words[rng.IntN(len(words))] }
	now := int64(100)
	for range n {
		now += rng.Int64N(12)
		in := gateInput{at: now, purpose: rng.IntN(8) - 1}
		switch rng.IntN(4) {
		case 0:
			in.at -= rng.Int64N(40) // late
		case 1:
			in.at += rng.Int64N(20) // read ahead
		}
		switch in.kind = pick("event", "event", "event", "event", "identify", "decision", "decision", "decision", "decision", "decision", "erase", "restrict", "unrestrict", "unrestrict", "rectify", "clock", "clock"); in.kind {
		case "decision":
			in.status = pick("given", "given", "given", "refused", "withdrawn", "objected")
			in.notice = pick("", "2025-12", "2026-02", "2026-02", "2026-03", "2026-03")
			if in.explicit = rng.IntN(3) > 0; in.status == "given" && rng.IntN(3) == 0 {
				in.expires = in.at + 1 + rng.Int64N(30)
			}
		case "identify", "rectify":
			in.purpose, in.value = -1, 1+rng.Int64N(5)
		case "clock":
			in.at = now
		}
		if len(inputs) > 0 && rng.IntN(4) == 0 {
			in.at = inputs[rng.IntN(len(inputs))].at // of one instant
		}
		inputs = append(inputs, in)
	}
	return inputs
}

// instant is a model's number as an instant.
func gateInstant(n int64) subject.Instant { return subject.Instant(1_767_225_600+n) * 1_000_000 }

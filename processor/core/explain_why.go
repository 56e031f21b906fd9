package core

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/segmentd/segmentd/rules"
)

// why says in one sentence what decides the membership.
func (e *Explanation) why() string {
	switch {
	case e.RestrictedSince != "":
		return "Not a member because " + e.whyRestricted() + "."
	case !e.Basis.Holds:
		return "Not a member because " + e.whyUnknown() + "."
	case e.Filling:
		return "As it was before the rule changed: what it reads is being filled from the events' topics, and it decides nothing before that is done."
	case e.Member && holds(e.When):
		return "A member because " + because(e.When) + "."
	case e.Member && holds(e.StayWhile):
		return "Still a member: when does not hold any more, but stay_while does, because " + because(e.StayWhile) + "."
	case e.Member && e.DwellUntil != "":
		return "Still a member although the rule holds no more: min_dwell keeps members in for " + e.Rule.MinDwell + ", until " + e.DwellUntil + "."
	case e.Member:
		return "A member by what was decided last."
	case holds(e.When) && e.CooldownUntil != "":
		return "Not a member although the rule holds: cooldown keeps those who left out for " + e.Rule.Cooldown + ", until " + e.CooldownUntil + "."
	}
	return "Not a member because " + because(e.When) + "."
}

// whyRestricted says why nothing is decided about the subject.
func (e *Explanation) whyRestricted() string {
	why := "processing is restricted since " + e.RestrictedSince + ", as the subject asked, and nothing is decided about it"
	if e.RestrictedUntil != "" {
		why += " until " + e.RestrictedUntil
	}
	return why
}

// whyUnknown says why nothing may be known of the subject for the purpose.
func (e *Explanation) whyUnknown() string {
	why := map[string]string{
		"no_decision":  "no consent to " + e.Purpose + " is known",
		"no_input":     "nothing has come in about the subject yet",
		"refused":      "consent to " + e.Purpose + " was refused",
		"withdrawn":    "consent to " + e.Purpose + " was withdrawn",
		"objected":     "the subject objected to " + e.Purpose,
		"erased":       "the subject was erased",
		"expired":      "consent to " + e.Purpose + " expired",
		"underage":     "the subject is not old enough for " + e.Purpose,
		"no_birthdate": e.Purpose + " has a minimum age and no birthdate is known",
	}[e.Basis.Reason]
	if e.Basis.Reason == "no_decision" && e.LawfulBasis == rules.ExplicitConsent.String() {
		why = "no explicit consent to " + e.Purpose + " is known"
	}
	if e.Basis.DecidedAt != "" {
		why += " at " + e.Basis.DecidedAt
	}
	switch {
	case e.Basis.KnownFrom == "":
	case e.Basis.Reason == "underage":
		why += " before " + e.Basis.KnownFrom
	default:
		why += "; a later one takes force at " + e.Basis.KnownFrom
	}
	return why
}

func holds(p *rules.Part) bool { return p != nil && p.Holds != nil && *p.Holds }

// maxReasons bounds the conditions that a sentence names.
const maxReasons = 3

// because names the conditions that make a condition what it is.
func because(p *rules.Part) string {
	parts := deciding(p, nil)
	if len(parts) == 0 {
		return "of a part of the rule that is not shown"
	}
	var said []string
	for _, d := range parts[:min(len(parts), maxReasons)] {
		said = append(said, say(d))
	}
	text := strings.Join(said, " and ")
	if more := len(parts) - maxReasons; more > 0 {
		text += fmt.Sprintf(" and %d more conditions", more)
	}
	return text
}

// deciding appends the conditions that make p what it is: of a conjunction all,
// or those that fail; of a disjunction one that holds, or all.
func deciding(p *rules.Part, list []*rules.Part) []*rules.Part {
	switch p.Kind {
	case "and", "or":
		return decidingOf(p, list)
	case "not", "let":
		return decidingPart(p, 0, list)
	case "choice":
		if len(p.Parts) < 3 {
			return list
		}
		list = decidingPart(p, 0, list)
		if holds(&p.Parts[0]) {
			return decidingPart(p, 1, list)
		}
		return decidingPart(p, 2, list)
	}
	return append(list, p)
}

func decidingPart(p *rules.Part, i int, list []*rules.Part) []*rules.Part {
	if i >= len(p.Parts) || p.Parts[i].Kind == "constant" {
		return list
	}
	return deciding(&p.Parts[i], list)
}

func decidingOf(p *rules.Part, list []*rules.Part) []*rules.Part {
	for i := range p.Parts {
		if holds(&p.Parts[i]) != holds(p) {
			continue
		}
		list = deciding(&p.Parts[i], list)
		if p.Kind == "or" && holds(p) {
			break
		}
	}
	return list
}

// say is a condition and how it stands, in words.
func say(p *rules.Part) string {
	text := p.Text + " holds"
	if !holds(p) {
		text = p.Text + " does not hold"
	}
	var facts []string
	for _, r := range p.Reads {
		if r.Measure != "" {
			facts = append(facts, measureText(&r))
		}
	}
	for i := range p.Parts {
		if v := &p.Parts[i]; v.Holds == nil && v.Kind != "constant" {
			facts = append(facts, sideText(p.Text, v.Text)+" is "+valueText(v.Value))
		}
	}
	if p.Held != nil {
		facts = append(facts, heldText(p.Held))
	}
	if len(facts) > 0 {
		text += " (" + strings.Join(facts, ", ") + ")"
	}
	return text
}

// sideText names a value of a condition: a long one by the side on which it stands.
func sideText(condition, value string) string {
	switch {
	case utf8.RuneCountInString(value) <= maxRepeated:
		return value
	case strings.HasPrefix(condition, value):
		return "the left side"
	case strings.HasSuffix(condition, value):
		return "the right side"
	}
	return value
}

// maxRepeated bounds, in runes, what a sentence says twice.
const maxRepeated = 40

func measureText(r *rules.LeafReading) string {
	what := map[string]string{"count": "the count", "sum": "the sum", "distinct": "the number of different values", "days": "the number of days"}
	text := what[r.Measure] + " is " + valueText(r.Value)
	if r.AtLeast {
		text += " or more"
	}
	return text
}

func heldText(h *rules.HeldReading) string {
	if h.Since == "" {
		return "it is not so now"
	}
	text := "it has been so since " + h.Since + ", for long enough "
	if h.From == "" {
		return text + "not before the year 10000"
	}
	return text + "from " + h.From + " on"
}

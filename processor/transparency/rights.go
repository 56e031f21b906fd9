package transparency

import (
	"slices"
	"strings"

	"github.com/segmentd/segmentd/rules"
)

// Names of rights that not every purpose has.
const (
	rectification = "rectification"
	portability   = "portability"
	objection     = "objection"
	withdrawal    = "withdrawal"
	humanDecision = "human decision"
)

// hasRight reports whether subjects have a right with regard to a purpose. What they
// did cannot be rectified, only what they said of themselves.
func (s *Source) hasRight(purpose int, right string) bool {
	p := &s.Rules.Purposes[purpose]
	switch right {
	case rectification:
		return s.readsTraits(purpose)
	case portability:
		return p.Basis.NeedsConsent() || p.Basis == rules.Contract
	case objection:
		return p.Basis.EndedByObjection() || p.DirectMarketing
	case withdrawal:
		return p.Basis.NeedsConsent()
	case humanDecision:
		return p.SignificantEffect
	}
	return true
}

// readsTraits reports whether a purpose uses what subjects said of themselves.
func (s *Source) readsTraits(purpose int) bool {
	isTrait := func(path string) bool { return strings.HasPrefix(path, "traits.") }
	return slices.ContainsFunc(s.Rules.ReadsFor(purpose).Fields, isTrait)
}

// rightNames are the rights with regard to a purpose, in the order of rights.
func (s *Source) rightNames(purpose int) []string {
	names := []string{}
	for _, right := range []string{"access", rectification, "erasure", "restriction", portability, objection, withdrawal, humanDecision, "complaint"} {
		if s.hasRight(purpose, right) {
			names = append(names, right)
		}
	}
	return names
}

// rights are those that a subject has by the bases of the purposes (GDPR
// articles 13(2)(b) to (d) and 14(2)(c) to (e)).
func rights(s *Source) []Right {
	all := []Right{
		{"access", "You can ask what we hold about you, and get a copy."},
		{rectification, "You can have wrong data corrected" + dated(": ", s.purposesWith(rectification)) + "."},
		{"erasure", "You can have your data deleted: all of them at once, with which all of this ends." + s.refusable()},
		{"restriction", "You can ask us to keep your data without using them, for instance while you contest that they are right; nothing is deleted meanwhile, unless you withdraw a consent, object or ask for it."},
	}
	if which := s.purposesWith(portability); which != "" {
		all = append(all, Right{portability, "You can get the data that you gave us, and what we saw you do, in a form that another service can read: " + which + "."})
	}
	if which := s.purposesWith(objection); which != "" {
		all = append(all, Right{objection, "You can object; for direct marketing without giving a reason: " + which + "."})
	}
	if which := s.purposesWith(withdrawal); which != "" {
		text := "You can withdraw your consent at any time; what was done until then stays lawful: " + which + "."
		if how := s.Config.Privacy.Withdrawal; how != "" {
			text += " " + how
		}
		all = append(all, Right{withdrawal, text})
	}
	if which := s.purposesWith(humanDecision); which != "" {
		all = append(all, Right{humanDecision, "You can have a human being decide, say what you think, and contest the decision: " + which + "."})
	}
	complaint := "You can complain to a supervisory authority"
	if authority := s.Config.Privacy.Authority; authority != "" {
		complaint += ": " + authority
	}
	return append(all, Right{"complaint", complaint + "."})
}

// exercise says how to use rights (GDPR article 12(3), (5) and (6)), and what can be had besides.
func exercise(s *Source) []string {
	var said []string
	if contact := s.Config.Controller.Contact; contact != "" {
		said = append(said, "Write to "+contact+".")
	}
	if dpo := s.Config.Controller.DPO; dpo != "" {
		said = append(said, "You can also write to our data protection officer: "+dpo+".")
	}
	if len(s.Config.Privacy.Transfers) > 0 {
		said = append(said, "We give you a copy of what protects your data in other countries.") // article 13(1)(f)
	}
	return append(said, "It costs nothing. We answer within a month; where that is not enough we tell you why within that month, and have two months more. We may ask you to show who you are.")
}

// purposesWith names the purposes with a right, "" if it is of none.
func (s *Source) purposesWith(right string) string {
	var names []string
	for i := range s.Rules.Purposes {
		if s.hasRight(i, right) {
			names = append(names, "“"+s.Rules.Purposes[i].Description+"”")
		}
	}
	return list(names, "and")
}

// refusable says when an erasure can be refused (GDPR article 17(3)(b)), where a purpose
// is such that it can.
func (s *Source) refusable() string {
	for i := range s.Rules.Purposes {
		if b := s.Rules.Purposes[i].Basis; b == rules.LegalObligation || b == rules.PublicTask {
			return " While the law asks us to keep some of them we may refuse that, and tell you why."
		}
	}
	return ""
}

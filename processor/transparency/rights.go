package transparency

import "github.com/segmentd/segmentd/rules"

// Names of rights that not every purpose has.
const (
	portability   = "portability"
	objection     = "objection"
	withdrawal    = "withdrawal"
	humanDecision = "human decision"
)

// hasRight reports whether subjects have a right with regard to a purpose.
func hasRight(p *rules.Purpose, right string) bool {
	switch right {
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

// rightNames are the rights with regard to a purpose, in the order of rights.
func rightNames(p *rules.Purpose) []string {
	names := []string{}
	for _, right := range []string{"access", "rectification", "erasure", "restriction", portability, objection, withdrawal, humanDecision, "complaint"} {
		if hasRight(p, right) {
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
		{"rectification", "You can have wrong data corrected."},
		{"erasure", "You can have your data deleted."},
		{"restriction", "You can ask us to keep your data without using them, for instance while you contest that they are right; nothing is deleted meanwhile, unless you withdraw a consent, object or ask for it."},
	}
	if keys := s.purposesWith(portability); keys != "" {
		all = append(all, Right{portability, "You can get the data that you gave us, and what we saw you do, in a form that another service can read: " + keys + "."})
	}
	if keys := s.purposesWith(objection); keys != "" {
		all = append(all, Right{objection, "You can object; for direct marketing without giving a reason: " + keys + "."})
	}
	if keys := s.purposesWith(withdrawal); keys != "" {
		text := "You can withdraw your consent at any time; what was done until then stays lawful: " + keys + "."
		if how := s.Config.Privacy.Withdrawal; how != "" {
			text += " " + how
		}
		all = append(all, Right{withdrawal, text})
	}
	if keys := s.purposesWith(humanDecision); keys != "" {
		all = append(all, Right{humanDecision, "You can have a human being decide, say what you think, and contest the decision: " + keys + "."})
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
	var keys []string
	for i := range s.Rules.Purposes {
		if p := &s.Rules.Purposes[i]; hasRight(p, right) {
			keys = append(keys, "“"+label(p.Key)+"”")
		}
	}
	return list(keys, "and")
}

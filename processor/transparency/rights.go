package transparency

import "github.com/segmentd/segmentd/rules"

// rights are those that a subject has by the bases of the purposes (GDPR
// articles 13(2)(b) to (d) and 14(2)(c) to (e)).
func rights(s *Source) []Right {
	all := []Right{
		{"access", "You can ask what we hold about you, and get a copy."},
		{"rectification", "You can have wrong data corrected."},
		{"erasure", "You can have your data deleted."},
		{"restriction", "You can ask us to keep your data without using them, for instance while you contest that they are right."},
	}
	of := func(asked func(*rules.Purpose) bool) string { return s.purposesWith(asked) }
	if keys := of(func(p *rules.Purpose) bool { return p.Basis.NeedsConsent() || p.Basis == rules.Contract }); keys != "" {
		all = append(all, Right{"portability", "You can get the data that you gave us in a form that another service can read: " + keys + "."})
	}
	if keys := of(func(p *rules.Purpose) bool { return p.Basis.EndedByObjection() || p.DirectMarketing }); keys != "" {
		all = append(all, Right{"objection", "You can object; for direct marketing without giving a reason: " + keys + "."})
	}
	if keys := of(func(p *rules.Purpose) bool { return p.Basis.NeedsConsent() }); keys != "" {
		text := "You can withdraw your consent at any time, without any disadvantage to what was done until then: " + keys + "."
		if how := s.Config.Privacy.Withdrawal; how != "" {
			text += " " + how
		}
		all = append(all, Right{"withdrawal", text})
	}
	if keys := of(func(p *rules.Purpose) bool { return p.SignificantEffect }); keys != "" {
		all = append(all, Right{"human decision", "You can have a human being decide, say what you think, and contest the decision: " + keys + "."})
	}
	complaint := "You can complain to a supervisory authority"
	if authority := s.Config.Privacy.Authority; authority != "" {
		complaint += ": " + authority
	}
	return append(all, Right{"complaint", complaint + "."})
}

// purposesWith names the purposes of which something is so, "" if it is of none.
func (s *Source) purposesWith(is func(*rules.Purpose) bool) string {
	var keys []string
	for i := range s.Rules.Purposes {
		if p := &s.Rules.Purposes[i]; is(p) {
			keys = append(keys, "“"+label(p.Key)+"”")
		}
	}
	return list(keys, "and")
}

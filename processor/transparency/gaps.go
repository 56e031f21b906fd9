package transparency

import (
	"fmt"
	"strings"

	"github.com/segmentd/segmentd/config"
	"github.com/segmentd/segmentd/rules"
)

// gaps names what the documents should have and nothing says.
func gaps(s *Source) []string {
	found := []string{}
	add := func(format string, args ...any) { found = append(found, fmt.Sprintf(format, args...)) }
	c, p := &s.Config.Controller, &s.Config.Privacy
	for _, needed := range []struct{ value, setting, article string }{
		{c.Name, "controller.name", "13(1)(a), 30(1)(a)"}, {c.Contact, "controller.contact", "13(1)(a), 30(1)(a)"},
		{p.Sources, "privacy.sources", "14(2)(f)"}, {p.Authority, "privacy.authority", "13(2)(d)"},
		{p.InputRetention, "privacy.input_retention", "13(2)(a), 30(1)(f)"},
	} {
		if needed.value == "" {
			add("%s is not set (GDPR article %s)", needed.setting, needed.article)
		}
	}
	if len(s.Config.Inputs) == 0 {
		add("inputs are not configured: where the data come from is not in the record")
	}
	if why := officer(s); why != "" && c.DPO == "" && c.NoDPO == "" {
		add("controller.dpo is not set, and %s: say why no data protection officer is needed in controller.no_dpo (GDPR articles 13(1)(b), 37(1))", why)
	}
	consents := false
	for i := range s.Rules.Purposes {
		consents = consents || s.Rules.Purposes[i].Basis.NeedsConsent()
		for _, gap := range purposeGaps(s, i) {
			add("purpose %s: %s", s.Rules.Purposes[i].Key, gap)
		}
	}
	if consents && p.Withdrawal == "" {
		add("privacy.withdrawal is not set: how a consent is withdrawn (GDPR article 13(2)(c))")
	}
	return found
}

func purposeGaps(s *Source, purpose int) (found []string) {
	p := &s.Rules.Purposes[purpose]
	if p.DataUse == "" {
		found = append(found, "no data_use; the record says "+dataUse(p))
	}
	if p.Basis == rules.LegitimateInterests && p.LegitimateInterest == "" {
		found = append(found, "no legitimate_interest (GDPR article 13(1)(d))")
	}
	if (p.Basis == rules.LegalObligation || p.Basis == rules.PublicTask) && p.LegalReference == "" {
		found = append(found, "no legal_reference (GDPR article 6(3))")
	}
	if p.Basis.NeedsConsent() && p.NoticeVersion == "" {
		found = append(found, "no notice_version: consents cannot be held against what subjects were told")
	}
	if p.SignificantEffect {
		for _, i := range p.Segments {
			if seg := &s.Rules.Segments[i]; seg.Description == "" {
				found = append(found, "significant_effect, and segment "+seg.Key+" has no description: say by which criteria it decides, and what follows for whom (GDPR article 13(2)(f))")
			}
		}
	}
	if p.Recipients == nil {
		found = append(found, "no recipients: write recipients: [] if memberships are given to nobody (GDPR article 13(1)(e))")
	}
	var uncategorised []string
	for _, path := range s.Rules.ReadsFor(purpose).Fields {
		if len(categoriesOf(s.Rules, purpose, path)) == 0 {
			uncategorised = append(uncategorised, path)
		}
	}
	if len(uncategorised) > 0 {
		found = append(found, "data has no category of "+strings.Join(uncategorised, ", "))
	}
	return found
}

// officer says why a data protection officer may be needed (GDPR article 37(1)), ""
// if nothing here does.
func officer(s *Source) string {
	var sensitive, decisive []string
	for i := range s.Rules.Purposes {
		if special(s.Rules, i) {
			sensitive = append(sensitive, s.Rules.Purposes[i].Key)
		}
		if s.Rules.Purposes[i].SignificantEffect {
			decisive = append(decisive, s.Rules.Purposes[i].Key)
		}
	}
	var why []string
	if len(sensitive) > 0 {
		why = append(why, "special categories are processed ("+list(sensitive, "and")+")")
	}
	if len(decisive) > 0 {
		why = append(why, "profiling has a significant effect ("+list(decisive, "and")+")")
	}
	return strings.Join(why, ", and ")
}

// erasure says what removes data, and when.
func erasure(s *Source) []string {
	said := []string{
		"When a basis ends (withdrawal, refusal, objection, expiry), its purpose's traits, evidence and memberships are removed in the same transaction that publishes the exits; the decision stays as proof, and a restriction does not keep a withdrawal or an objection from deleting.",
		"An erasure removes all that is dated up to it, proofs and the id included; what stays is the fence, and the requests without the id.",
		"Evidence that has left its window or its purpose's retention is not used from that instant on; it is removed with the next event that the same rule reads, or when the basis ends.",
		"What rules no longer read is removed when the rules change.",
		"What was removed is gone from the files of the data directory within " + inWords(s.Config.Privacy.EraseWithin.Milliseconds()) + ", while the instance runs.",
	}
	for _, t := range s.Topics {
		switch {
		case t.Role == Changelog || t.Role == Members:
			said = append(said, "What was removed stays on "+t.Name+" "+t.Keeps.after()+".")
		case t.Role == Changes || t.Role == RequestResults:
			said = append(said, "What was published stays on "+t.Name+" "+t.Keeps.during()+".")
		}
	}
	return append(said, "Input topics are not reached: they keep what was produced to them as their owner has set it.",
		"The audit log, and ids on the lists of rule files, stay until their files are changed.")
}

// security says in general terms how data are protected, of what is configured
// no more than is.
func security(c *config.Config) []string {
	said := []string{
		"Records are filed under keyed hashes of subjects' ids.",
		"Logs, metrics, error messages and rejected records hold neither ids nor payloads.",
		"The local image can be read by its user alone.",
		"Each access to a subject's data is in a hash-chained audit log before it is answered.",
	}
	if c.Kafka.TLS.Enabled {
		said = append(said, "Brokers are reached over TLS 1.2 or newer.")
	}
	if c.Kafka.SASL.Mechanism != "" {
		said = append(said, "Brokers ask for a login ("+c.Kafka.SASL.Mechanism+").")
	}
	if c.HTTP.TLS.CertFile != "" {
		said = append(said, "Look-ups are served over TLS 1.2 or newer.")
	}
	if c.HTTP.TLS.ClientCAFile != "" {
		said = append(said, "Look-ups ask for a client certificate.")
	}
	if c.HTTP.TokensFile != "" {
		said = append(said, "Look-ups ask for a token whose role allows them.")
	}
	if c.Privacy.Security != "" {
		said = append(said, c.Privacy.Security)
	}
	return said
}

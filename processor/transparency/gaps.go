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
	} {
		if needed.value == "" {
			add("%s is not set (GDPR article %s)", needed.setting, needed.article)
		}
	}
	if len(s.Config.Inputs) == 0 {
		add("inputs are not configured: where the data come from is not in the record")
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

// erasure says what removes data, and when.
func erasure(s *Source) []string {
	said := []string{
		"When a basis ends (withdrawal, refusal, objection, expiry), its purpose's traits, evidence and memberships are removed in the same transaction that publishes the exits.",
		"Evidence that has left its window or its purpose's retention is not used from that instant on.",
		"What rules no longer read is removed when the rules change.",
	}
	for _, t := range s.Topics {
		if t.Role == Changelog || t.Role == Members {
			said = append(said, "What was removed stays on "+t.Name+" for up to "+inWords(t.Keeps.Milliseconds)+" more, once its segment is closed.")
		}
	}
	return said
}

// security says in general terms how data are protected, of what is configured
// no more than is.
func security(c *config.Config) []string {
	said := []string{
		"Records are filed under keyed hashes of subjects' ids.",
		"Logs, metrics, error messages and rejected records hold neither ids nor payloads.",
		"The local image can be read by its user alone.",
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
	if c.Privacy.Security != "" {
		said = append(said, c.Privacy.Security)
	}
	return said
}

package rules

import (
	"regexp"
	"strings"

	"gopkg.in/yaml.v3"
)

// noticeVersion is what versions of notices look like: they are compared as
// text and stand in decisions.
var (
	noticeVersion  = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)
	datedVersion   = regexp.MustCompile(`^[0-9]{4}-[0-9]{2}(-[0-9]{2})?`)
	recipientField = []string{"name", "contact"}
)

// information reads what a purpose says for people: what subjects are told, who
// receives it, and the grounds that its lawful basis must name.
func (l *loader) information(o object, p *purposeDecl) {
	l.noticeVersions(o, p)
	p.Recipients = l.recipients(o)
	p.DataUse = l.dataUse(o)
	p.LegitimateInterest = l.ground(o, "legitimate_interest", p.Basis == LegitimateInterests, "legitimate_interests")
	p.LegalReference = l.ground(o, "legal_reference", p.Basis == LegalObligation || p.Basis == PublicTask, "legal_obligation or public_task")
	l.significance(o, p)
}

// noticeVersions reads which versions of the notice consents may refer to.
func (l *loader) noticeVersions(o object, p *purposeDecl) {
	p.NoticeVersion, p.OldestNoticeVersion = l.noticeVersion(o, "notice_version"), l.noticeVersion(o, "oldest_notice_version")
	if !o.has("oldest_notice_version") {
		return
	}
	at := o.at("oldest_notice_version")
	switch {
	case !p.Basis.NeedsConsent():
		l.errorf(o.keys["oldest_notice_version"], "'oldest_notice_version' needs the lawful basis consent or explicit_consent")
	case !o.has("notice_version"):
		l.errorf(o.keys["oldest_notice_version"], "'oldest_notice_version' needs 'notice_version': the one that consents given now refer to")
	case p.OldestNoticeVersion > p.NoticeVersion:
		l.errorf(at, "the oldest notice version that counts, '%s', is later than the present one, '%s' (versions are compared as text)", p.OldestNoticeVersion, p.NoticeVersion)
	case p.OldestNoticeVersion != "" && !datedVersion.MatchString(p.OldestNoticeVersion):
		l.warnf(at, "versions of notices are compared as text, by which 10 is before 9: let them begin with year and month, as in 2026-03")
	}
}

func (l *loader) noticeVersion(o object, field string) string {
	text := l.text(o, field)
	if o.has(field) && !noticeVersion.MatchString(text) && o.fields[field].node.Kind == yaml.ScalarNode {
		l.errorf(o.at(field), "'%s' cannot be the version of a notice: write a letter or digit, then letters, digits, ., _ and -, at most 64, as in 2026-03", text)
		return ""
	}
	return text
}

// recipients reads who gets memberships: names, or maps with a name; nil where
// nothing is said.
func (l *loader) recipients(o object) []Recipient {
	if !o.has("recipients") {
		return nil
	}
	all, named := []Recipient{}, map[string]bool{}
	for _, item := range l.items(o.fields["recipients"], "recipients") {
		r := Recipient{Name: strings.TrimSpace(item.node.Value)}
		if item.node.Kind != yaml.ScalarNode {
			entry, ok := l.object(item, "recipient", recipientField)
			if !ok {
				continue
			}
			r = Recipient{Name: l.required(entry, "name"), Contact: l.text(entry, "contact")}
		} else if r.Name == "" {
			l.errorf(item.spot(), "the name of a recipient is empty")
		}
		if r.Name != "" && named[r.Name] {
			l.errorf(item.spot(), "the recipient '%s' is named twice", r.Name)
			continue
		}
		named[r.Name] = true
		all = append(all, r)
	}
	return all
}

// ground reads a text that belongs to some lawful bases alone.
func (l *loader) ground(o object, field string, belongs bool, bases string) string {
	if o.has(field) && !belongs {
		l.errorf(o.keys[field], "'%s' is for the lawful basis %s", field, bases)
	}
	return l.text(o, field)
}

// significance reads whether decisions with a significant effect on people
// follow from the purpose's segments alone (GDPR article 22), which only some
// bases allow, and only with safeguards.
func (l *loader) significance(o object, p *purposeDecl) {
	p.SignificantEffect, p.Safeguards = l.flag(o, "significant_effect"), l.text(o, "safeguards")
	switch {
	case !p.SignificantEffect && o.has("safeguards"):
		l.errorf(o.keys["safeguards"], "'safeguards' is for 'significant_effect: true', which is not written")
	case !p.SignificantEffect:
	case p.Basis != ExplicitConsent && p.Basis != Contract:
		l.errorf(o.keys["significant_effect"], "'significant_effect' needs the lawful basis explicit_consent or contract (GDPR article 22(2)); '%s' has %s", p.Key, p.Basis)
	case p.Safeguards == "":
		l.errorf(o.keys["significant_effect"], "'significant_effect' needs 'safeguards': how a person obtains human intervention, expresses a view and contests the decision (GDPR article 22(3))")
	}
}

// warnInformation reports purposes whose basis must be explained and is not.
func (c *checker) warnInformation() {
	for i := range c.purposes {
		p := &c.purposes[i]
		switch {
		case p.Basis == LegitimateInterests && p.LegitimateInterest == "":
			c.warnf(p.at, "the purpose '%s' does not say which 'legitimate_interest' it pursues: subjects must be told (GDPR article 13(1)(d))", p.Key)
		case (p.Basis == LegalObligation || p.Basis == PublicTask) && p.LegalReference == "":
			c.warnf(p.at, "the purpose '%s' has no 'legal_reference': the law that lays down the %s (GDPR article 6(3))", p.Key, strings.ReplaceAll(p.Basis.String(), "_", " "))
		}
	}
}

package transparency

import (
	"cmp"
	"strings"

	"github.com/segmentd/segmentd/config"
	"github.com/segmentd/segmentd/rules"
)

// declaration is what the record says of one purpose.
func (s *Source) declaration(purpose int) Declaration {
	p := &s.Rules.Purposes[purpose]
	ours := s.details(purpose)
	categories := map[string]bool{"user.unique_id": true}
	if len(ours.Events) > 0 {
		categories["user.behavior"] = true
	}
	if p.Basis.NeedsConsent() {
		categories["user.privacy_preferences"] = true
	}
	for _, f := range ours.Fields {
		note(categories, f.Categories)
	}
	if len(ours.Uncategorised) > 0 {
		categories["user"] = true
	}
	note(categories, ours.Infers)
	d := Declaration{
		Name: p.Key, Categories: sorted(categories), DataUse: dataUse(p), DataSubjects: s.Config.Privacy.DataSubjects,
		Ingress: []string{}, Egress: s.topicsOf(p, Changes, Members), Features: []string{"profiling"},
		Basis: grounds[p.Basis].fides, Retention: inWords(p.Retention.Milliseconds()), Special: special(s.Rules, purpose),
		Shared: len(p.Recipients) > 0, SharedData: []string{}, Ours: ours,
	}
	if d.Shared {
		d.SharedData = memberships(ours.Infers)
	}
	if d.Special {
		d.SpecialBasis = "Explicit consent"
	}
	var names []string
	for _, r := range p.Recipients {
		names = append(names, r.Name)
	}
	d.ThirdParties = strings.Join(names, ", ")
	for _, in := range s.Config.Inputs {
		if in.Kind == config.KindEvent || p.Basis.NeedsConsent() || p.Basis.EndedByObjection() || p.DirectMarketing {
			d.Ingress = append(d.Ingress, in.Topic)
		}
	}
	return d
}

// memberships are the categories of the data that memberships are: who is in
// which segment, and what that reveals.
func memberships(infers []string) []string {
	all := map[string]bool{"user.unique_id": true, "user.demographic.profile": true}
	note(all, infers)
	return sorted(all)
}

// dataUse is the use of data that a purpose declares, else what it is at least,
// of which gaps tells.
func dataUse(p *rules.Purpose) string {
	fallback := "personalize"
	if p.DirectMarketing {
		fallback = "marketing"
	}
	return cmp.Or(p.DataUse, fallback)
}

func (s *Source) details(purpose int) PurposeDetails {
	p := &s.Rules.Purposes[purpose]
	reads := s.Rules.ReadsFor(purpose)
	d := PurposeDetails{
		Description: p.Description, LawfulBasis: p.Basis.String(), Article: grounds[p.Basis].article, DirectMarketing: p.DirectMarketing,
		LegitimateInterest: p.LegitimateInterest, LegalReference: p.LegalReference,
		NoticeVersion: p.NoticeVersion, OldestNoticeVersion: p.OldestNoticeVersion, MinAge: p.MinAge,
		SignificantEffect: p.SignificantEffect, Safeguards: p.Safeguards,
		Events: orNone(reads.Events), Fields: []FieldDetails{}, Uncategorised: []string{}, Infers: orNone(inferred(s.Rules, purpose)),
		Lists: []ListDetails{}, Recipients: orNone(p.Recipients), Topics: s.topicsOf(p, Changelog, Changes, Members), Segments: []SegmentDetails{},
	}
	if p.ConsentExpiresAfter > 0 {
		d.ConsentExpiresAfter = inWords(p.ConsentExpiresAfter.Milliseconds())
	}
	for _, path := range reads.Fields {
		f := FieldDetails{Path: path, Categories: orNone(categoriesOf(s.Rules, purpose, path))}
		for _, declared := range s.Rules.Declarations(path) {
			f.Special = f.Special || declared.Special
		}
		d.Fields = append(d.Fields, f)
		if len(f.Categories) == 0 {
			d.Uncategorised = append(d.Uncategorised, path)
		}
	}
	sizes := s.Rules.ListSizes()
	for _, key := range reads.Lists {
		d.Lists = append(d.Lists, ListDetails{key, sizes[key]})
	}
	for _, i := range p.Segments {
		seg := &s.Rules.Segments[i]
		d.Segments = append(d.Segments, SegmentDetails{seg.Key, seg.Name, seg.Description, seg.Infers})
	}
	return d
}

// orNone makes JSON say [] rather than null.
func orNone[T any](items []T) []T {
	if items == nil {
		return []T{}
	}
	return items
}

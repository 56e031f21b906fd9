package transparency

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/segmentd/segmentd/rules"
)

// Notice is what data subjects are told (GDPR articles 13 and 14), in English.
type Notice struct {
	Language string `json:"language"`
	// Hash is the hex SHA-256 of all that is said, but for the versions of notices, and
	// of what the rules mean, which is not printed: where it changes, a new version is due.
	Hash string `json:"hash"`

	Controller ControllerDetails `json:"controller"`
	Sources    string            `json:"sources"`
	Purposes   []PurposeNotice   `json:"purposes"`
	Keeps      []string          `json:"keeps"` // what else is kept, for how long, and why
	Transfers  []TransferDetails `json:"transfers"`
	Rights     []Right           `json:"rights"`
	Exercise   []string          `json:"exercise"` // how to use them
	Gaps       []string          `json:"-"`        // what should be said and nothing says
}

// PurposeNotice is what is told of one purpose.
type PurposeNotice struct {
	Key        string          `json:"key"`
	Version    string          `json:"version,omitempty"` // of the notice that consents refer to
	Why        string          `json:"why"`
	Basis      []string        `json:"basis"`
	Must       []string        `json:"must"` // whether the subject has to give the data, and what follows if not
	Does       []string        `json:"does"` // what the subject does that is looked at
	Data       []DataNotice    `json:"data"`
	Special    []string        `json:"special"` // sensitive data that are used
	Reveals    []string        `json:"reveals"` // sensitive data that being in a group tells
	HowLong    []string        `json:"howLong"`
	Recipients []string        `json:"recipients"`
	Groups     []SegmentNotice `json:"groups"`
	Effect     []string        `json:"effect"` // of membership alone, where it is significant, and what protects from it
	Rights     []string        `json:"rights"` // names of those with regard to it
}

// DataNotice is a kind of data with the details of it that are used.
type DataNotice struct {
	Kind    string   `json:"kind"`
	Details []string `json:"details"`
}

// SegmentNotice is the logic of one segment.
type SegmentNotice struct {
	Name        string   `json:"name"`
	Description string   `json:"description,omitempty"`
	LooksAt     []string `json:"looksAt"`
	Stays       []string `json:"stays"` // what keeps a subject in or out
}

// Right is a right of the subject.
type Right struct {
	Name string `json:"name"`
	Text string `json:"text"`
}

// NewNotice makes the notice.
func NewNotice(s Source) *Notice {
	p := &s.Config.Privacy
	n := &Notice{Language: "en", Controller: ControllerDetails(s.Config.Controller), Sources: p.Sources, Purposes: []PurposeNotice{}, Keeps: s.besides(),
		Transfers: []TransferDetails{}, Rights: rights(&s), Exercise: exercise(&s), Gaps: gaps(&s)}
	n.Controller.NoDPO = "" // for the authority
	for _, t := range p.Transfers {
		n.Transfers = append(n.Transfers, TransferDetails(t))
	}
	for i := range s.Rules.Purposes {
		n.Purposes = append(n.Purposes, s.purposeNotice(i))
	}
	n.Hash = n.hash(s.Rules)
	return n
}

// Is reports whether the notice has a hash, or one that begins so.
func (n *Notice) Is(hash string) bool { return hash != "" && strings.HasPrefix(n.Hash, hash) }

// hash is of all that is said but the versions, and of what decides who is in which
// segment, also where no word of the notice tells of it.
func (n *Notice) hash(set *rules.Set) string {
	said := *n
	said.Hash, said.Purposes = "", make([]PurposeNotice, len(n.Purposes))
	copy(said.Purposes, n.Purposes)
	for i := range said.Purposes {
		said.Purposes[i].Version = ""
	}
	text, err := json.Marshal(said)
	if err != nil {
		panic("invariant: a notice is texts: " + err.Error())
	}
	h := sha256.New()
	h.Write(text)
	for i := range set.Purposes {
		for _, segment := range set.Purposes[i].Segments {
			fmt.Fprintf(h, "\n%q", set.Segments[segment].Meaning())
		}
	}
	return hex.EncodeToString(h.Sum(nil))
}

func (s *Source) purposeNotice(purpose int) PurposeNotice {
	p := &s.Rules.Purposes[purpose]
	n := PurposeNotice{
		Key: p.Key, Version: p.NoticeVersion, Why: p.Description, Basis: s.basisWords(purpose), Must: []string{must[p.Basis]}, Does: []string{}, Data: s.dataNotices(purpose),
		Special: s.specialWords(purpose), Reveals: []string{}, HowLong: s.howLong(purpose), Recipients: []string{}, Groups: []SegmentNotice{}, Effect: []string{},
		Rights: s.rightNames(purpose),
	}
	for _, c := range inferred(s.Rules, purpose) {
		n.Reveals = append(n.Reveals, category(c))
	}
	for _, event := range s.Rules.ReadsFor(purpose).Events {
		n.Does = append(n.Does, eventLabel(event))
	}
	for _, r := range p.Recipients {
		if r.Contact != "" {
			r.Name += " (" + r.Contact + ")"
		}
		n.Recipients = append(n.Recipients, r.Name)
	}
	for _, i := range p.Segments {
		n.Groups = append(n.Groups, s.segmentNotice(i))
	}
	if p.SignificantEffect {
		n.Effect = []string{"Being in one of these groups can, by itself and without a human being, decide something important about you.", p.Safeguards}
	}
	return n
}

// basisWords explains why processing is lawful.
func (s *Source) basisWords(purpose int) []string {
	p := &s.Rules.Purposes[purpose]
	article := "(GDPR article " + grounds[p.Basis].article
	if special(s.Rules, purpose) {
		article += " and article 9(2)(a)"
	}
	said := []string{grounds[p.Basis].words, article + ")"}
	if p.LegitimateInterest != "" {
		said = append(said, "Our interest: "+p.LegitimateInterest+".")
	}
	if p.LegalReference != "" {
		said = append(said, "The law: "+p.LegalReference+".")
	}
	if p.DirectMarketing {
		said = append(said, "It is direct marketing: if you object, it ends.")
	}
	if p.MinAge > 0 {
		said = append(said, fmt.Sprintf("It is only for people of %d years or more; we keep your date of birth to know that.", p.MinAge))
	}
	return said
}

// dataNotices groups what is read by its kind in words.
func (s *Source) dataNotices(purpose int) []DataNotice {
	details := map[string]map[string]bool{category("user.unique_id"): {}}
	add := func(kind, detail string) {
		if details[kind] == nil {
			details[kind] = map[string]bool{}
		}
		details[kind][detail] = true
	}
	for _, path := range s.Rules.ReadsFor(purpose).Fields {
		categories := categoriesOf(s.Rules, purpose, path)
		if len(categories) == 0 {
			categories = []string{"user"}
		}
		for _, c := range categories {
			add(category(c), fieldLabel(path))
		}
	}
	if s.Rules.Purposes[purpose].Basis.NeedsConsent() {
		details[category("user.privacy_preferences")] = map[string]bool{}
	}
	said := []DataNotice{}
	kinds := map[string]bool{}
	for kind := range details {
		kinds[kind] = true
	}
	for _, kind := range sorted(kinds) {
		said = append(said, DataNotice{kind, orNone(sorted(details[kind]))})
	}
	return said
}

// specialWords names the sensitive data that a purpose uses.
func (s *Source) specialWords(purpose int) []string {
	said := map[string]bool{}
	for _, path := range s.Rules.ReadsFor(purpose).Fields {
		for _, d := range s.Rules.Declarations(path) {
			switch {
			case d.Special && d.Category != "":
				said[category(d.Category)] = true
			case d.Special:
				said[fieldLabel(d.Path)] = true
			}
		}
	}
	return orNone(sorted(said))
}

func (s *Source) segmentNotice(segment int) SegmentNotice {
	seg := &s.Rules.Segments[segment]
	n := SegmentNotice{Name: seg.Name, Description: seg.Description, LooksAt: []string{}, Stays: []string{}}
	look := func(what string, items []string, word func(string) string) {
		if len(items) == 0 {
			return
		}
		said := make([]string, len(items))
		for i, item := range items {
			said[i] = word(item)
		}
		n.LooksAt = append(n.LooksAt, what+list(said, "and"))
	}
	look("whether, how often and when you did this: ", seg.Reads.Events, eventLabel)
	look("these details: ", seg.Reads.Fields, fieldLabel)
	look("whether you are in the group ", seg.Reads.Segments, s.segmentName)
	look("whether you are on our list ", seg.Reads.Lists, func(key string) string { return "“" + label(key) + "”" })
	if len(n.LooksAt) == 0 {
		n.LooksAt = append(n.LooksAt, "nothing about you but the id by which we know you")
	}
	if seg.StayWhile != "" {
		n.Stays = append(n.Stays, "Once in, you stay in as long as a second, weaker condition holds.")
	}
	if seg.MinDwell > 0 {
		n.Stays = append(n.Stays, "Once in, you stay in for at least "+inWords(seg.MinDwell.Milliseconds())+".")
	}
	if seg.Cooldown > 0 {
		n.Stays = append(n.Stays, "Once out, you stay out for at least "+inWords(seg.Cooldown.Milliseconds())+".")
	}
	return n
}

func (s *Source) segmentName(key string) string {
	if i, ok := s.Rules.SegmentByKey(key); ok {
		return "“" + s.Rules.Segments[i].Name + "”"
	}
	return "“" + label(key) + "”"
}

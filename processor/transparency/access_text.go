package transparency

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/segmentd/segmentd/processor/core"
)

// ReadAccess reads a document that an instance has made.
func ReadAccess(document []byte) (*Access, error) {
	a := &Access{}
	d := json.NewDecoder(bytes.NewReader(document))
	d.UseNumber()
	if err := d.Decode(a); err != nil {
		return nil, fmt.Errorf("an access document is JSON: %w", err)
	}
	return a, nil
}

// Text writes the document for people to read: all that it holds, as plain text that
// is Markdown, too.
func (a *Access) Text() string {
	var w markdown
	w.line("# What we hold about you")
	w.line("%s (%s), as of %s, under the rules %s.", a.UserID, a.IDType, stated(a.At), a.RuleSet)
	w.said("Your data were erased as of ", a.Erased)
	w.section("Restrictions", a.restrictions())
	w.section("What you decided", a.decisions())
	w.section("What you asked of us", a.requests())
	w.accessPurposes("What we keep, and what for", a.Purposes)
	w.accessPurposes("The same under new rules, which are not in force yet", a.New)
	w.section("What else we keep of you", a.rest())
	w.line("# Why, for how long, and your rights")
	w.notice(&a.About)
	w.line("Content of the notice %.16s", a.About.Hash)
	return w.String()
}

// section writes a heading and items, if there are any.
func (w *markdown) section(title string, items []string) {
	if len(items) > 0 {
		w.line("## %s", title)
		w.items(items)
	}
}

func (a *Access) restrictions() (items []string) {
	for _, r := range a.Restricted {
		what := "restricted from "
		if r.Lifted {
			what = "not restricted any more from "
		}
		items = append(items, what+r.At)
	}
	for _, c := range a.Corrections {
		items = append(items, "a correction that is not in force yet: "+c.Trait+" is "+valueText(c.Value)+dated(" of ", c.Time))
	}
	return items
}

// dated is a word with an instant, or another text, "" without one.
func dated(word, at string) string {
	if at == "" {
		return ""
	}
	return word + at
}

func (a *Access) decisions() (items []string) {
	for _, d := range a.Decisions {
		purpose := "everything"
		if d.Purpose != "" {
			purpose = d.Purpose
		}
		explicit := ""
		if d.Explicit {
			explicit = ", explicitly"
		}
		items = append(items, d.Status+explicit+", for "+purpose+dated(", on ", d.Time)+dated(", received ", d.Received)+dated(", until ", d.Expires)+
			dated(", notice ", d.Notice)+dated(", by ", d.Method)+dated(", our record ", d.RecordID)+", read at "+d.Source+dated(", in other words ", d.State))
	}
	if a.Dropped > 0 {
		items = append(items, fmt.Sprintf("%d older decisions, which only the log of decisions has", a.Dropped))
	}
	return items
}

func (a *Access) requests() (items []string) {
	for _, q := range a.Requests {
		detail := q.Detail
		if receipt, ok := core.ParseErasureReceipt(detail); ok {
			detail = strings.Join(receipt.Lines(), "\n  - ")
		}
		items = append(items, q.Request+", number "+q.RequestID+": "+strings.ReplaceAll(q.Status, "_", " ")+dated(", as of ", q.Effective)+dated(", received ", q.Received)+
			dated(", done ", q.Done)+dated(", more time until ", q.Extended)+dated("; ", detail))
	}
	return items
}

func (w *markdown) accessPurposes(title string, purposes []core.AccessPurpose) {
	if len(purposes) == 0 {
		return
	}
	w.line("## %s", title)
	for i := range purposes {
		w.accessPurpose(&purposes[i])
	}
}

func (w *markdown) accessPurpose(p *core.AccessPurpose) {
	w.line("### %s", joined(": ", p.Purpose, p.Description))
	state := "not allowed now"
	if p.Holds {
		state = "allowed"
	}
	items := []string{"basis: " + joined(", ", strings.ReplaceAll(p.LawfulBasis, "_", " "), state) + dated(", since ", p.Since) + dated(", until ", p.Until)}
	if p.Stopped != "" {
		items = append(items, p.Stopped+dated(" on ", p.StoppedAt))
	}
	if p.Expired {
		items = append(items, "your consent has expired")
	}
	if p.Retention != "" {
		items = append(items, "what you did is used for "+p.Retention)
	}
	for _, r := range p.Recipients {
		items = append(items, "given to "+joined(", ", r.Name, r.Contact))
	}
	for _, g := range p.Grants {
		items = append(items, "consent of "+g.At+dated(", until ", g.Expires))
	}
	for _, t := range p.Traits {
		items = append(items, "you told us: "+t.Trait+" is "+valueText(t.Value)+dated(", said ", t.Time))
	}
	for _, o := range p.Observed {
		items = append(items, observedText(&o))
	}
	for _, m := range p.Memberships {
		items = append(items, "you are in the group "+joined(": ", m.Segment, m.Description)+dated(", since ", m.Since)+dated(", ", reason(m.Why)))
	}
	w.items(items)
}

// observedText is evidence of behaviour in words.
func observedText(o *core.ObservedJSON) string {
	text := "seen: " + o.What
	if o.Incomplete {
		text += " (older ones were dropped for lack of room)"
	}
	var seen []string
	for i, at := range o.Times {
		if i < len(o.Values) {
			at += " " + valueText(o.Values[i])
		}
		seen = append(seen, at)
	}
	return text + dated(": at ", strings.Join(seen, ", "))
}

// reason is an explanation's sentence as the end of another.
func reason(why string) string {
	return strings.TrimSuffix(strings.TrimPrefix(why, "A member "), ".")
}

// rest is what is kept beside decisions, requests and purposes.
func (a *Access) rest() []string {
	items := []string{fmt.Sprintf("%d changes of your groups were published", a.Changes)}
	for _, said := range [][2]string{{"the newest that we know of you is of ", a.LastInput}, {"what we say of you can change by itself on ", a.NextChange},
		{"hashes of the numbers of messages about you: ", strings.Join(a.MessageIDs.Hashes, ", ")}, {"your data come from the logs ", strings.Join(a.Sources, ", ")}} {
		if said[1] != "" {
			items = append(items, said[0]+said[1])
		}
	}
	if o := a.OldInputs; o != nil {
		items = append(items, "messages with old dates arrive since "+o.Since+", we wait for them until "+o.Until)
	}
	return items
}

// valueText is a value as JSON.
func valueText(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprint(v)
	}
	return string(b)
}

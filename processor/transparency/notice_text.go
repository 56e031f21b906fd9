package transparency

import (
	"cmp"
	"fmt"
	"strings"
)

// Text writes the notice for people to read: plain text that is Markdown, too.
func (n *Notice) Text() string {
	var w markdown
	w.line("# How we use data about you")
	w.notice(n)
	w.line("Content %.16s", n.Hash)
	return w.String()
}

// notice writes all of it but the title and the hash.
func (w *markdown) notice(n *Notice) {
	c := &n.Controller
	w.line("## Who is responsible")
	w.line("%s", joined(", ", cmp.Or(c.Name, unnamed), c.Address, c.Country))
	w.said("Contact: ", c.Contact)
	w.said("Data protection officer: ", c.DPO)
	w.said("Representative in the European Union: ", c.Representative)
	if n.Sources != "" {
		w.line("## Where we have the data from")
		w.line("%s", n.Sources)
	}
	w.line("## What for")
	for i := range n.Purposes {
		w.purposeNotice(&n.Purposes[i])
	}
	w.line("## What else we keep")
	w.items(n.Keeps)
	if len(n.Transfers) > 0 {
		w.line("## Transfers to other countries")
		var items []string
		for _, t := range n.Transfers {
			items = append(items, fmt.Sprintf("%s, %s: %s", t.Recipient, t.Country, t.Safeguards))
		}
		w.items(items)
	}
	w.rights(n.Rights)
	w.line("%s", strings.Join(n.Exercise, " "))
}

// unnamed stands in the place of the controller where nothing says who it is.
const unnamed = "**Not stated** (set controller.name and controller.contact in the configuration; GDPR article 13(1)(a))"

// rights writes the right to object apart from the others (GDPR article 21(4)).
func (w *markdown) rights(rights []Right) {
	var items []string
	for _, r := range rights {
		if r.Name == objection {
			w.line("## Your right to object")
			w.line("%s", r.Text)
			continue
		}
		items = append(items, strings.ToUpper(r.Name[:1])+r.Name[1:]+": "+r.Text)
	}
	w.line("## Your rights")
	w.items(items)
}

// said writes a line where there is something to say.
func (w *markdown) said(what, text string) {
	if text != "" {
		w.line("%s%s", what, text)
	}
}

func (w *markdown) purposeNotice(p *PurposeNotice) {
	w.line("### %s", p.Why)
	w.line("%s", strings.Join(append(p.Basis[:len(p.Basis):len(p.Basis)], p.Must...), " "))
	if len(p.Does) > 0 {
		w.line("We look at what you do: %s.", list(p.Does, "and"))
	}
	w.line("We use:")
	var data []string
	for _, d := range p.Data {
		item := d.Kind
		if len(d.Details) > 0 {
			item += ": " + list(d.Details, "and")
		}
		data = append(data, item)
	}
	w.items(data)
	if len(p.Special) > 0 {
		w.line("Among this are sensitive data: %s.", list(p.Special, "and"))
	}
	if len(p.Reveals) > 0 {
		w.line("Being in one of the groups tells something sensitive: %s.", list(p.Reveals, "and"))
	}
	w.line("From that we decide whether you belong to these groups:")
	var groups []string
	for i := range p.Groups {
		groups = append(groups, p.Groups[i].text())
	}
	w.items(groups)
	w.said("", strings.Join(p.Effect, " "))
	w.line("%s", strings.Join(p.HowLong, " "))
	if len(p.Recipients) > 0 {
		w.line("The groups you are in are given to %s.", list(p.Recipients, "and"))
	}
	w.line("Your rights here: %s.", list(p.Rights, "and"))
	w.said("Version of this notice: ", p.Version)
}

func (g *SegmentNotice) text() string {
	text := "**" + g.Name + "**"
	if g.Description != "" {
		text += ": " + strings.TrimSuffix(g.Description, ".")
	}
	text += ". We look at " + strings.Join(g.LooksAt, "; ") + "."
	return strings.Join(append([]string{text}, g.Stays...), " ")
}

// joined joins what is not empty.
func joined(by string, texts ...string) string {
	var some []string
	for _, t := range texts {
		if t != "" {
			some = append(some, t)
		}
	}
	return strings.Join(some, by)
}

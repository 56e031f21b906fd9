package transparency

import (
	"fmt"
	"strings"
)

// Markdown writes the record for people.
func (r *Record) Markdown() string {
	var w markdown
	o := &r.Ours
	w.line("# Record of processing activities: %s", r.Name)
	w.line("(GDPR article 30(1); rule set %.12s)", o.RuleSet)
	if o.Revision > 0 {
		w.line("Revision %d of the rules.", o.Revision)
	}
	w.line("## Controller")
	c := &o.Controller
	w.table([]string{"", ""}, [][]string{{"name", c.Name}, {"address", c.Address}, {"contact", c.Contact}, {"data protection officer", c.DPO},
		{"no data protection officer", c.NoDPO},
		{"representative in the Union", c.Representative}, {"country", c.Country}})
	w.line("## Data subjects and sources")
	w.line("Data subjects: %s.", strings.Join(o.DataSubjects, ", "))
	w.line("Sources: %s", stated(o.Sources))
	w.line("## Purposes")
	for i := range r.Declarations {
		w.purpose(&r.Declarations[i])
	}
	w.line("## Where data are kept, and for how long")
	var rows [][]string
	for _, t := range o.Topics {
		rows = append(rows, []string{code(t.Name), t.Holds, t.Keeps, t.Erasure})
	}
	for _, t := range o.Stores {
		rows = append(rows, []string{t.Name, t.Holds, t.Keeps, t.Erasure})
	}
	w.table([]string{"where", "holds", "for how long", "at an erasure"}, rows)
	w.items(o.Erasure)
	w.line("## Transfers to third countries and international organisations")
	rows = nil
	for _, t := range o.Transfers {
		rows = append(rows, []string{t.Recipient, t.Country, t.Safeguards})
	}
	if len(rows) == 0 {
		w.line("None stated.")
	} else {
		w.table([]string{"recipient", "country or organisation", "safeguards"}, rows)
	}
	w.line("## Security measures")
	w.items(o.Security)
	if len(o.Gaps) > 0 {
		w.line("## Not stated")
		w.items(o.Gaps)
	}
	return w.String()
}

// markdown writes blocks divided by empty lines.
type markdown struct{ strings.Builder }

func (w *markdown) line(format string, args ...any) {
	if w.Len() > 0 {
		w.WriteByte('\n')
	}
	fmt.Fprintf(w, format+"\n", args...)
}

func (w *markdown) items(items []string) {
	w.WriteByte('\n')
	for _, item := range items {
		fmt.Fprintf(w, "- %s\n", item)
	}
}

// table writes a table; rows whose last cell is empty are left out.
func (w *markdown) table(head []string, rows [][]string) {
	fmt.Fprintf(w, "\n| %s |\n|%s\n", strings.Join(head, " | "), strings.Repeat("---|", len(head)))
	for _, row := range rows {
		if row[len(row)-1] == "" {
			continue
		}
		for i := range row {
			row[i] = strings.ReplaceAll(strings.ReplaceAll(row[i], "|", `\|`), "\n", " ")
		}
		fmt.Fprintf(w, "| %s |\n", strings.Join(row, " | "))
	}
}

func (w *markdown) purpose(d *Declaration) {
	o := &d.Ours
	w.line("### %s", d.Name)
	w.line("%s", o.Description)
	basis := fmt.Sprintf("%s (GDPR article %s)", strings.ReplaceAll(o.LawfulBasis, "_", " "), o.Article)
	for _, more := range []string{o.LegitimateInterest, o.LegalReference} {
		if more != "" {
			basis += ": " + more
		}
	}
	var recipients []string
	for _, r := range o.Recipients {
		if r.Contact != "" {
			r.Name += " (" + r.Contact + ")"
		}
		recipients = append(recipients, r.Name)
	}
	rows := [][]string{
		{"lawful basis", basis},
		{"special categories", specialWords(d)},
		{"direct marketing", yes(o.DirectMarketing)},
		{"significant effect", yes(o.SignificantEffect)},
		{"safeguards", o.Safeguards},
		{"use of data", d.DataUse},
		{"categories of data", strings.Join(d.Categories, ", ")},
		{"uncategorised", codes(o.Uncategorised)},
		{"membership reveals", strings.Join(o.Infers, ", ")},
		{"retention", d.Retention},
		{"consent expires after", o.ConsentExpiresAfter},
		{"least age", years(o.MinAge)},
		{"notice", o.NoticeVersion},
		{"oldest notice that counts", o.OldestNoticeVersion},
		{"recipients", strings.Join(recipients, ", ")},
		{"topics", codes(o.Topics)},
		{"events", codes(o.Events)},
	}
	for _, l := range o.Lists {
		rows = append(rows, []string{"list " + code(l.Key), fmt.Sprintf("%d ids", l.Subjects)})
	}
	w.table([]string{"", ""}, rows)
	w.fields(o.Fields)
	var segments [][]string
	for _, s := range o.Segments {
		segments = append(segments, []string{code(s.Key), strings.Join(s.Infers, ", "), strings.TrimSuffix(s.Name+": "+s.Description, ": ")})
	}
	if len(segments) > 0 {
		w.table([]string{"segment", "reveals", "what it is"}, segments)
	}
}

func (w *markdown) fields(fields []FieldDetails) {
	var rows [][]string
	for _, f := range fields {
		categories := strings.Join(f.Categories, ", ")
		if categories == "" {
			categories = "uncategorised"
		}
		if f.Special {
			categories += " (special)"
		}
		rows = append(rows, []string{code(f.Path), categories})
	}
	if len(rows) > 0 {
		w.table([]string{"field", "category"}, rows)
	}
}

func specialWords(d *Declaration) string {
	if !d.Special {
		return ""
	}
	return "yes, on " + strings.ToLower(d.SpecialBasis) + " (GDPR article 9(2)(a))"
}

func stated(text string) string {
	if text == "" {
		return "not stated."
	}
	return text
}

func code(text string) string { return "`" + text + "`" }

func codes(texts []string) string {
	quoted := make([]string, len(texts))
	for i, t := range texts {
		quoted[i] = code(t)
	}
	return strings.Join(quoted, ", ")
}

func yes(is bool) string {
	if is {
		return "yes"
	}
	return ""
}

func years(n int) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprintf("%d years", n)
}

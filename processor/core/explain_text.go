package core

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/segmentd/segmentd/rules"
	"github.com/segmentd/segmentd/state/subject"
)

const (
	textWidth = 100 // columns
	textValue = 60  // runes of a value
)

// Text is the explanations for a person to read.
func (e *Explanations) Text() string {
	if len(e.Explanations) == 0 {
		return "Nothing is kept about the subject, so it is in no segment.\n"
	}
	var b strings.Builder
	for i := range e.Explanations {
		if i > 0 {
			b.WriteByte('\n')
		}
		b.WriteString(e.Explanations[i].Text())
	}
	return b.String()
}

// Text is the explanation for a person to read, in lines of 100 columns where
// ids and values let it.
func (e *Explanation) Text() string {
	t := &explanationText{of: e, shown: make(map[int]bool)}
	t.head()
	if e.When == nil {
		t.rule()
		return t.b.String()
	}
	t.b.WriteByte('\n')
	t.condition("when", e.When)
	if e.StayWhile != nil {
		t.condition("stay_while", e.StayWhile)
	}
	return t.b.String()
}

// explanationText writes one explanation.
type explanationText struct {
	b     strings.Builder
	of    *Explanation
	shown map[int]bool // leaves whose evidence is written
}

// line writes a text, broken between words, after a beginning; lines after the
// first are indented as far as the beginning reaches.
func (t *explanationText) line(begin, text string) {
	indent := utf8.RuneCountInString(begin)
	t.b.WriteString(begin)
	column := indent
	for i, word := range strings.Split(text, " ") {
		n := utf8.RuneCountInString(word)
		switch {
		case i == 0:
		case column+1+n > textWidth:
			t.b.WriteString("\n" + strings.Repeat(" ", indent))
			column = indent
		default:
			t.b.WriteByte(' ')
			column++
		}
		t.b.WriteString(word)
		column += n
	}
	t.b.WriteByte('\n')
}

func (t *explanationText) labelled(label, text string) { t.line(fmt.Sprintf("  %-8s ", label), text) }

func (t *explanationText) head() {
	e := t.of
	title := e.Segment
	if e.Name != "" && e.Name != e.Segment {
		title += " (" + e.Name + ")"
	}
	t.line("", title)
	subject := e.UserID
	if e.IDType == "anonymousId" {
		subject += " (anonymous)"
	}
	t.labelled("subject", subject)
	member := "✗ no"
	if e.Member {
		member = "✓ since " + e.Since
	}
	if e.At != "" {
		member += ", as of " + e.At
	}
	t.labelled("member", member)
	t.labelled("why", e.Why)
	t.labelled("purpose", e.Purpose+" "+e.basisText())
	if e.CoverageFrom != "" {
		t.labelled("coverage", "what the rule reads is complete since "+e.CoverageFrom)
	}
	if e.Member && e.Rule.MinDwell != "" && e.DwellUntil != "" {
		t.labelled("dwell", "min_dwell of "+e.Rule.MinDwell+" keeps it in until "+e.DwellUntil)
	}
	if e.CooldownUntil != "" {
		t.labelled("cooldown", "of "+e.Rule.Cooldown+" keeps it out until "+e.CooldownUntil)
	}
	t.labelled("next", e.nextText())
}

func (e *Explanation) basisText() string {
	basis := strings.ReplaceAll(e.LawfulBasis, "_", " ")
	if !e.Basis.Holds {
		text := "✗ " + basis + ": " + strings.ReplaceAll(e.Basis.Reason, "_", " ")
		if e.Basis.DecidedAt != "" {
			text += " at " + e.Basis.DecidedAt
		}
		return text
	}
	text := "✓ " + basis
	if e.Basis.Since != "" {
		text += " since " + e.Basis.Since
	}
	if e.Basis.Until != "" {
		text += ", until " + e.Basis.Until
	}
	return text
}

func (e *Explanation) nextText() string {
	switch {
	case e.NextChangeNote != "":
		return e.NextChangeNote
	case e.NextChange == nil:
		return "nothing, unless something happens"
	case e.NextChange.Change == "entered":
		return "enters at " + e.NextChange.At + " if nothing else happens (" + e.NextChange.Reason + ")"
	}
	return "leaves at " + e.NextChange.At + " if nothing else happens (" + e.NextChange.Reason + ")"
}

// rule writes the rule as it is written, where nothing can be asked of it.
func (t *explanationText) rule() {
	for _, r := range [][2]string{{"when", t.of.Rule.When}, {"stay_while", t.of.Rule.StayWhile}} {
		if r[1] == "" {
			continue
		}
		t.b.WriteString("\n" + r[0] + "\n")
		for line := range strings.Lines(r[1]) {
			t.b.WriteString("  " + strings.TrimRight(line, "\n") + "\n")
		}
	}
}

func mark(p *rules.Part) string {
	switch {
	case p.Holds == nil:
		return "·"
	case *p.Holds:
		return "✓"
	}
	return "✗"
}

// condition writes when or stay_while.
func (t *explanationText) condition(name string, p *rules.Part) {
	t.b.WriteString(name + "\n")
	t.part(p, "  ", "")
}

// part writes an expression and what it is made of.
func (t *explanationText) part(p *rules.Part, indent, label string) {
	begin := indent + mark(p) + " " + label
	inner := indent + "  "
	switch p.Kind {
	case "and":
		t.line(begin, "all of these:")
	case "or":
		t.line(begin, "one of these:")
	case "not":
		t.line(begin, "not:")
	case "let":
		t.line(begin, p.Text+", which is:")
	default:
		t.plain(p, begin)
	}
	t.readings(p, inner+"  ")
	for i := range p.Parts {
		label := ""
		if p.Kind == "choice" {
			label = [...]string{"if ", "then ", "else "}[i]
		}
		if p.Parts[i].Kind != "constant" {
			t.part(&p.Parts[i], inner, label)
		}
	}
	if p.Omitted > 0 {
		t.line(inner, fmt.Sprintf("… and %d more", p.Omitted))
	}
}

func (t *explanationText) plain(p *rules.Part, begin string) {
	text := p.Text
	if len(p.Value) > 0 {
		text += " is " + valueText(p.Value)
	}
	t.line(begin, text+traitText(p.Trait))
}

func traitText(r *rules.TraitReading) string {
	switch {
	case r == nil:
		return ""
	case r.Time == "":
		return " (never set)"
	}
	return " (set " + r.Time + ")"
}

// readings writes what an expression itself reads.
func (t *explanationText) readings(p *rules.Part, indent string) {
	if p.Held != nil {
		t.line(indent, heldText(p.Held))
	}
	if p.Segment != nil && p.Segment.Since != "" {
		t.line(indent, "in "+p.Segment.Key+" since "+p.Segment.Since)
	}
	for i := range p.Reads {
		t.leaf(&p.Reads[i], indent)
	}
	if p.MayChange != "" && len(p.Reads) == 0 && p.Held == nil {
		t.line(indent, "may change at "+p.MayChange)
	}
}

// leaf writes what was taken of a leaf, and its evidence once.
func (t *explanationText) leaf(r *rules.LeafReading, indent string) {
	e := &t.of.Leaves[r.Leaf]
	text := ""
	if r.Measure != "" {
		text = measureText(r) + "; "
	}
	if t.shown[r.Leaf] {
		t.line(indent, text+"the evidence is above")
		return
	}
	t.shown[r.Leaf] = true
	t.line(indent, text+evidenceText(e))
	t.pieces(e.Pieces, e.More, indent+"  ")
	if len(e.Unmatched) > 0 {
		t.line(indent, "in the window, but not followed as asked:")
		t.pieces(e.Unmatched, e.MoreUnmatched, indent+"  ")
	}
}

// evidenceText says how much of a leaf counts.
func evidenceText(e *rules.Evidence) string {
	text := "nothing counts"
	if e.Counting > 0 {
		text = fmt.Sprintf("%d counts", e.Counting)
		if e.Counting > 1 {
			text = fmt.Sprintf("%d count", e.Counting)
		}
		if e.NextLeaves != "" {
			text += ", the next leaves at " + e.NextLeaves
		}
	}
	if e.Waiting > 0 {
		text += fmt.Sprintf(", %d waiting, the next counts from %s", e.Waiting, e.NextEnters)
	}
	if e.Left > 0 {
		text += fmt.Sprintf(", %d before the window", e.Left)
	}
	if e.Truncated {
		text += "; the oldest evidence was dropped (max_subject_bytes)"
	}
	return text
}

func (t *explanationText) pieces(pieces []rules.Piece, more int, indent string) {
	for _, p := range pieces {
		text := p.Time
		if len(p.Value) > 0 {
			text += "  " + valueText(p.Value)
		}
		for _, f := range p.FollowedBy {
			text += ", then " + f.Event + " " + f.Time
		}
		if p.Open != "" {
			text += ", open until " + p.Open
		}
		t.line(indent, text)
	}
	if more > 0 {
		t.line(indent, fmt.Sprintf("… and %d older", more))
	}
}

// valueText is a value as a rule would write it, cut off where it is long.
func valueText(raw json.RawMessage) string {
	text := string(raw)
	var s string
	if json.Unmarshal(raw, &s) == nil && text != "null" {
		if _, err := subject.ParseInstant(s); err == nil {
			text = s
		} else {
			text = strconv.Quote(s)
		}
	}
	text = strings.Map(printable, text)
	if utf8.RuneCountInString(text) > textValue {
		text = string([]rune(text)[:textValue]) + "…"
	}
	return text
}

// printable replaces what a terminal could mistake for a command.
func printable(r rune) rune {
	if unicode.IsPrint(r) {
		return r
	}
	return utf8.RuneError
}

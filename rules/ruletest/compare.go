package ruletest

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/segmentd/segmentd/state/subject"
)

func sameRow(expected, actual string) Row { return Row{expected, actual, expected == actual} }

// setRow is a row of two sets: in which of them a thing is.
func setRow(thing string, expected, actual bool) Row {
	row := Row{Holds: expected == actual}
	if expected {
		row.Expected = thing
	}
	if actual {
		row.Actual = thing
	}
	return row
}

// compareMembers compares the members of a segment, all of them.
func (r *runner) compareMembers(set memberSet, members map[Member]bool) {
	ids := slices.Clone(set.subjects)
	for m := range members {
		if m.Segment == set.segment {
			ids = append(ids, m.Subject)
		}
	}
	var rows []Row
	var about []Member
	for _, id := range sortedIDs(ids) {
		m := Member{set.segment, id}
		row := setRow(idText(id), slices.Contains(set.subjects, id), members[m])
		if rows = append(rows, row); !row.Holds {
			about = append(about, m)
		}
	}
	r.fail(set.at, "the members of "+set.segment, rows, about)
}

func sortedIDs(ids []subject.ID) []subject.ID {
	slices.SortFunc(ids, func(a, b subject.ID) int {
		return cmp.Or(strings.Compare(a.Value, b.Value), cmp.Compare(a.Type, b.Type))
	})
	return slices.Compact(ids)
}

func (r *runner) compareNotMembers(set memberSet, members map[Member]bool) {
	var rows []Row
	var about []Member
	for _, id := range sortedIDs(slices.Clone(set.subjects)) {
		m := Member{set.segment, id}
		row := sameRow("not "+idText(id), "not "+idText(id))
		if members[m] {
			row, about = Row{Expected: "not " + idText(id), Actual: idText(id)}, append(about, m)
		}
		rows = append(rows, row)
	}
	r.fail(set.at, "no members of "+set.segment, rows, about)
}

// compareSegments compares the segments of a subject, all of them.
func (r *runner) compareSegments(set segmentSet, members map[Member]bool) {
	keys := slices.Clone(set.segments)
	for m := range members {
		if m.Subject == set.subject {
			keys = append(keys, m.Segment)
		}
	}
	slices.Sort(keys)
	var rows []Row
	var about []Member
	for _, key := range slices.Compact(keys) {
		m := Member{key, set.subject}
		row := setRow(key, slices.Contains(set.segments, key), members[m])
		if rows = append(rows, row); !row.Holds {
			about = append(about, m)
		}
	}
	r.fail(set.at, "the segments of "+idText(set.subject), rows, about)
}

// compareChanges compares what was published since the expectation before, in order.
func (r *runner) compareChanges(e *expectation) {
	pairs := besides(align(len(e.changes), len(r.changes), func(i, j int) bool { return e.changes[i].matches(&r.changes[j]) }))
	withCause := slices.ContainsFunc(e.changes, func(row changeRow) bool { return row.causedBy != "" })
	var lines [][]string // expected, actual, expected …
	var about []Member
	for _, p := range pairs {
		var expected, actual []string
		if p.i >= 0 {
			row := &e.changes[p.i]
			if expected = row.cells(); !p.same && !row.subject.IsZero() {
				about = append(about, Member{row.segment, row.subject})
			}
		}
		if p.j >= 0 {
			c := &r.changes[p.j]
			if actual = changeCells(c); !p.same && c.Segment != "" {
				about = append(about, Member{c.Segment, c.Subject})
			}
		}
		lines = append(lines, cut(expected, withCause), cut(actual, withCause))
	}
	texts := columns(lines)
	var rows []Row
	for n, p := range pairs {
		rows = append(rows, Row{texts[2*n], texts[2*n+1], p.same})
	}
	r.fail(e.changesAt, "the changes since the expectation before", rows, about)
}

// cut leaves out the cause unless it is compared.
func cut(cells []string, withCause bool) []string {
	if len(cells) == 0 || withCause {
		return cells
	}
	return cells[:len(cells)-1]
}

// notCompared stands for what an expected change leaves open.
const notCompared = "…"

func (row *changeRow) cells() []string {
	cells := []string{row.time, "", row.segment, row.kind, row.reason, row.causedBy}
	if !row.subject.IsZero() {
		cells[1] = idText(row.subject)
	}
	for i := range cells {
		cells[i] = cmp.Or(cells[i], notCompared)
	}
	return cells
}

func changeCells(c *subject.Change) []string {
	return []string{c.Time.String(), idText(c.Subject), c.Segment, c.Kind.String(), c.Reason.String(), c.CausedBy}
}

func (row *changeRow) matches(c *subject.Change) bool {
	return row.segment == c.Segment && row.kind == c.Kind.String() && (row.subject.IsZero() || row.subject == c.Subject) &&
		(row.time == "" || row.time == c.Time.String()) && (row.reason == "" || row.reason == c.Reason.String()) &&
		(row.causedBy == "" || row.causedBy == c.CausedBy)
}

// pair is an expected thing beside an actual one; -1: none.
type pair struct {
	i, j int
	same bool
}

// besides puts expected things without a match on one line with actual ones
// without a match where they stand between the same neighbours.
func besides(pairs []pair) (joined []pair) {
	for len(pairs) > 0 {
		if pairs[0].same {
			joined, pairs = append(joined, pairs[0]), pairs[1:]
			continue
		}
		var missing, extra []int
		n := 0
		for ; n < len(pairs) && !pairs[n].same; n++ {
			if pairs[n].i >= 0 {
				missing = append(missing, pairs[n].i)
			} else {
				extra = append(extra, pairs[n].j)
			}
		}
		pairs = pairs[n:]
		for k := range max(len(missing), len(extra)) {
			p := pair{-1, -1, false}
			if k < len(missing) {
				p.i = missing[k]
			}
			if k < len(extra) {
				p.j = extra[k]
			}
			joined = append(joined, p)
		}
	}
	return joined
}

// maxAligned bounds what is aligned; longer lists are compared place by place.
const maxAligned = 1000

// align puts n expected things beside m actual ones, in order, so that as many
// as possible match (longest common subsequence).
func align(n, m int, match func(i, j int) bool) []pair {
	if n > maxAligned || m > maxAligned {
		return inPlace(n, m, match)
	}
	longest := make([][]int, n+1)
	for i := range longest {
		longest[i] = make([]int, m+1)
	}
	for i := n - 1; i >= 0; i-- {
		for j := m - 1; j >= 0; j-- {
			longest[i][j] = max(longest[i+1][j], longest[i][j+1])
			if match(i, j) {
				longest[i][j] = max(longest[i][j], longest[i+1][j+1]+1)
			}
		}
	}
	var pairs []pair
	i, j := 0, 0
	for i < n || j < m {
		switch {
		case i < n && j < m && match(i, j) && longest[i][j] == longest[i+1][j+1]+1:
			pairs = append(pairs, pair{i, j, true})
			i, j = i+1, j+1
		case j == m || i < n && longest[i+1][j] >= longest[i][j+1]:
			pairs = append(pairs, pair{i, -1, false})
			i++
		default:
			pairs = append(pairs, pair{-1, j, false})
			j++
		}
	}
	return pairs
}

func inPlace(n, m int, match func(i, j int) bool) (pairs []pair) {
	for k := range max(n, m) {
		switch {
		case k < n && k < m && match(k, k):
			pairs = append(pairs, pair{k, k, true})
			continue
		case k < n:
			pairs = append(pairs, pair{k, -1, false})
		}
		if k < m {
			pairs = append(pairs, pair{-1, k, false})
		}
	}
	return pairs
}

// columns joins the cells of lines, padded to one width a column.
func columns(lines [][]string) []string {
	var widths []int
	for _, cells := range lines {
		for i, cell := range cells {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	texts := make([]string, len(lines))
	for n, cells := range lines {
		var b strings.Builder
		for i, cell := range cells {
			fmt.Fprintf(&b, "%-*s", widths[i]+2, cell)
		}
		texts[n] = strings.TrimRight(b.String(), " ")
	}
	return texts
}

// explanation is what is compared of an explanation's document.
type explanation struct {
	Member     bool   `json:"member"`
	Since      string `json:"since"`
	NextChange *struct {
		At     string `json:"at"`
		Change string `json:"change"`
	} `json:"nextChange"`
}

func (r *runner) compareExplanation(x explained) error {
	what := fmt.Sprintf("the explanation of %s in %s", idText(x.subject), x.segment)
	if r.explainer == nil {
		r.fail(x.at, what, []Row{{Expected: "an explanation", Actual: "explanations are not available"}}, nil)
		return nil
	}
	document, text, err := r.explainer.Explain(x.subject, x.segment, r.clock)
	if err != nil {
		return err
	}
	encoded, err := json.Marshal(document)
	if err != nil {
		return err
	}
	var is explanation
	if err := json.Unmarshal(encoded, &is); err != nil {
		return err
	}
	r.fail(x.at, what, x.rows(is, text), []Member{{x.segment, x.subject}})
	return nil
}

func (x *explained) rows(is explanation, text string) (rows []Row) {
	if x.member != nil {
		rows = append(rows, sameRow(fmt.Sprintf("member: %t", *x.member), fmt.Sprintf("member: %t", is.Member)))
	}
	if x.since != "" {
		rows = append(rows, sameRow("since: "+x.since, "since: "+cmp.Or(is.Since, "never")))
	}
	if x.next != nil {
		rows = append(rows, x.next.row(is))
	}
	for _, want := range x.contains {
		row := Row{Expected: "contains: " + want, Actual: "contains: " + want, Holds: true}
		if !strings.Contains(onOneLine(text), onOneLine(want)) {
			row.Actual, row.Holds = "", false
		}
		rows = append(rows, row)
	}
	return rows
}

// onOneLine makes every run of blanks one: explanations are broken into lines.
func onOneLine(text string) string { return strings.Join(strings.Fields(text), " ") }

func (n *nextChange) row(is explanation) Row {
	expected, actual := "next: none", "next: none"
	if n.at != "" {
		expected = strings.TrimRight("next: "+n.at+" "+n.change, " ")
	}
	if is.NextChange != nil {
		actual = "next: " + is.NextChange.At
		if n.change != "" || n.at == "" {
			actual += " " + is.NextChange.Change
		}
	}
	return sameRow(expected, actual)
}

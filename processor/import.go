package processor

import (
	"fmt"
	"slices"

	"github.com/segmentd/segmentd/processor/core"
	"github.com/segmentd/segmentd/state/subject"
)

// takeImport takes in what another instance has handed over of a subject: record,
// proofs and result in one transaction. While rules change nothing is taken: the
// evidence of a record may be incomplete then. One that was taken does nothing when it
// is read again.
func (p *partition) takeImport(d *openDossier, q *subject.Request) error {
	if at := d.request(q.RequestID); at != nil {
		if at.Status == subject.Completed {
			return nil
		}
		d.drop(at)
	}
	s := p.newRequest(q)
	if p.change != nil {
		s.Status, s.Done, s.Detail = subject.Failed, subject.FromTime(p.deps.Now()), "nothing was taken in, as the rules are changing: send it again once they have"
	} else {
		done, err := p.machine.Import(q)
		if err != nil {
			return storeError(err)
		}
		p.complete(&s, importDetail(&done))
		d.proveImported(q)
		d.Dropped = max(d.Dropped, q.Portable.Dropped)
	}
	if p.out.tell(&s); p.hasRoom(d, q) {
		d.Requests = append(d.Requests, s)
	}
	return p.closeDossier(d)
}

// proveImported adds the decisions of a document to the proofs, but those that are
// kept already. Their place there is none here: each has that of the import, which has
// the document.
func (d *openDossier) proveImported(q *subject.Request) {
	kept := slices.Clone(d.Proofs)
	for _, x := range q.Portable.Decisions {
		x.Source = q.Source
		if !slices.ContainsFunc(kept, func(y subject.Proof) bool { y.Source = x.Source; return y == x }) {
			d.prove(x)
		}
	}
}

// importDetail says what became of a document.
func importDetail(done *core.Imported) string {
	text := fmt.Sprintf("taken in: traits %d, pieces of evidence %d", done.Traits, done.Evidence)
	for _, left := range []struct {
		n   int
		why string
	}{{done.Unread, "no rule here reads"}, {done.Barred, "no lawful basis covers"}, {done.Refused, "are no evidence of their leaf"}} {
		if left.n > 0 {
			text += fmt.Sprintf("; %d left out that %s", left.n, left.why)
		}
	}
	return text
}

package transparency

import (
	"slices"

	"github.com/segmentd/segmentd/processor/core"
)

// Access is a copy of all that is kept about a subject, with what it must be told
// beside it.
type Access struct {
	core.AccessDocument
	// About is what GDPR article 15(1)(a) to (h) asks for: the notice, with those of its
	// purposes that something is kept for.
	About Notice `json:"about"`
}

// NewAccess completes what is kept about a subject with what goes with it.
func NewAccess(s Source, kept core.AccessDocument) *Access {
	a := &Access{kept, *NewNotice(s)}
	a.About.Purposes = slices.DeleteFunc(a.About.Purposes, func(p PurposeNotice) bool {
		holds := func(k core.AccessPurpose) bool { return k.Purpose == p.Key }
		return !slices.ContainsFunc(kept.Purposes, holds) && !slices.ContainsFunc(kept.New, holds)
	})
	return a
}

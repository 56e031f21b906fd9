package processor

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/segmentd/segmentd/rules"
	"github.com/segmentd/segmentd/state/subject"
)

// editionFormat is the format of editions that this version writes and the
// newest it reads.
const editionFormat = 1

// edition is a rule set as it is published on <group>-rules, under its hash: a
// line of JSON, then the archive of the rule files. Once another edition has
// superseded it the files are left out.
type edition struct {
	Format   int    `json:"format"`
	Hash     string `json:"hash"`
	Revision int64  `json:"revision"`
	// Published is when it was, by its publisher's clock, in RFC 3339.
	Published string `json:"published"`
	// Supersedes is the hash of the edition before it; "": it is the first.
	Supersedes   string `json:"supersedes,omitempty"`
	SupersededBy string `json:"supersededBy,omitempty"`
	Removals     bool   `json:"removals,omitempty"` // it was published to remove segments that hold members

	archive []byte // nil: superseded
}

// checked reports whether it was looked at what the edition removes when it was
// published. Of a first one each partition looks for itself, as it may have older
// rules that were never published.
func (e *edition) checked() bool { return e.Supersedes != "" || e.Removals }

// newEdition packs a rule set.
func newEdition(set *rules.Set, at subject.Instant) (*edition, error) {
	archive, err := set.Archive()
	if err != nil {
		return nil, err
	}
	return &edition{Format: editionFormat, Hash: set.Hash, Revision: set.Revision, Published: at.String(), archive: archive}, nil
}

// supersededBy is what is left of an edition when another one is published.
func (e edition) supersededBy(next *edition) *edition {
	e.SupersededBy, e.archive = next.Hash, nil
	return &e
}

func (e *edition) encode() ([]byte, error) {
	head, err := json.Marshal(e)
	if err != nil {
		return nil, fmt.Errorf("encode edition: %w", err)
	}
	return append(append(head, '\n'), e.archive...), nil
}

// Errors of decodeEdition: bytes are an edition of a newer format; none at all.
var (
	errEdition = errors.New("not an edition of rules that this version can read")
	errForeign = errors.New("not an edition of rules")
)

func decodeEdition(key, value []byte) (*edition, error) {
	head, archive, found := bytes.Cut(value, []byte("\n"))
	e := new(edition)
	if json.Unmarshal(head, e) != nil || e.Format == 0 || e.Hash != string(key) {
		return nil, errForeign
	}
	if e.Format != editionFormat || !found {
		return nil, errEdition
	}
	if len(archive) > 0 {
		e.archive = bytes.Clone(archive)
	}
	return e, nil
}

// compile makes the rule set of an edition.
func (e *edition) compile() (*rules.Set, error) {
	set, problems := rules.LoadArchive(e.archive)
	switch {
	case set == nil && len(problems) > 0:
		return nil, problems[0]
	case set == nil || set.Hash != e.Hash:
		return nil, errors.New("this program understands them otherwise than the one that published them")
	}
	return set, nil
}

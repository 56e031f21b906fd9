package processor

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/segmentd/segmentd/rules"
	"github.com/segmentd/segmentd/state"
)

// dictionary is what the numbers in records mean, kept on the changelog beside
// the rule files: it outlives the program that can compile them.
type dictionary struct {
	RuleSet  string       `json:"ruleSet"`
	Revision int64        `json:"revision,omitempty"`
	Leaves   string       `json:"leaves,omitempty"` // digest of what is kept (rules.Set.LeafDigest)
	Segments []rules.Name `json:"segments"`
}

// dictionaryOf encodes the dictionary of a rule set.
func dictionaryOf(set *rules.Set) ([]byte, error) {
	return dictionary{RuleSet: set.Hash, Revision: set.Revision, Leaves: set.LeafDigest(), Segments: set.Names()}.encode()
}

func (d dictionary) encode() ([]byte, error) {
	b, err := json.Marshal(d)
	if err != nil {
		return nil, fmt.Errorf("encode dictionary: %w", err)
	}
	return b, nil
}

func (p *partition) keepDictionary(set *rules.Set) error {
	b, err := dictionaryOf(set)
	if err != nil {
		return err
	}
	p.image.SetFixed(state.DictionaryKey, b)
	return nil
}

// dictionary reads the dictionary under a fixed key; what cannot be read is empty.
func (p *partition) dictionary(key []byte) (d dictionary) {
	if err := json.Unmarshal(p.image.Fixed(key), &d); err != nil {
		return dictionary{}
	}
	return d
}

// adoptRules goes on under the rule set of the checkpoint, in the middle of a
// change to it if that was not done. Where it, or the one before it, cannot be
// told any more (this program does not compile it, or not to the same), nothing
// of what is kept is reused, and all is filled anew.
func (p *partition) adoptRules() error {
	p.change, p.machine = nil, nil
	progress, told, err := readCursors(p.checkpoint.Cursors)
	if err != nil {
		return configErrorf("the checkpoint on %s has a %v: it was written by a newer version", p.topics.Changelog(), err)
	}
	p.coverage, p.accepted = told.coverage, told.accepted
	p.settleAcceptance()
	set := p.compiled(p.checkpoint.RuleSet, state.RulesKey, state.DictionaryKey)
	if set == nil {
		return p.beginAnew(p.target())
	}
	if progress == nil {
		if p.image.Fixed(state.RulesKey) == nil {
			if err := p.keepRules(set); err != nil {
				return err
			}
		}
		p.follow(set)
		return nil
	}
	from := p.compiled(progress.from, state.FormerRulesKey, state.FormerDictionaryKey)
	if from == nil && progress.from != "" {
		return p.beginAnew(set)
	}
	c := p.newChange(rules.Compare(from, p.dictionary(state.FormerDictionaryKey).Segments, set))
	c.progress = *progress
	p.change = c
	p.follow(set)
	return nil
}

// compiled returns the rule set with a hash, compiled from the files under a
// fixed key if it is none that is at hand; nil if that is not possible.
func (p *partition) compiled(hash string, files, words []byte) *rules.Set {
	if hash == "" {
		return nil
	}
	set := p.target()
	if set.Hash != hash {
		archive := p.image.Fixed(files)
		if archive == nil {
			return nil
		}
		if set, _ = rules.LoadArchive(archive); set == nil || set.Hash != hash {
			return nil
		}
	}
	if d := p.dictionary(words); d.Leaves != "" && d.Leaves != set.LeafDigest() {
		return nil
	}
	return set
}

// beginAnew begins a change from rules that cannot be told, in the place of one
// under way if there is any. It is committed with the first transaction.
func (p *partition) beginAnew(to *rules.Set) error {
	p.log.Warn("the rules that the kept state was made under cannot be compiled by this program: all segments are filled anew from the events' topics",
		"rule_set", short(p.checkpoint.RuleSet), "to", short(to.Hash))
	former := dictionary{Revision: p.dictionary(state.DictionaryKey).Revision, Segments: p.known()}
	words, err := former.encode()
	if err != nil {
		return err
	}
	p.change = p.newChange(rules.Compare(nil, former.Segments, to))
	p.image.SetFixed(state.FormerRulesKey, nil)
	p.image.SetFixed(state.FormerDictionaryKey, words)
	if err := p.keepRules(to); err != nil {
		return err
	}
	clear(p.coverage)
	p.follow(to)
	return nil
}

// known names all segments that records may have members of.
func (p *partition) known() []rules.Name {
	names := p.dictionary(state.DictionaryKey).Segments
	for _, n := range p.dictionary(state.FormerDictionaryKey).Segments {
		if !slices.Contains(names, n) {
			names = append(names, n)
		}
	}
	return names
}

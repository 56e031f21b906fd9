package processor

import (
	"context"
	"time"

	"github.com/segmentd/segmentd/processor/core"
	"github.com/segmentd/segmentd/processor/wire"
	"github.com/segmentd/segmentd/rules"
	"github.com/segmentd/segmentd/state"
	"github.com/segmentd/segmentd/state/subject"
)

// change is a change of rules under way in a partition. The transaction in which
// it begins puts the new rule set in force and keeps both sets' files on the
// changelog; every later one has its progress. So whatever moment the process
// dies, it goes on where its last transaction ended.
//
// INVARIANT: until the sweep has passed it a record is one of the former rule
// set, afterwards one of the new.
type change struct {
	progress
	migration  *core.Migration
	transition *rules.Transition
	decisions  []*input  // read again
	events     []*input  // read again
	told       time.Time // when progress was last logged
}

// next is the phase that follows one.
func (c *change) next(done phase) phase {
	needed := [ended + 1]bool{rereading: c.transition.Rereads(), sweeping: true, filling: c.transition.Fills(), takingOver: c.transition.Fills(), ended: true}
	for done++; !needed[done]; done++ {
	}
	return done
}

// changeRules brings the partition to the rules that are wanted, as far as that
// is done with live processing at rest: all but reading events again, which
// goes on beside it. What is wanted while another change is under way begins
// when that one is done.
func (p *partition) changeRules(ctx, work context.Context) error {
	for {
		if err := p.countAnew(); err != nil {
			return err
		}
		if p.change == nil {
			to := p.target()
			if to.Hash == p.rules().Hash {
				return nil
			}
			if err := p.beginChange(work, to); err != nil {
				return err
			}
			continue
		}
		if p.change.phase == filling {
			return nil
		}
		if err := p.runPhase(ctx, work); err != nil {
			return err
		}
	}
}

// rules is the rule set in force in the partition.
func (p *partition) rules() *rules.Set { return p.machine.Engine().Set() }

// beginChange puts another rule set in force. A change of words only is done
// with that.
func (p *partition) beginChange(ctx context.Context, to *rules.Set) error {
	if err := p.advance(ctx, p.machine.Clock()); err != nil {
		return err
	}
	if err := p.commit(ctx); err != nil {
		return err
	}
	from := p.rules()
	if err := p.mayBegin(to); err != nil {
		return err
	}
	t := rules.Compare(from, nil, to)
	p.log.Info("the rules change", "from", short(from.Hash), "to", short(to.Hash), "revision", to.Revision)
	if t.Touches() {
		c := p.newChange(t)
		c.from = from.Hash
		c.phase = c.next(resetting)
		p.image.SetFixed(state.FormerRulesKey, p.image.Fixed(state.RulesKey))
		p.image.SetFixed(state.FormerDictionaryKey, p.image.Fixed(state.DictionaryKey))
		p.change = c
	}
	if err := p.keepRules(to); err != nil {
		return err
	}
	p.uncover(t)
	p.follow(to)
	return p.commit(ctx)
}

func short(hash string) string { return hash[:min(12, len(hash))] }

// newChange is a change that begins now.
func (p *partition) newChange(t *rules.Transition) *change {
	c := &change{transition: t, migration: core.NewMigration(t, p.cfg.Core), progress: progress{phase: resetting, at: p.checkpoint.Clock,
		reread: map[string]span{}, again: map[string]span{}, clock: subject.LongAgo, covered: subject.LongAgo}}
	for _, in := range p.decisions {
		c.reread[in.Topic] = span{end: in.position}
	}
	for _, in := range p.history {
		c.again[in.Topic] = span{}
	}
	for _, n := range t.Removed { // their exits go where their entries went
		p.deps.Produces([]string{p.topics.Changes(n.Output), p.topics.Members(n.Output)})
	}
	return c
}

// keepRules keeps a rule set's files, and what the numbers in its records mean,
// with the next transaction.
func (p *partition) keepRules(set *rules.Set) error {
	archive, err := set.Archive()
	if err != nil {
		return configErrorf("%v", err)
	}
	p.image.SetFixed(state.RulesKey, archive)
	return p.keepDictionary(set)
}

// follow lets the partition work under a rule set, by the change to it if one is
// under way.
func (p *partition) follow(set *rules.Set) {
	clock := p.checkpoint.Clock
	if p.machine != nil {
		clock = p.machine.Clock()
	}
	engine := core.New(set, p.cfg.Core)
	if c := p.change; c != nil {
		engine = c.migration.Engine()
		c.decisions, c.events = p.inputsAgain(p.decisions, c.reread), p.inputsAgain(p.history, c.again)
	}
	p.machine = core.NewMachine(engine, p.image, clock)
	p.counted, p.timers = core.Counters{}, 0
	for _, in := range p.inputs() {
		in.decoder = wire.NewDecoder(decoderOptions(in.Input, set))
	}
	p.encoder = wire.NewEncoder(wire.EncoderOptions{Group: p.cfg.Group, Format: p.cfg.OutputFormat, CETypePrefix: p.cfg.CETypePrefix, RuleSet: set.Hash})
	p.table.Store(p.table.Load().under(set))
}

// inputsAgain are inputs that are read a second time, from where that has got to.
func (p *partition) inputsAgain(inputs []*input, at map[string]span) (again []*input) {
	for _, in := range inputs {
		s := at[in.Topic]
		again = append(again, &input{Input: in.Input, again: true, position: s.next, fresh: s.next == 0,
			decoder: wire.NewDecoder(decoderOptions(in.Input, p.change.transition.To))})
	}
	return again
}

// runPhase does a phase, or what is left of it, with live processing at rest.
func (p *partition) runPhase(ctx, work context.Context) (err error) {
	c := p.change
	switch c.phase {
	case resetting:
		err = p.sweep(ctx, work, dropShadow)
	case rereading:
		err = p.rereadDecisions(ctx, work)
	case sweeping:
		err = p.sweep(ctx, work, func(r *subject.Record) bool { return c.migration.Migrate(r, p.machine.Clock()) })
	case takingOver:
		err = p.sweep(ctx, work, func(r *subject.Record) bool { return c.migration.TakeOver(r, p.machine.Clock()) })
	}
	if err != nil {
		return err
	}
	return p.endPhase(work, c.next(c.phase))
}

// endPhase commits that a phase is done, and with the last one the change.
func (p *partition) endPhase(ctx context.Context, next phase) error {
	c := p.change
	p.log.Debug("a phase of the change of rules is done", "phase", phaseNames[c.phase])
	if c.phase == resetting {
		for _, in := range p.decisions { // what was noted meanwhile has gone with the shadows
			c.reread[in.Topic] = span{end: in.position}
		}
	}
	c.phase, c.key = next, nil
	if next > sweeping {
		if err := p.advanceNoted(); err != nil {
			return err
		}
	}
	if next == ended {
		p.endChange()
	}
	return p.commit(ctx)
}

func (p *partition) endChange() {
	c := p.change
	c.migration.Release()
	p.cover(c)
	p.image.SetFixed(state.FormerRulesKey, nil)
	p.image.SetFixed(state.FormerDictionaryKey, nil)
	p.change = nil
	p.gauges.SetBackfillRemaining(0)
	p.log.Info("the rules have changed", "rule_set", short(p.rules().Hash))
}

func dropShadow(r *subject.Record) bool {
	had := r.Shadow != nil
	r.Shadow = nil
	return had
}

package processor

import (
	"github.com/segmentd/segmentd/state"
	"github.com/segmentd/segmentd/state/subject"
)

// sizes are how many members segments have in a partition as of a checkpoint. A
// partition that is recovered where it was left, as at the end of a generation
// that it stays through, is not counted again.
type sizes struct {
	checkpoint state.Checkpoint
	members    map[string]int64 // by segment
	register   *register
}

// leave keeps the sizes as of the last commit, for the next recovery; while rules
// change they are not told apart by segment.
func (p *partition) leave() {
	p.left = nil
	if p.machine == nil || p.change != nil || p.checkpoint.Transaction == 0 {
		return
	}
	p.left = &sizes{p.checkpoint, p.table.Load().members(), p.register}
}

// of reports whether the sizes are those as of a checkpoint.
func (s *sizes) of(cp *state.Checkpoint) bool {
	return s != nil && s.checkpoint.History == cp.History && s.checkpoint.Transaction == cp.Transaction
}

// countMembers adds up the dossiers, and finds every segment's members in the restored image.
func (p *partition) countMembers() error {
	p.members = map[string]int64{}
	var register *register
	if p.left.of(&p.checkpoint) {
		p.members, register = p.left.members, p.left.register
	} else if err := p.countImage(); err != nil {
		return err
	}
	p.left = nil
	if err := p.countRegister(register); err != nil {
		return err
	}
	p.gauges.ClearMembers()
	for segment, n := range p.members {
		p.gauges.SetMembers(segment, n)
	}
	p.table.Load().setMembers(p.members)
	return nil
}

func (p *partition) countImage() error {
	byID := map[uint32]int64{}
	err := p.image.Each(func(r *subject.Record) error {
		for i := range r.Purposes {
			for _, m := range r.Purposes[i].Members {
				byID[m.Segment]++
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, n := range append(p.known(), p.rules().Names()...) {
		p.members[n.Key] = byID[n.ID]
	}
	return nil
}

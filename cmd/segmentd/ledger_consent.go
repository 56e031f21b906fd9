package main

import (
	"context"
	"encoding/hex"
	"fmt"
	"slices"

	"github.com/segmentd/segmentd/config"
	"github.com/segmentd/segmentd/processor"
	"github.com/segmentd/segmentd/processor/kafka"
	"github.com/segmentd/segmentd/processor/stream"
	"github.com/segmentd/segmentd/processor/wire"
	"github.com/segmentd/segmentd/rules"
	"github.com/segmentd/segmentd/state"
	"github.com/segmentd/segmentd/state/subject"
)

// consentLedger compares what subjects decided, by the decisions topics, with the
// proofs that are kept and the grants that are in force, by the changelog. It holds
// all of them in memory.
type consentLedger struct {
	inv    *invocation
	cfg    *config.Config
	set    *rules.Set
	client *kafka.Client
	keyer  *state.Keyer
	starts map[subject.Position]int64 // first offset of each partition of the topics that were read; by position 0

	said     map[state.Key]map[subject.Position][]subject.Proof // by the subject's record
	dossiers map[state.Key]*subject.Dossier
	records  map[state.Key]*subject.Record
	names    map[state.Key]string // of subjects, as the audit log has them

	imports map[string]bool // topics of requests: what was imported has a place there

	decisions, proofs, gone, imported, grants, idle, faults int64
}

// verifyConsents checks the consent ledger of a group that runs on brokers.
func verifyConsents(ctx context.Context, inv *invocation, cfg *config.Config) error {
	if len(cfg.InputsOf(config.KindDecision)) == 0 {
		return usagef("no input is of kind decision: proofs of consent are held against these topics; give the group's own --config")
	}
	set, err := loadRules(inv, cfg.Rules)
	if err != nil {
		return err
	}
	secret, err := cfg.ReadSecret()
	if err != nil {
		return usageError(err)
	}
	client, err := connect(cfg, nil, inv.log)
	if err != nil {
		return err
	}
	defer client.Close()
	l := &consentLedger{inv: inv, cfg: cfg, set: set, client: client, keyer: state.NewKeyer(secret), starts: map[subject.Position]int64{}, imports: map[string]bool{},
		said: map[state.Key]map[subject.Position][]subject.Proof{}, dossiers: map[state.Key]*subject.Dossier{}, records: map[state.Key]*subject.Record{}, names: map[state.Key]string{}}
	for _, in := range cfg.InputsOf(config.KindRequest) {
		l.imports[in.Topic] = true
	}
	if err := l.read(ctx); err != nil {
		return environmentError(err)
	}
	l.compare()
	fmt.Fprintf(inv.out, "the consent ledger: %s of %s on the topics, %s kept (%d of records that the topics do not have any more, %d imported), %s in force (%d more are kept and do not count: they have ended, are ahead, or of somebody too young): %s\n",
		count(l.decisions, "decision"), count(len(l.said), "subject"), count(l.proofs, "proof"), l.gone, l.imported, count(l.grants, "grant"), l.idle, count(l.faults, "fault"))
	if l.faults > 0 {
		return inputError(errPrinted)
	}
	return nil
}

// read reads the decisions that the group has taken, and after them the changelog,
// which then has at least what they brought about.
func (l *consentLedger) read(ctx context.Context) error {
	changelog := (processor.Topics{Group: l.cfg.Group}).Changelog()
	names := []string{changelog}
	inputs := l.cfg.InputsOf(config.KindDecision)
	for _, in := range inputs {
		names = append(names, in.Topic)
	}
	topics, err := describe(ctx, l.client, l.cfg, l.inv.log, names)
	if err != nil {
		return err
	}
	for _, in := range inputs {
		if t, ok := topics[in.Topic]; ok {
			err = l.readDecisions(ctx, in, t.Partitions)
		}
		if err != nil {
			return err
		}
	}
	t, ok := topics[changelog]
	if !ok {
		return fmt.Errorf("there is no topic %s", changelog)
	}
	for p := range t.Partitions {
		var wrong error
		err := readPartition(ctx, l.client, changelog, p, func(_ string, _ int32, r *stream.Record) {
			if err := l.keep(r); err != nil && wrong == nil {
				wrong = fmt.Errorf("%s:%d:%d: %w", changelog, p, r.Offset, err)
			}
		})
		if err == nil {
			err = wrong
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// readDecisions reads the decisions of an input up to where the group has come.
func (l *consentLedger) readDecisions(ctx context.Context, in config.Input, partitions int32) error {
	options, err := inputDecoder(in)
	if err != nil {
		return err
	}
	for i := range l.set.Purposes {
		options.Purposes = append(options.Purposes, l.set.Purposes[i].Key)
	}
	options.Fields, options.Names, options.MaxFutureSkew = l.set.Fields, l.set.EventNames(), l.cfg.Processing.MaxFutureSkew
	partitioner, err := kafka.ParsePartitioner(in.Partitioner)
	if err != nil {
		return err
	}
	taken, err := l.client.GroupOffsets(ctx, l.cfg.Group, in.Topic, partitions)
	if err != nil {
		return err
	}
	marks, err := l.client.Watermarks(ctx, in.Topic, partitions)
	if err != nil {
		return err
	}
	decoder := wire.NewDecoder(options)
	for p := range partitions {
		l.starts[subject.Position{Topic: in.Topic, Partition: p}] = marks[p].Start
		err := readPartition(ctx, l.client, in.Topic, p, func(topic string, _ int32, r *stream.Record) {
			at := subject.Position{Topic: topic, Partition: p, Offset: r.Offset}
			item, rejected := decoder.Decode(wire.Decisions, wire.Input{Key: r.Key, Value: r.Value, Headers: r.Headers, Timestamp: r.Timestamp, Source: at})
			if rejected != nil || r.Offset >= taken[p] {
				return
			}
			if to, known := partitioner.Partition([]byte(item.Subject.Value), partitions); !known || to == p { // else it was passed on
				l.say(item)
			}
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (l *consentLedger) say(item wire.Item) {
	key := l.keyer.Key(item.Subject)
	l.names[key] = l.keyer.AuditID(item.Subject)
	for i := range item.Decisions {
		d := &item.Decisions[i]
		l.decisions++
		if l.said[key] == nil {
			l.said[key] = map[subject.Position][]subject.Proof{}
		}
		l.said[key][d.Source] = append(l.said[key][d.Source], processor.ProofOf(d))
	}
}

// keep takes a record of the changelog.
func (l *consentLedger) keep(r *stream.Record) (err error) {
	if len(r.Key) != state.KeyBytes {
		return nil
	}
	key := state.Key(r.Key)
	switch {
	case r.Value == nil:
		delete(l.records, key)
		delete(l.dossiers, key.Dossier())
	case state.IsDossier(r.Value):
		l.dossiers[key.Dossier()], err = state.DecodeDossier(r.Value)
	default:
		l.records[key], err = state.DecodeRecord(r.Value)
	}
	return err
}

// compare looks for what does not agree.
func (l *consentLedger) compare() {
	for key := range l.said {
		l.compareSaid(key)
	}
	for key, d := range l.dossiers {
		l.compareProofs(key, d)
	}
	for key, r := range l.records {
		l.compareGrants(key, r)
	}
}

// compareSaid looks for the proof of each decision. An erasure has deleted those from
// before it, and of somebody with very many the oldest are only counted.
func (l *consentLedger) compareSaid(key state.Key) {
	r, d := l.records[key], l.dossiers[key]
	if d == nil {
		d = &subject.Dossier{}
	}
	dropped := d.Dropped
	for at, said := range l.said[key] {
		for _, x := range said {
			i := slices.IndexFunc(d.Proofs, func(y subject.Proof) bool { return y.Source == at && y.Purpose == x.Purpose })
			switch {
			case i >= 0 && d.Proofs[i] != x:
				l.fault(key, fmt.Sprintf("the proof of %s on %s differs from what is there", at, x.Purpose))
			case i >= 0 || r != nil && r.Erased != 0 && (r.IsFence() || min(x.Time, x.Arrival) <= r.Erased):
			case dropped > 0:
				dropped--
			default:
				l.fault(key, fmt.Sprintf("there is no proof of %s on %s", at, x.Purpose))
			}
		}
	}
}

// compareProofs looks for the decision of each proof, which retention may have
// deleted.
func (l *consentLedger) compareProofs(key state.Key, d *subject.Dossier) {
	for _, x := range d.Proofs {
		l.proofs++
		if len(l.said[key][x.Source]) > 0 {
			continue
		}
		if l.imports[x.Source.Topic] {
			l.imported++
			continue
		}
		start, read := l.starts[subject.Position{Topic: x.Source.Topic, Partition: x.Source.Partition}]
		if !read || x.Source.Offset < start {
			l.gone++
			continue
		}
		l.fault(key, fmt.Sprintf("there is a proof of %s on %s, where no such decision is", x.Source, x.Purpose))
	}
}

// compareGrants looks for the proof of each consent that is kept, in force or not.
func (l *consentLedger) compareGrants(key state.Key, r *subject.Record) {
	d := l.dossiers[key]
	for i := range r.Purposes {
		p := &r.Purposes[i]
		for _, g := range p.Basis.Grants {
			if p.Basis.Known && g.At <= r.Clock && g.Expires > r.Clock { // Known is by the subject's age, too
				l.grants++
			} else {
				l.idle++
			}
			proved := d != nil && slices.ContainsFunc(d.Proofs, func(x subject.Proof) bool {
				return x.Status == subject.Given && x.Purpose == p.Key && min(x.Time, x.Arrival) == g.At
			})
			if !proved && (d == nil || d.Dropped == 0) {
				l.fault(key, fmt.Sprintf("consent to %s of %s is kept without a proof", p.Key, g.At))
			}
		}
	}
}

// fault prints one finding, with the subject as the audit log has it; of one whose
// id is not known, with the key of its record.
func (l *consentLedger) fault(key state.Key, what string) {
	l.faults++
	if l.faults > 100 {
		return
	}
	name := l.names[key]
	if r := l.records[key]; name == "" && r != nil && r.ID.Value != "" {
		name = l.keyer.AuditID(r.ID)
	}
	if name == "" {
		name = hex.EncodeToString(key[:])
	}
	fmt.Fprintf(l.inv.out, "subject %s: %s\n", name, what)
}

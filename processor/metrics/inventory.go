package metrics

import (
	"slices"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/segmentd/segmentd/state/subject"
)

// Upper bounds of histogram buckets, in seconds. An event's way takes tens of
// milliseconds when all is well and up to a session timeout when an owner died.
var (
	changeBuckets      = []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60}
	transactionBuckets = []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30}
	storeBuckets       = []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5}
)

var rejectReasons = []string{"malformed", "no_subject", "key_mismatch", "wrong_partition", "bad_timestamp", "future",
	"too_large", "unknown_purpose", "unsupported_type", "unsupported_format", "bad_mapping"}

// RejectReasons lists why a record can be rejected: the closed set of the
// reason label. The caller owns the slice.
func RejectReasons() []string { return slices.Clone(rejectReasons) }

var changeKinds = [...]subject.ChangeKind{subject.Entered, subject.Exited, subject.Erased}

func (m *Metrics) defineInputs(d *definer, topics []string) {
	m.defineEvents(d)
	m.defineDecisions(d)
	m.defineRejects(d, topics)
	m.defineGaps(d, topics)
	m.belowMinimum = d.counter(Description{Name: "values_below_minimum_total",
		Help: "Numbers in events that were taken for missing, because they are below their field's minimum in the rules.",
		Note: "Rising steadily: a producer sends negative amounts (refunds, say) in a field that the rules declare with `min`, and sums leave them out."})
	m.dedupeEvicted = d.counter(Description{Name: "dedupe_evicted_total",
		Help: "Message ids forgotten before the end of the dedupe window, because a subject had more than are remembered.",
		Note: "A producer that sends an event again after this may see it counted twice. Look for a subject that is no person (a test account, a bot)."})
	m.truncated = d.counter(Description{Name: "truncated_leaves_total",
		Help: "Times that a leaf dropped its oldest evidence, because its subject's record would exceed the size limit.",
		Note: "Answers of such subjects may be too low. `segmentd check --verbose` shows which leaves are unbounded."})
}

func (m *Metrics) defineEvents(d *definer) {
	v := d.counters(Description{Name: "events_total", Labels: []Label{{"outcome", names(subject.Outcomes)}},
		Help: "Events read, by what became of them at the gate and after it; each event has exactly one outcome.",
		Note: "All `no_decision`: decisions do not arrive, or under other ids than events. `late_*` rising: producers buffer. `duplicate` rising: a producer retries."})
	for o := range m.events {
		m.events[o] = v.WithLabelValues(subject.Outcome(o).String())
	}
}

func (m *Metrics) defineDecisions(d *definer) {
	statuses := names(subject.Objected + 1)[subject.Given:]
	v := d.counters(Description{Name: "decisions_total", Labels: []Label{{"status", statuses}},
		Help: "Decisions of subjects about purposes that were applied, by status.",
		Note: "A sudden run of `withdrawn` or `objected` explains a run of exits. None at all while events come: see the consent platform's export."})
	for i, s := range statuses {
		m.decisions[subject.Given+subject.Status(i)] = v.WithLabelValues(s)
	}
	m.misunderstood = d.counter(Description{Name: "decisions_misunderstood_total",
		Help: "Decisions that parse but could not be understood, and were taken for a refusal.",
		Note: "Any increase is worth a look: people who consented may have been taken out. The consent platform sends a status or a purpose that segmentd does not know."})
	m.ineffective = d.counter(Description{Name: "decisions_ineffective_total",
		Help: "Refusals, withdrawals and objections about a purpose whose lawful basis they do not end.",
		Note: "They are kept as proofs and change nothing: a contract, say, is ended by no decision, and legitimate interests by an objection alone. The log says which and why, and whoever sent one has to be answered."})
	m.passedOn = d.counter(Description{Name: "passed_on_total",
		Help: "Decisions that arrived on another partition than their subject's and were passed on to the right one.",
		Note: "The producer of decisions hashes keys otherwise than `partitioner` says. Nothing is lost (each is passed on once, to where this group's events are), but such a decision takes effect late: fix the producer."})
}

func (m *Metrics) defineRejects(d *definer, topics []string) {
	m.vecs.rejected = d.counters(Description{Name: "rejected_total", Labels: []Label{{"topic", nil}, {"reason", rejectReasons}},
		Help: "Records that could not be processed, by input topic and reason.",
		Note: "`wrong_partition`: the producer's partitioner is not the configured one; on a decisions topic, another group with another `partitioner` has passed decisions on. `malformed` on the decisions topic is urgent: somebody's withdrawal may be in it."})
	m.rejected = make(map[rejection]prometheus.Counter, len(topics)*len(rejectReasons))
	for _, t := range topics {
		for _, r := range rejectReasons {
			m.rejected[rejection{t, r}] = m.vecs.rejected.WithLabelValues(t, r)
		}
	}
	m.capped = d.counter(Description{Name: "rejected_capped_total",
		Help: "Rejected records of which no reference was published, because the rejected topic's rate is capped.",
		Note: "The rejected topic is then a sample; `segmentd_rejected_total` still counts all."})
}

func (m *Metrics) defineGaps(d *definer, topics []string) {
	m.vecs.overtaken = d.counters(Description{Name: "overtaken_records_total", Labels: []Label{{"topic", nil}},
		Help: "Records of an input that its retention deleted before they were read, and that processing has gone on without; 1 for a topic that was deleted and made anew.",
		Note: "Lost for good. Lengthen the topic's retention beyond the longest time that processing may be away. Of an events topic: `/v1/segments` says `coverageFrom` of the segments concerned. Of a decisions topic: somebody accepted it (`segmentd resume --accept-gap`)."})
	for _, t := range topics {
		m.vecs.overtaken.WithLabelValues(t)
	}
	m.vecs.gap = d.gauges(Description{Name: "gap_records", Labels: []Label{{"topic", nil}, {"partition", nil}},
		Help: "Decisions that the topic's retention deleted before they were read, for which the partition has stopped, 1 where the topic was deleted and made anew; 0 once it goes on.",
		Note: "Above 0 the partition stands still, for among what is missing may be withdrawals. `/readyz?verbose` and `/v1/status` have the offsets; OPERATIONS.md says what to do."})
}

func (m *Metrics) defineChanges(d *definer) {
	kinds := names(subject.Erased + 1)
	m.vecs.changes = d.counters(Description{Name: "changes_total", Labels: []Label{{"segment", nil}, {"change", kinds}},
		Help: "Membership changes published, by segment; a subject's erasure counts once, without a segment.",
		Note: "The rate per segment is what downstream systems get. With `metrics.per_segment: false` there is one series, segment `*`."})
	m.erased = m.vecs.changes.WithLabelValues("", subject.Erased.String())
	reasons := d.counters(Description{Name: "change_reasons_total", Labels: []Label{{"change", kinds}, {"reason", names(subject.Reasons)}},
		Help: "Membership changes published, by reason.",
		Note: "Explains a jump in changes: `time` is windows running out, `withdrawn` people, `rule_changed` and `backfill` us."})
	for _, k := range changeKinds {
		for r := range m.reasons[k] {
			m.reasons[k][r] = reasons.WithLabelValues(k.String(), subject.Reason(r).String())
		}
	}
	m.vecs.members = d.gauges(Description{Name: "members", Labels: []Label{{"segment", nil}},
		Help: "Subjects in a segment at present, of the partitions this instance owns.",
		Note: "Sum over all instances. A fall to near 0 with steady traffic: a rule or a producer changed. It dips while partitions move between instances."})
	m.eventToChange = d.histogram(Description{Name: "event_to_change_seconds",
		Help: "Time from an event's arrival at the broker to the commit of a change that it caused.",
		Note: "What users of the changes feel. High with low lag: slow transactions; high with high lag: not enough capacity, or catching up."}, changeBuckets)
}

func (m *Metrics) defineTime(d *definer) {
	partition := Label{"partition", nil}
	m.vecs.lagRecords = d.gauges(Description{Name: "input_lag_records", Labels: []Label{{"topic", nil}, partition},
		Help: "Records of an input partition that are not processed yet.",
		Note: "Rising on all partitions: add instances or cores; on one: a hot key or a stuck partition."})
	m.vecs.lagSeconds = d.gauges(Description{Name: "input_lag_seconds", Labels: []Label{{"topic", nil}, partition},
		Help: "Age of the oldest record of an input partition that is not processed yet; 0 when caught up.",
		Note: "The lag that matters: how far behind the present the answers are."})
	m.vecs.clock = d.gauges(Description{Name: "clock_timestamp_seconds", Labels: []Label{partition},
		Help: "The partition's clock, which fires timers.",
		Note: "Normally about two seconds behind the wall clock. It stands still while the broker is away, and trails while catching up: nothing leaves a segment meanwhile."})
	m.vecs.dueTimer = d.gauges(Description{Name: "oldest_due_timer_timestamp_seconds", Labels: []Label{partition},
		Help: "Instant of the earliest timer that has not fired; 0 if there is none.",
		Note: "Compare with the partition's clock: a timer well behind it means that timers do not keep up, and exits by time come late."})
	m.timersFired = d.counter(Description{Name: "timers_fired_total",
		Help: "Timers that fired: instants at which an answer of a subject could change.",
		Note: "A burst after catching up is normal."})
	m.vecs.restoreLeft = d.gauges(Description{Name: "restore_remaining_records", Labels: []Label{partition},
		Help: "Changelog records still to be read before the partition is served; 0 when restored.",
		Note: "Must fall. If it stands still: the broker is slow or a hung transaction holds back the changelog's end."})
	m.vecs.toFill = d.gauges(Description{Name: "backfill_remaining_records", Labels: []Label{partition},
		Help: "Records of events still to be read again until the segments of a changed rule set are filled; 0 when nothing is filled.",
		Note: "Must fall after a change of rules. While it is not 0 the segments that are filled publish no entries; `/v1/segments` names them."})
	m.definePartitions(d)
}

func (m *Metrics) definePartitions(d *definer) {
	v := d.gauges(Description{Name: "partitions", Labels: []Label{{"state", names(states)}},
		Help: "Partitions this instance owns, by state.",
		Note: "Each partition is owned once, so the sum over all instances is their number. `restoring` for long: see restore_remaining_records. `paused`: by an operator. `stopped`: an operator is needed; the log and `/v1/status` say why."})
	for s := range m.partitions {
		m.partitions[s] = v.WithLabelValues(State(s).String())
	}
}

func (m *Metrics) defineTransactions(d *definer) {
	v := d.counters(Description{Name: "transactions_total", Labels: []Label{{"outcome", names(outcomes)}},
		Help: "Kafka transactions, by outcome.",
		Note: "Each `unknown` costs a recovery of the partition; a few at a broker's restart are normal."})
	for o := range m.transactions {
		m.transactions[o] = v.WithLabelValues(Outcome(o).String())
	}
	m.transactionSeconds = d.histogram(Description{Name: "transaction_seconds",
		Help: "Time of a Kafka transaction, from its first produce request to the answer to its end.",
		Note: "The larger part of event_to_change_seconds. Slow: look at the brokers' replication and their transaction coordinator."}, transactionBuckets)
}

func (m *Metrics) defineStore(d *definer) {
	m.storeWrite = d.histogram(Description{Name: "store_write_seconds",
		Help: "Time of one write of a partition's overlay to the local store.",
		Note: "Slow writes fill the overlay, and a full overlay blocks processing: the disk is too slow or shared."}, storeBuckets)
	m.storeBytes = d.gauge(Description{Name: "store_bytes",
		Help: "Size of the local store on disk.",
		Note: "For sizing the volume; leave room for as much again while compaction runs."})
	m.defineScrubs(d)
	m.overlay = d.gauge(Description{Name: "overlay_bytes",
		Help: "Committed subject records in memory that are not in the local store yet, of all partitions.",
		Note: "Normally below 8 MB a partition. At that bound for long: the store cannot keep up, see store_write_seconds."})
	m.cacheHits = d.counter(Description{Name: "cache_hits_total",
		Help: "Look-ups of subject records answered from memory.",
		Note: "With cache_misses_total the hit ratio; a low one costs reads of the local store."})
	m.cacheMisses = d.counter(Description{Name: "cache_misses_total",
		Help: "Look-ups of subject records that had to read the local store.",
		Note: "New subjects are misses too."})
}

func (m *Metrics) defineScrubs(d *definer) {
	m.scrubWaiting = d.gauge(Description{Name: "scrub_waiting_subjects",
		Help: "Subjects of whom something was deleted that may still be in files of the local store.",
		Note: "Rises with erasures and withdrawals, and falls to 0 with each scrub."})
	m.scrubOldest = d.gauge(Description{Name: "scrub_oldest_waiting_seconds",
		Help: "How long the first of them has been waiting; 0 if none does.",
		Note: "Normally below a quarter of scrub_promise_seconds. Above three quarters the promise is about to be broken: the log says why scrubs fail."})
	m.scrubPromise = d.gauge(Description{Name: "scrub_promise_seconds",
		Help: "After how long what was deleted is promised to be gone from the files: `privacy.erase_within`.",
		Note: "For comparison with scrub_oldest_waiting_seconds."})
	m.scrubSeconds = d.histogram(Description{Name: "scrub_seconds",
		Help: "Time of one scrub of the local store's files.",
		Note: "Writes to the store, and reads that no cache answers, wait for parts of it. Long: many were erased at once, or the disk is slow."}, transactionBuckets)
	m.scrubbed = d.counter(Description{Name: "scrubbed_subjects_total",
		Help: "Subjects of whom nothing deleted is left in the local store's files.",
		Note: "Follows erasures and withdrawals."})
	m.imagesDropped = d.counter(Description{Name: "images_dropped_total",
		Help: "Images of partitions that were deleted because other instances have them for longer than `privacy.keep_unowned`.",
		Note: "Expected after a scale-out or a failure. Such a partition is restored from the changelog should it come back."})
}

func (m *Metrics) defineInfo(d *definer, cfg Config) {
	m.vecs.ruleSet = d.gauges(Description{Name: "rule_set_info", Labels: []Label{{"hash", nil}, {"revision", nil}},
		Help: "The rule set in force, always 1.",
		Note: "More than one hash over all instances for more than a few minutes: an instance does not follow."})
	info := d.gauges(Description{Name: "build_info", Labels: []Label{{"version", nil}, {"revision", nil}, {"goversion", nil}},
		Help: "The program's version, always 1.",
		Note: "Which versions run, and since when."})
	info.WithLabelValues(orUnknown(cfg.Version), orUnknown(cfg.Revision), goVersion()).Set(1)
}

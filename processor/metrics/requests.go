package metrics

import (
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/segmentd/segmentd/state/subject"
)

// rights are the metrics of data subjects' requests and consents.
type rights struct {
	requests      [subject.RequestKinds][subject.RequestStatuses]prometheus.Gauge
	misunderstood prometheus.Counter
	crowded       prometheus.Counter
	oldest        prometheus.Gauge
	expiring      *prometheus.GaugeVec
	reconsent     *prometheus.GaugeVec

	mu    sync.Mutex
	asked map[string]subject.Instant // guarded by mu: when the oldest open request was made, by partition
}

func (m *Metrics) defineRights(d *definer) {
	r := &m.rights
	r.asked = map[string]subject.Instant{}
	v := d.gauges(Description{Name: "requests", Labels: []Label{{"kind", names(subject.RequestKinds)}, {"status", names(subject.RequestStatuses)}},
		Help: "Requests of data subjects that are kept, of the partitions this instance owns, by kind and by how far they are.",
		Note: "`received` and `in_progress` are open. An `access` or `portability` stays `received` until somebody hands it over; an `erase` is `in_progress` until it is gone from the files, a `rectify` or `unrestrict` until it is in force, an `access` or `portability` that was given more time until it is handed over."})
	for k := range r.requests {
		for s := range r.requests[k] {
			r.requests[k][s] = v.WithLabelValues(subject.RequestKind(k).String(), subject.RequestStatus(s).String())
		}
	}
	r.misunderstood = d.counter(Description{Name: "requests_misunderstood_total",
		Help: "Requests that are done although something about their requestId is wrong: it cannot be read, of one to erase or restrict, or it is that of another request.",
		Note: "Nobody can be answered under the id that they came with: fix the sender. What cannot be read at all is in segmentd_rejected_total."})
	r.crowded = d.counter(Description{Name: "requests_crowded_total",
		Help: "Requests that their subject's dossier has no room for, as too many of the subject are open.",
		Note: "An access or portability is answered at once as failed; others are done, and not kept. Hand over or refuse what is open: `/v1/requests` has it."})
	r.oldest = d.gauge(Description{Name: "oldest_open_request_timestamp_seconds",
		Help: "When the oldest open request of a data subject was made, of the partitions this instance owns; 0 if none is open.",
		Note: "Of a request's timestamp and its arrival the earlier counts. GDPR article 12(3) gives one month from then; a request that was given more time counts as made so much later. The least over all instances that is not 0 counts."})
	r.expiring = d.gauges(Description{Name: "decisions_expiring", Labels: []Label{{"purpose", nil}},
		Help: "Consents that end by themselves within 30 days, of the partitions this instance owns, by purpose, as of the partition's clock.",
		Note: "Their subjects leave the purpose's segments then: ask them again in time. Of a purpose without an end it stays 0."})
	r.reconsent = d.gauges(Description{Name: "needs_reconsent", Labels: []Label{{"purpose", nil}},
		Help: "Consents given to another version of the notice than the purpose's notice_version, of the partitions this instance owns, by purpose.",
		Note: "They still count, unless `oldest_notice_version` says otherwise. Falls as people are asked again."})
}

// rightsOf is what one partition contributes.
type rightsOf struct {
	requests            [subject.RequestKinds][subject.RequestStatuses]int64
	expiring, reconsent map[string]int64
}

// CountRequestMisunderstood counts a request that is in force although something
// about it is wrong.
func (m *Metrics) CountRequestMisunderstood() { m.rights.misunderstood.Inc() }

// CountRequestCrowded counts a request that there is no room for beside those of its
// subject that are open.
func (m *Metrics) CountRequestCrowded() { m.rights.crowded.Inc() }

// SetRequests sets how many requests are kept in the partition, and when the oldest
// open one was made; subject.Never: none is open.
func (p *Partition) SetRequests(n [subject.RequestKinds][subject.RequestStatuses]int64, oldest subject.Instant) {
	r := &p.m.rights
	for k := range n {
		for s := range n[k] {
			r.requests[k][s].Add(float64(n[k][s] - p.rights.requests[k][s]))
		}
	}
	p.rights.requests = n
	r.setOldest(p.label, oldest)
}

func (r *rights) setOldest(partition string, at subject.Instant) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.asked[partition] = at; at == subject.Never {
		delete(r.asked, partition)
	}
	least := subject.Never
	for _, at := range r.asked {
		least = min(least, at)
	}
	if least == subject.Never {
		r.oldest.Set(0)
		return
	}
	r.oldest.Set(unixSeconds(least))
}

// SetConsents sets how many consents to a purpose are about to expire in the
// partition, and how many refer to another notice than the present one.
func (p *Partition) SetConsents(purpose string, expiring, reconsent int64) {
	if p.rights.expiring == nil {
		p.rights.expiring, p.rights.reconsent = map[string]int64{}, map[string]int64{}
	}
	p.m.rights.expiring.WithLabelValues(purpose).Add(float64(expiring - p.rights.expiring[purpose]))
	p.m.rights.reconsent.WithLabelValues(purpose).Add(float64(reconsent - p.rights.reconsent[purpose]))
	p.rights.expiring[purpose], p.rights.reconsent[purpose] = expiring, reconsent
}

// releaseRights takes back what the partition contributed.
func (p *Partition) releaseRights() {
	p.SetRequests([subject.RequestKinds][subject.RequestStatuses]int64{}, subject.Never)
	for purpose := range p.rights.expiring {
		p.SetConsents(purpose, 0, 0)
	}
}

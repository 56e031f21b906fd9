package metrics

import "slices"

var denials = []string{"no_token", "malformed_token", "unknown_token", "expired_token", "token_in_query", "role", "beyond_loopback", "foreign_host",
	"foreign_origin", "no_ticket"}

// Denials lists why a request can be refused: the closed set of the reason
// label. The caller owns the slice.
func Denials() []string { return slices.Clone(denials) }

func (m *Metrics) defineAccess(d *definer) {
	m.denied = d.counters(Description{Name: "http_denied_total", Labels: []Label{{"reason", denials}},
		Help: "HTTP requests that were refused because of who asked, or how.",
		Note: "`unknown_token` or `malformed_token` rising: somebody tries tokens, or a client still has an old one. `role`: a token is used for what it was not made for. `token_in_query`: that token may be in access logs: replace it."})
	for _, reason := range denials {
		m.denied.WithLabelValues(reason)
	}
	m.auditEntries = d.counter(Description{Name: "audit_entries_total",
		Help: "Entries written to the audit log since the start.",
		Note: "One for each look-up of a subject and for each denial up to a rate, two for each administrative act."})
	m.auditFailures = d.counter(Description{Name: "audit_failures_total",
		Help: "Entries that could not be written to the audit log; what they were about was answered 503.",
		Note: "Any increase: the data directory is full or cannot be written. The log says why. Nobody can look subjects up meanwhile."})
	m.auditHead = d.gauge(Description{Name: "audit_head_entry",
		Help: "Number of the newest entry of the audit log.",
		Note: "It never falls. If it does, or `segmentd ledger verify` ends before it, the end of the log was cut off; log lines `the audit log's head` have numbers with their hashes."})
	m.panicked = d.counter(Description{Name: "http_panics_total",
		Help: "HTTP pages that panicked and were answered 500.",
		Note: "Any increase is a fault of the program: report the stack in the log."})
}

// CountDenied counts a request that was refused, for one of Denials.
func (m *Metrics) CountDenied(reason string) { m.denied.WithLabelValues(reason).Inc() }

// CountAuditEntry counts an entry of the audit log and tells its number.
func (m *Metrics) CountAuditEntry(number uint64) {
	m.auditEntries.Inc()
	m.auditHead.Set(float64(number))
}

// CountAuditFailure counts an entry that could not be written.
func (m *Metrics) CountAuditFailure() { m.auditFailures.Inc() }

// CountPanic counts a page that panicked.
func (m *Metrics) CountPanic() { m.panicked.Inc() }

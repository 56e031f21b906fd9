package metrics

import "slices"

var callbackOutcomes = []string{"delivered", "failed", "given_up"}

// CallbackOutcomes lists what can become of a callback of OpenDSR: the closed set of
// the outcome label. The caller owns the slice.
func CallbackOutcomes() []string { return slices.Clone(callbackOutcomes) }

func (m *Metrics) defineCallbacks(d *definer) {
	m.callbacks = d.counters(Description{Name: "opendsr_callbacks_total", Labels: []Label{{"outcome", callbackOutcomes}},
		Help: "Callbacks of OpenDSR, by what became of each attempt to send one.",
		Note: "`failed` is sent again. Any `given_up`: a controller does not know how far a request is; the log names the request. Tell the controller."})
	for _, outcome := range callbackOutcomes {
		m.callbacks.WithLabelValues(outcome)
	}
	m.callbacksWaiting = d.gauge(Description{Name: "opendsr_callbacks_waiting",
		Help: "Callbacks of OpenDSR that were not taken yet.",
		Note: "Above 0 for long: the controller's endpoint does not answer."})
}

// CountCallback counts an attempt to send a callback, by one of CallbackOutcomes.
func (m *Metrics) CountCallback(outcome string) { m.callbacks.WithLabelValues(outcome).Inc() }

// SetCallbacksWaiting sets how many callbacks were not taken yet.
func (m *Metrics) SetCallbacksWaiting(n int) { m.callbacksWaiting.Set(float64(n)) }

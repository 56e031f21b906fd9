package metrics

import (
	"errors"
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
)

//go:generate go test -run ^TestDocument$ -update .

// Label is one label of a metric.
type Label struct {
	Name   string
	Values []string // all that can occur; nil: known only at run time
}

// Description tells an operator about one metric.
type Description struct {
	Name   string // with the namespace
	Type   string // counter, gauge or histogram
	Labels []Label
	Help   string // one sentence, as /metrics writes it
	Note   string // when to look at it, and what it then means
}

// definer collects metrics with their descriptions, to be registered together.
type definer struct {
	descriptions []Description
	collectors   []prometheus.Collector
}

func (d *definer) add(kind string, desc Description, c prometheus.Collector) {
	desc.Name, desc.Type = Namespace+"_"+desc.Name, kind
	d.descriptions = append(d.descriptions, desc)
	d.collectors = append(d.collectors, c)
}

func (d *definer) register(reg prometheus.Registerer) error {
	var errs []error
	for i, c := range d.collectors {
		if err := reg.Register(c); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", d.descriptions[i].Name, err))
		}
	}
	return errors.Join(errs...)
}

func (d *definer) counter(desc Description) prometheus.Counter {
	c := prometheus.NewCounter(prometheus.CounterOpts{Namespace: Namespace, Name: desc.Name, Help: desc.Help})
	d.add("counter", desc, c)
	return c
}

func (d *definer) gauge(desc Description) prometheus.Gauge {
	g := prometheus.NewGauge(prometheus.GaugeOpts{Namespace: Namespace, Name: desc.Name, Help: desc.Help})
	d.add("gauge", desc, g)
	return g
}

func (d *definer) histogram(desc Description, buckets []float64) prometheus.Histogram {
	h := prometheus.NewHistogram(prometheus.HistogramOpts{Namespace: Namespace, Name: desc.Name, Help: desc.Help, Buckets: buckets})
	d.add("histogram", desc, h)
	return h
}

func (d *definer) counters(desc Description) *prometheus.CounterVec {
	v := prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: Namespace, Name: desc.Name, Help: desc.Help}, labelNames(desc))
	d.add("counter", desc, v)
	return v
}

func (d *definer) gauges(desc Description) *prometheus.GaugeVec {
	v := prometheus.NewGaugeVec(prometheus.GaugeOpts{Namespace: Namespace, Name: desc.Name, Help: desc.Help}, labelNames(desc))
	d.add("gauge", desc, v)
	return v
}

func labelNames(desc Description) []string {
	names := make([]string, len(desc.Labels))
	for i, l := range desc.Labels {
		names[i] = l.Name
	}
	return names
}

// names lists what String says of 0 to n-1.
func names[T interface {
	~uint8
	String() string
}](n T) []string {
	all := make([]string, n)
	for i := range all {
		all[i] = T(i).String()
	}
	return all
}

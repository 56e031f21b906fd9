// Package load makes the input of the load benchmark: a rule set of any number
// of segments in the shapes that are used most, decisions for any number of
// subjects, and events whose subjects are drawn evenly or by Zipf's law.
package load

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"time"
)

// Names is how many event names there are; each concerns as many segments.
const Names = 10

// Rules writes a rule file with n segments.
func Rules(n int) string {
	var b strings.Builder
	b.WriteString("purposes:\n  - {key: marketing, description: Load, lawful_basis: consent, retention: 400d}\n" +
		"data:\n  - {field: properties.total, min: 0}\nsegments:\n")
	for i := range n {
		fmt.Fprintf(&b, "  - {key: s%05d, purpose: marketing, when: '%s'}\n", i, rule(i))
	}
	return b.String()
}

// rule is the i-th rule: bounded counts, sums, recency, distinct values, and
// one rule in five that only events with a certain property concern.
func rule(i int) string {
	source := fmt.Sprintf(`events("Event %d")`, i%Names)
	switch i / Names % 10 {
	case 0:
		return source + `.within("7d").exists()`
	case 1:
		return source + `.within("30d").count() >= 5`
	case 2:
		return source + `.within("30d").count() >= 20`
	case 3:
		return source + `.within("90d").sum(properties.total) >= 500`
	case 4:
		return source + `.within("30d").distinct(properties.sku) >= 3`
	case 5:
		return source + `.last().timestamp > ago("3d")`
	case 6, 7:
		return fmt.Sprintf(`%s.where(properties.sku == "sku-%d").within("14d").count() >= 2`, source, i/Names%200)
	case 8:
		return source + `.within("1d").count() == 0`
	}
	return source + `.where(properties.total > 90).exists()`
}

// Source yields records. Not safe for concurrent use.
type Source struct {
	rng      *rand.Rand
	subjects uint64
	zipf     *rand.Zipf // nil: evenly
	n        int
	buf      []byte
}

// NewSource returns a source of events of so many subjects; skew is the
// exponent of Zipf's law, 0 for even keys.
func NewSource(seed uint64, subjects int, skew float64) *Source {
	s := &Source{rng: rand.New(rand.NewPCG(seed, 1)), subjects: uint64(subjects)}
	if skew > 1 {
		s.zipf = rand.NewZipf(s.rng, skew, 10, s.subjects-1)
	}
	return s
}

// Subject names the i-th subject.
func Subject(i uint64) string { return fmt.Sprintf("user-%07d", i) }

// Decision is the consent of the i-th subject.
func Decision(i uint64, at time.Time) (key, value []byte) {
	id := Subject(i)
	return []byte(id), fmt.Appendf(nil, `{"type":"decision","userId":"%s","purpose":"marketing","status":"given","timestamp":"%s","noticeVersion":"2026-03","method":"web_form"}`,
		id, at.UTC().Format(time.RFC3339Nano))
}

// Event is the next event, of about 600 bytes, of which rules read two properties.
// Its messageId ends in the instant at, in nanoseconds.
func (s *Source) Event(at time.Time) (key, value []byte) {
	who := s.rng.Uint64N(s.subjects)
	if s.zipf != nil {
		// Scatter the ranks, so that neighbours are not alike.
		who = s.zipf.Uint64() * 2654435761 % s.subjects
	}
	s.n++
	id := Subject(who)
	s.buf = fmt.Appendf(s.buf[:0], `{"type":"track","messageId":"m-%d-%d","userId":"%s","event":"Event %d","timestamp":"%s",`+
		`"properties":{"sku":"sku-%d","total":%d.%02d,"currency":"EUR","page":"/products/all/list","position":%d,"coupon":null,"tags":["a","b","c"],"variant":"blue"},`+
		`"context":{"library":{"name":"analytics.js","version":"4.1.0"},"locale":"de-DE","userAgent":"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120 Safari/537.36","ip":"192.0.2.1","page":{"path":"/products","referrer":"https://example.test/"}},"integrations":{}}`,
		s.n, at.UnixNano(), id, s.rng.IntN(Names), at.UTC().Format("2006-01-02T15:04:05.000000Z"), s.rng.IntN(200), s.rng.IntN(100), s.rng.IntN(100), s.rng.IntN(40))
	return []byte(id), append([]byte(nil), s.buf...)
}

package core_test

import (
	"testing"

	"github.com/segmentd/segmentd/processor/core"
	"github.com/segmentd/segmentd/state/subject"
)

// Whatever ends a basis, or erases, leaves word on the record that what is stored of
// it must go for good; what only adds or grants does not.
func TestWhatIsDeletedMustGoForGood(t *testing.T) {
	set := mustLoad(t, `purposes:
  - {key: ads, description: A, lawful_basis: consent, retention: 90d}
  - {key: news, description: N, lawful_basis: consent, retention: 90d}
segments:
  - {key: seen, purpose: ads, when: 'events("Seen").count() >= 1'}
  - {key: read, purpose: news, when: 'events("Seen").count() >= 1'}
`)
	const begun = subject.Instant(20_000 * subject.Day)
	const second = 1_000_000
	id := subject.ID{Value: "u1"}
	decision := func(status subject.Status, at, expires subject.Instant) func(*core.Machine) error {
		return func(m *core.Machine) error {
			return m.Decision(subject.Decision{Subject: id, Purpose: "ads", Status: status, Time: at, Arrival: subject.Never, Expires: expires})
		}
	}
	request := func(kind subject.RequestKind) func(*core.Machine) error {
		return func(m *core.Machine) error {
			_, err := m.Request(&subject.Request{Subject: id, Kind: kind, Time: begun + 10*second, Arrival: subject.Never})
			return err
		}
	}
	advance := func(m *core.Machine) error {
		_, err := m.Advance(begun+60*second, 0)
		return err
	}
	for _, c := range []struct {
		name   string
		do     func(*core.Machine) error
		forgot bool
	}{
		{"a withdrawal", decision(subject.Withdrawn, begun+10*second, subject.Never), true},
		{"an objection", decision(subject.Objected, begun+10*second, subject.Never), true},
		{"a late refusal, after which a newer grant is left", decision(subject.Refused, begun+second, subject.Never), true},
		{"an expiry", advance, true},
		{"an erasure", request(subject.Erase), true},
		{"a restriction", request(subject.Restrict), false},
		{"another grant", decision(subject.Given, begun+10*second, subject.Never), false},
	} {
		t.Run(c.name, func(t *testing.T) {
			records := core.NewMemory()
			m := core.NewMachine(core.New(set, core.Config{}), records, begun)
			expires := subject.Never
			if c.name == "an expiry" {
				expires = begun + 30*second
			}
			var err error
			for _, at := range []subject.Instant{begun, begun + 2*second} {
				if err == nil {
					err = decision(subject.Given, at, expires)(m)
				}
				if err == nil {
					_, err = m.Advance(at+second, 0)
				}
				if err == nil {
					_, err = m.Event(&subject.Event{Subject: id, Name: "Seen", Time: at + second, Arrival: at + second})
				}
			}
			if err != nil {
				t.Fatal(err)
			}
			r, err := records.Get(id)
			if err != nil || r == nil || r.Purpose("ads") == nil || len(r.Purpose("ads").Leaves) == 0 {
				t.Fatalf("nothing was kept: it tests nothing: %+v, %v", r, err)
			}
			if r.Forgot {
				t.Error("it forgot before")
			}
			if err := c.do(m); err != nil {
				t.Fatal(err)
			}
			if r.Forgot != c.forgot {
				t.Errorf("forgot: %v, want %v", r.Forgot, c.forgot)
			}
		})
	}
}

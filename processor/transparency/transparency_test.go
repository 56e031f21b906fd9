package transparency

import (
	"strings"
	"testing"
	"testing/fstest"

	"github.com/segmentd/segmentd/config"
	"github.com/segmentd/segmentd/rules"
)

const told = `purposes:
  - {key: ads, description: Send offers, lawful_basis: consent, retention: 30d, notice_version: 2026-03, recipients: [Mail House]}
data: [{field: traits.country, category: user.contact.address.country}]
segments:
  - {key: buyers, name: Buyers, description: Who bought, purpose: ads, when: 'events("Order").exists() && traits.country == "DE"'}
`

// sourceOf is what documents are made of where the rules are text and change, if
// not nil, has changed the configuration.
func sourceOf(t *testing.T, text string, change func(*config.Config)) Source {
	t.Helper()
	set, problems := rules.Load(fstest.MapFS{"rules.yaml": {Data: []byte(text)}})
	if set == nil {
		t.Fatalf("%v in\n%s", problems, text)
	}
	c := config.Default()
	c.Controller = config.Controller{Name: "Shop Ltd", Contact: "privacy@shop.example"}
	if change != nil {
		change(c)
	}
	return Source{Rules: set, Config: c, Topics: []Topic{{Name: "segmentd-changes", Role: Changes, Keeps: Keeping{Milliseconds: 86_400_000}}}}
}

// Whatever subjects are told is in the hash, and nothing else is.
func TestNoticeHash(t *testing.T) {
	base := NewNotice(sourceOf(t, told, nil))
	seen := map[string]string{base.Hash: "the base"}
	for _, change := range [][2]string{
		{"Send offers", "Send many offers"}, {"lawful_basis: consent", "lawful_basis: contract"}, {"retention: 30d", "retention: 31d"},
		{"[Mail House]", "[Print Ltd]"}, {"user.contact.address.country", "user.location"}, {"name: Buyers", "name: Customers"},
		{"Who bought", "Who bought once"}, {`"Order"`, `"Order Completed"`}, {"traits.country ==", "traits.city =="},
		{"purpose: ads,", "purpose: ads, min_dwell: 1h,"}, {"retention: 30d", "retention: 30d, direct_marketing: true"},
		{"retention: 30d", "retention: 30d, consent_expires_after: 365d"},
	} {
		n := NewNotice(sourceOf(t, strings.Replace(told, change[0], change[1], 1), nil))
		if same, again := seen[n.Hash]; again {
			t.Errorf("%s: the notice has the hash of %s", change[1], same)
		}
		seen[n.Hash] = change[1]
	}
	for name, change := range map[string]func(*config.Config){
		"name":       func(c *config.Config) { c.Controller.Name = "Store Ltd" },
		"sources":    func(c *config.Config) { c.Privacy.Sources = "our shop" },
		"withdrawal": func(c *config.Config) { c.Privacy.Withdrawal = "Write to us." },
		"authority":  func(c *config.Config) { c.Privacy.Authority = "Dublin" },
		"transfers": func(c *config.Config) {
			c.Privacy.Transfers = []config.Transfer{{Recipient: "a", Country: "b", Safeguards: "c"}}
		},
	} {
		n := NewNotice(sourceOf(t, told, change))
		if same, again := seen[n.Hash]; again {
			t.Errorf("%s: the notice has the hash of %s", name, same)
		}
		seen[n.Hash] = name
	}
	for _, change := range [][2]string{{"2026-03", "2026-06"}, {"purposes:", "revision: 7\npurposes:"}, {"retention: 30d", "retention: 30d, data_use: sales"}} {
		if n := NewNotice(sourceOf(t, strings.Replace(told, change[0], change[1], 1), nil)); n.Hash != base.Hash {
			t.Errorf("%s: another hash, though subjects are told the same", change[1])
		}
	}
}

// The record claims of security what is configured, and of the rest what the
// controller says.
func TestNoPromiseBeyondTheConfiguration(t *testing.T) {
	plain := NewRecord(sourceOf(t, told, nil))
	for _, claim := range []string{"TLS", "login", "certificate"} {
		if strings.Contains(plain.Security, claim) {
			t.Errorf("%q is claimed of a configuration without it: %s", claim, plain.Security)
		}
	}
	if plain.InternationalTransfer || plain.Ours.Sources != "" || plain.DPO != "" || plain.Declarations[0].Special {
		t.Errorf("made up: %+v", plain)
	}
	secure := NewRecord(sourceOf(t, told, func(c *config.Config) {
		c.Kafka.TLS.Enabled, c.Kafka.SASL.Mechanism = true, config.MechanismSCRAMSHA512
		c.HTTP.TLS.CertFile, c.HTTP.TLS.ClientCAFile = "cert.pem", "ca.pem"
	}))
	for _, claim := range []string{"Brokers are reached over TLS", "login (scram-sha-512)", "Look-ups are served over TLS", "client certificate"} {
		if !strings.Contains(secure.Security, claim) {
			t.Errorf("%q is configured, and not said: %s", claim, secure.Security)
		}
	}
}

// fideslang asks that flows which a declaration names are flows of the system.
func TestDeclarationsNameFlows(t *testing.T) {
	r := NewRecord(sourceOf(t, told, func(c *config.Config) {
		c.Inputs = []config.Input{{Topic: "events", Kind: config.KindEvent}, {Topic: "decisions", Kind: config.KindDecision}}
	}))
	flows := map[string]bool{}
	for _, f := range append(r.Ingress, r.Egress...) {
		flows[f.FidesKey] = true
	}
	for _, d := range r.Declarations {
		named := append(append([]string{}, d.Ingress...), d.Egress...)
		if len(named) != 3 {
			t.Errorf("%s has the flows %v", d.Name, named)
		}
		for _, name := range named {
			if !flows[name] {
				t.Errorf("%s names %s, which is no flow of the system", d.Name, name)
			}
		}
	}
}

// Objection and withdrawal are offered where the basis has them, and there alone.
func TestRightsFollowTheBases(t *testing.T) {
	for basis, want := range map[string]string{
		"consent": "portability withdrawal", "explicit_consent": "portability withdrawal", "contract": "portability",
		"legal_obligation": "", "vital_interests": "", "public_task": "objection", "legitimate_interests": "objection",
		"contract, direct_marketing: true": "portability objection",
	} {
		have := ""
		for _, r := range NewNotice(sourceOf(t, strings.Replace(told, "lawful_basis: consent", "lawful_basis: "+basis, 1), nil)).Rights {
			if r.Name == "portability" || r.Name == "objection" || r.Name == "withdrawal" {
				have += " " + r.Name
			}
		}
		if strings.TrimSpace(have) != want {
			t.Errorf("%s: the rights are %q, want %q", basis, strings.TrimSpace(have), want)
		}
	}
}

func TestWords(t *testing.T) {
	for _, c := range []struct{ have, want string }{
		{inWords(86_400_000), "1 day"}, {inWords(14 * 86_400_000), "14 days"}, {inWords(36 * 3_600_000), "36 hours"}, {inWords(90_000), "90 seconds"}, {inWords(1500), "1500 milliseconds"},
		{label("signed_up_at"), "signed up at"}, {label("signedUpAt"), "signed up at"}, {label("HIV-status"), "hiv status"},
		{category("user.behavior.purchase_history"), "what you buy"}, {category("user.contact.address.city"), "your address (city)"}, {category("loyalty"), "loyalty"},
		{list(nil, "and"), ""}, {list([]string{"a"}, "and"), "a"}, {list([]string{"a", "b", "c"}, "and"), "a, b and c"},
		{eventLabel("*"), "everything you do"}, {eventLabel("Order *"), "all that begins with “Order”"}, {fieldLabel("traits.address.country"), "address country"},
	} {
		if c.have != c.want {
			t.Errorf("%q, want %q", c.have, c.want)
		}
	}
}

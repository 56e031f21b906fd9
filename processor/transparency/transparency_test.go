package transparency

import (
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

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
	day := 24 * time.Hour
	return Source{Rules: set, Config: c, Topics: []Topic{{Name: "segmentd-changelog", Role: Changelog, Keeps: Keeping{Within: 25 * time.Hour, Compacted: true}},
		{Name: "segmentd-request-results", Role: RequestResults, Keeps: Keeping{Within: 14*day + time.Hour}},
		{Name: "segmentd-changes", Role: Changes, Keeps: Keeping{Within: 37*day + time.Hour}}, {Name: "segmentd-members", Role: Members, Keeps: Keeping{Within: 74 * time.Hour, Compacted: true}}}}
}

// Whatever subjects are told is in the hash, and nothing else is.
func TestNoticeHash(t *testing.T) {
	base := NewNotice(sourceOf(t, told, nil))
	seen := map[string]string{base.Hash: "the base"}
	for _, change := range [][2]string{
		{"Send offers", "Send many offers"}, {"lawful_basis: consent", "lawful_basis: contract"}, {"retention: 30d", "retention: 31d"},
		{"[Mail House]", "[Print Ltd]"}, {"user.contact.address.country", "user.location"}, {"name: Buyers", "name: Customers"},
		{"Who bought", "Who bought once"}, {`"Order"`, `"Order Completed"`}, {"traits.country ==", "traits.city =="},
		{"purpose: ads,", "purpose: ads, min_dwell: 1h,"}, {".exists()", ".count() >= 2"}, {`"DE"`, `"AT"`}, // of the last two no word tells
		{"purpose: ads,", "purpose: ads, stay_while: 'true',"}, {"retention: 30d", "retention: 30d, direct_marketing: true"},
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
		"officer":    func(c *config.Config) { c.Controller.DPO = "dpo@shop.example" },
		"inputs":     func(c *config.Config) { c.Privacy.InputRetention = "A year." },
		"files":      func(c *config.Config) { c.Privacy.EraseWithin = 2 * time.Hour },
		"repeats":    func(c *config.Config) { c.Processing.DedupeWindow = 0 },
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
	for i := range sourceOf(t, told, nil).Topics {
		s := sourceOf(t, told, nil)
		s.Topics[i].Keeps.Within += 1000 * time.Hour
		if n := NewNotice(s); n.Hash == base.Hash {
			t.Errorf("%s keeps records for longer, and subjects are told the same", s.Topics[i].Name)
		}
	}
	for _, change := range [][2]string{{"2026-03", "2026-06"}, {"purposes:", "revision: 7\npurposes:"}, {"retention: 30d", "retention: 30d, data_use: sales"},
		{".exists() && ", ".exists()  &&  "}} {
		if n := NewNotice(sourceOf(t, strings.Replace(told, change[0], change[1], 1), nil)); n.Hash != base.Hash {
			t.Errorf("%s: another hash, though subjects are told the same", change[1])
		}
	}
}

// The record claims of security what is configured, and of the rest what the
// controller says; and wherever a bound of a compacted topic stands, in the record or
// the notice, its condition stands beside it.
func TestNoPromiseBeyondTheConfiguration(t *testing.T) {
	plain := NewRecord(sourceOf(t, told, nil))
	for document, condition := range map[string]string{plain.Markdown(): untilNext, NewNotice(sourceOf(t, told, nil)).Text(): untilNextPlain} {
		for _, bound := range []string{"25 hours", "4 days"} {
			if said := strings.Count(document, bound); said == 0 || said != strings.Count(document, bound+condition) {
				t.Errorf("%d times %q, and not each time %q, in\n%s", said, bound, condition, document)
			}
		}
	}
	for _, claim := range []string{"TLS", "login", "certificate", "token"} {
		if strings.Contains(plain.Security, claim) {
			t.Errorf("%q is claimed of a configuration without it: %s", claim, plain.Security)
		}
	}
	if plain.InternationalTransfer || plain.Ours.Sources != "" || plain.DPO != "" || plain.Declarations[0].Special {
		t.Errorf("made up: %+v", plain)
	}
	secure := NewRecord(sourceOf(t, told, func(c *config.Config) {
		c.Kafka.TLS.Enabled, c.Kafka.SASL.Mechanism = true, config.MechanismSCRAMSHA512
		c.HTTP.TLS.CertFile, c.HTTP.TLS.ClientCAFile, c.HTTP.TokensFile = "cert.pem", "ca.pem", "tokens.yaml"
	}))
	for _, claim := range []string{"Brokers are reached over TLS", "login (scram-sha-512)", "Look-ups are served over TLS", "client certificate", "ask for a token"} {
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
		if len(named) != 4 {
			t.Errorf("%s has the flows %v", d.Name, named)
		}
		for _, name := range named {
			if !flows[name] {
				t.Errorf("%s names %s, which is no flow of the system", d.Name, name)
			}
		}
	}
}

// Objection and withdrawal are offered where the basis has them, and there alone: of
// all purposes and with each.
func TestRightsFollowTheBases(t *testing.T) {
	for basis, want := range map[string]string{
		"consent": "portability withdrawal", "explicit_consent": "portability withdrawal", "contract": "portability",
		"legal_obligation": "", "vital_interests": "", "public_task": "objection", "legitimate_interests": "objection",
		"contract, direct_marketing: true": "portability objection", "contract, significant_effect: true, safeguards: Ask us": "portability human decision",
	} {
		n := NewNotice(sourceOf(t, strings.Replace(told, "lawful_basis: consent", "lawful_basis: "+basis, 1), nil))
		var all, some []string
		for _, r := range n.Rights {
			all = append(all, r.Name)
			if slices.Contains([]string{portability, objection, withdrawal, humanDecision}, r.Name) {
				some = append(some, r.Name)
			}
		}
		if have := strings.Join(some, " "); have != want {
			t.Errorf("%s: the rights are %q, want %q", basis, have, want)
		}
		if !slices.Equal(n.Purposes[0].Rights, all) {
			t.Errorf("%s: with the only purpose there are the rights %v, and of all %v", basis, n.Purposes[0].Rights, all)
		}
		for _, name := range all {
			if gdprRights[name] == "" {
				t.Errorf("receipts have no word for %s", name)
			}
		}
	}
}

// Rights name purposes as their headings do. What somebody did cannot be corrected, so
// rectification stands only where something is used that people say of themselves.
func TestRightsNamePurposes(t *testing.T) {
	events := strings.Replace(told, ` && traits.country == "DE"`, "", 1)
	for _, c := range []struct {
		name, text, right, want string
		here                    bool
	}{
		{"traits", told, rectification, "You can have wrong data corrected: “Send offers”.", true},
		{"a birthdate", strings.Replace(events, "retention: 30d", "retention: 30d, min_age: 18, birthdate_trait: born", 1), rectification, "You can have wrong data corrected: “Send offers”.", true},
		{"events alone", events, rectification, "You can have wrong data corrected.", false},
		{"consent", told, withdrawal, "what was done until then stays lawful: “Send offers”.", true},
		{"interests", strings.Replace(told, "basis: consent", "basis: legitimate_interests", 1), objection, "without giving a reason: “Send offers”.", true},
	} {
		n := NewNotice(sourceOf(t, c.text, nil))
		i := slices.IndexFunc(n.Rights, func(r Right) bool { return r.Name == c.right })
		if i < 0 || !strings.HasSuffix(n.Rights[i].Text, c.want) {
			t.Errorf("%s: %q is not said of %s: %v", c.name, c.want, c.right, n.Rights)
		}
		if have := slices.Contains(n.Purposes[0].Rights, c.right); have != c.here {
			t.Errorf("%s: the purpose has the right of %s: %v, want %v", c.name, c.right, have, c.here)
		}
	}
}

// Where being in a segment has a significant effect, it is a gap that nothing says by
// which criteria it decides.
func TestCriteriaAreAGap(t *testing.T) {
	undescribed := strings.Replace(told, "description: Who bought, ", "", 1)
	significant := func(text string) string {
		return strings.Replace(text, "lawful_basis: consent", "lawful_basis: contract, significant_effect: true, safeguards: Ask us", 1)
	}
	for text, want := range map[string]bool{told: false, undescribed: false, significant(told): false, significant(undescribed): true} {
		gaps := NewNotice(sourceOf(t, text, nil)).Gaps
		if have := strings.Contains(strings.Join(gaps, "\n"), "segment buyers has no description"); have != want {
			t.Errorf("a gap is %v, want %v: %v in\n%s", have, want, gaps, text)
		}
	}
}

// A notice says what ends the processing, what is deleted then and what is not, and no
// bound that is not kept: on the embedded broker, and where nothing deletes, there is none.
func TestNoticeSaysWhatStays(t *testing.T) {
	for _, c := range []struct {
		name     string
		change   func(*Source)
		has, not []string
	}{
		{"as it is", func(*Source) {}, []string{"It ends when you withdraw your consent, when the time for which you gave it is over or when you have your data erased", "deleted at once from what we use, from the working copies on our disks within 1 hour (of a computer that is off: once it runs again), and from the log of our records within 25 hours, once something newer is written to the same part of that log",
			"entered or left a group is kept, for those who use the groups, for at most 38 days", "after that at most 4 days, once something newer is written to the same part of that log", "with the request's number and not with your id, are kept for at most 15 days",
			"(the newest 32 requests): for ever, after an erasure without your id", "nothing is deleted meanwhile", "(the newest 128 of it): until you have your data erased, as we must be able to show it", "a keyed hash of your id, the time of the erasure, a counter, and the numbers of your requests", "Hashes of the numbers", "audit log", "which an erasure does not change: ask us for how long",
			"Write to privacy@shop.example. It costs nothing. We answer within a month", "GDPR article 6(1)(a)", "Without your consent nothing of this is done"},
			[]string{"Everything kept for this is deleted", "lists", "for ever (", "own process", "article 9"}},
		{"embedded", func(s *Source) {
			s.Config.Embedded = true
			for i := range s.Topics {
				s.Topics[i].Keeps.Embedded = true
			}
		}, []string{"from the log of our records when the broker that keeps it starts again", "after that until the broker in segmentd's own process starts again", "at most 38 days, while the broker in segmentd's own process runs"},
			[]string{"25 hours", "4 days", "something newer"}},
		{"nothing deletes", func(s *Source) {
			for i := range s.Topics {
				s.Topics[i].Keeps.Within = Forever
			}
		}, []string{"but not from the log of our records, which keeps it", "for those who use the groups, for ever", "while you are; after that for ever"}, []string{"25 hours", "38 days", "4 days", "15 days", "something newer"}},
		{"no repeats", func(s *Source) { s.Config.Processing.DedupeWindow = 0 }, nil, []string{"Hashes of the numbers"}},
		{"inputs", func(s *Source) { s.Config.Privacy.InputRetention = "Three years." }, []string{"which an erasure does not change: Three years."}, nil},
		{"objection", func(s *Source) { s.Rules.Purposes[0].Basis = rules.LegitimateInterests }, []string{"It ends when you object or when you have your data erased", "## Your right to object\n\nYou can object"},
			[]string{"withdraw your consent", "- Objection:"}},
		{"transfers", func(s *Source) {
			s.Config.Privacy.Transfers = []config.Transfer{{Recipient: "a", Country: "b", Safeguards: "c"}}
		}, []string{"a, b: c", "We give you a copy of what protects your data in other countries"}, nil},
		{"officer", func(s *Source) { s.Config.Controller.DPO = "dpo@shop.example" }, []string{"You can also write to our data protection officer: dpo@shop.example"}, nil},
		{"nobody", func(s *Source) { s.Config.Controller = config.Controller{} }, []string{"## Who is responsible\n\n**Not stated** (set controller.name and controller.contact"}, nil},
		{"contract", func(s *Source) { s.Rules.Purposes[0].Basis = rules.Contract }, []string{"It ends when we erase your data, because you ask for it or because the contract is over. What"}, []string{"we may refuse"}},
		{"law", func(s *Source) { s.Rules.Purposes[0].Basis = rules.LegalObligation }, []string{"You cannot choose: the law asks for it",
			"It ends when we erase your data, which we may refuse you while the law asks us to keep them. What", "all of this ends. While the law asks us to keep some of them we may refuse that"}, []string{"when you have your data erased"}},
		{"no officer", func(s *Source) { s.Config.Controller.NoDPO = "We are small." }, nil, []string{"We are small"}},
	} {
		s := sourceOf(t, told, nil)
		c.change(&s)
		text := NewNotice(s).Text()
		for _, words := range c.has {
			if !strings.Contains(text, words) {
				t.Errorf("%s: %q is not in\n%s", c.name, words, text)
			}
		}
		for _, words := range c.not {
			if strings.Contains(text, words) {
				t.Errorf("%s: %q is in\n%s", c.name, words, text)
			}
		}
	}
}

// A bound in words is never below the bound.
func TestBoundsAreRoundedUp(t *testing.T) {
	for d, want := range map[time.Duration]string{time.Minute: "1 hour", 25 * time.Hour: "25 hours", 48 * time.Hour: "2 days", 49 * time.Hour: "3 days", 889 * time.Hour: "38 days", 37 * 24 * time.Hour: "37 days"} {
		if have := atMost(d); have != want {
			t.Errorf("%v is at most %s, want %s", d, have, want)
		}
	}
}

// The record says what each topic keeps, also where that is no bound, and every store.
func TestRecordOfStores(t *testing.T) {
	s := sourceOf(t, told+"lists: [{key: vips, members: [ann]}]\n", func(c *config.Config) {
		c.Inputs = []config.Input{{Topic: "asked", Kind: config.KindRequest}}
	})
	s.Rules, _ = rules.Load(fstest.MapFS{"rules.yaml": {Data: []byte(strings.Replace(told, "&& traits", `&& !list("vips") && traits`, 1) + "lists: [{key: vips, members: [ann]}]\n")}})
	s.Topics[0].Keeps.Settings = "max.compaction.lag.ms=1"
	for _, embedded := range []bool{false, true} {
		s.Config.Embedded = embedded
		for i := range s.Topics {
			s.Topics[i].Keeps.Embedded = embedded
		}
		text := NewRecord(s).Markdown()
		for _, store := range []string{StoreProofs, StoreRequests, StoreMessages, StoreFence, StoreImage, StoreAudit, StoreLists, "`asked`", "(max.compaction.lag.ms=1)", "what subjects asked for"} {
			if !strings.Contains(text, store) {
				t.Errorf("embedded %v: %s is not in\n%s", embedded, store, text)
			}
		}
		if strings.Contains(text, StoreBroker) != embedded || strings.Contains(text, "at most 25 hours, once a later record is written") == embedded || strings.Contains(text, untilStart) != embedded {
			t.Errorf("embedded %v:\n%s", embedded, text)
		}
	}
}

// Where a data protection officer may be needed, it is a gap that nothing says who it is
// or why there is none.
func TestOfficerIsAGap(t *testing.T) {
	special := strings.Replace(strings.Replace(told, "lawful_basis: consent", "lawful_basis: explicit_consent", 1), "category: user.contact.address.country}", "category: user.health_and_medical, special: true}", 1)
	significant := strings.Replace(told, "lawful_basis: consent", "lawful_basis: contract, significant_effect: true, safeguards: Ask us", 1)
	for _, c := range []struct {
		name, text string
		change     func(*config.Config)
		gap        bool
	}{
		{"nothing special", told, nil, false}, {"special", special, nil, true}, {"significant", significant, nil, true},
		{"named", special, func(c *config.Config) { c.Controller.DPO = "dpo@shop.example" }, false},
		{"not needed", significant, func(c *config.Config) { c.Controller.NoDPO = "Fewer than ten people." }, false},
	} {
		r := NewRecord(sourceOf(t, c.text, func(cfg *config.Config) {
			cfg.Controller = config.Controller{Name: "Shop Ltd", Contact: "privacy@shop.example"}
			if c.change != nil {
				c.change(cfg)
			}
		}))
		if have := strings.Contains(strings.Join(r.Ours.Gaps, "\n"), "controller.dpo is not set, and"); have != c.gap {
			t.Errorf("%s: a gap is %v, want %v: %v", c.name, have, c.gap, r.Ours.Gaps)
		}
		if why := r.Ours.Controller.NoDPO; why != "" && !strings.Contains(r.Markdown(), why) {
			t.Errorf("%s: the record does not say %q", c.name, why)
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

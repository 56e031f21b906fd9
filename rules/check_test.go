package rules

import (
	"strings"
	"testing"
	"testing/fstest"

	"github.com/cockroachdb/datadriven"
)

// ruleFrame is what a `rule` case of the corpus stands in; %s is the rule, indented.
const ruleFrame = `purposes:
  - {key: ads, description: Advertise, lawful_basis: consent, retention: 400d}
  - {key: health, description: Care, lawful_basis: explicit_consent, retention: 60d}
data:
  - {field: properties.diagnosis.code, special: true}
  - {field: properties.total, min: 0}
lists:
  - {key: vips, members: [u1]}
let:
  orders: events("Order Completed").where(properties.currency == "EUR")
  limit: 3
segments:
  - {key: known, purpose: ads, when: traits.vip == true}
  - {key: cared, purpose: health, when: traits.age > 3}
  - key: tested
    purpose: ads
    when: |
`

// frameRule indents a rule into ruleFrame.
func frameRule(rule string) string {
	return ruleFrame + "      " + indent(rule)
}

// indent indents the lines of a rule.
func indent(rule string) string {
	return strings.ReplaceAll(strings.TrimRight(rule, "\n"), "\n", "\n      ") + "\n"
}

// frameStay puts a rule into stay_while of ruleFrame's segment, whose when is given.
func frameStay(when, rule string) string {
	return ruleFrame + "      " + when + "\n    stay_while: |\n      " + indent(rule)
}

// frameLet makes a rule a let that ruleFrame's segment uses.
func frameLet(rule string) string {
	return strings.Replace(ruleFrame, "  limit: 3\n", "  limit: 3\n  it: |\n      "+indent(rule), 1) + "      it && traits.also == 1\n"
}

// TestCheckCorpus runs testdata/check: `rule` checks one rule in ruleFrame,
// `stay` one as its stay_while (under `when=…`, traits.also == 1), `let` one as a let,
// `file path=…` adds a file, `check` checks its input as rules.yaml together
// with the files added. The output is what `segmentd check` prints, or "ok".
func TestCheckCorpus(t *testing.T) {
	datadriven.Walk(t, "testdata/check", func(t *testing.T, path string) {
		files := fstest.MapFS{}
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			switch d.Cmd {
			case "file":
				var name string
				d.ScanArgs(t, "path", &name)
				files[name] = &fstest.MapFile{Data: []byte(unescape(d.Input) + "\n")}
				return ""
			case "rule":
				files["rules.yaml"] = &fstest.MapFile{Data: []byte(frameRule(unescape(d.Input)))}
			case "stay":
				when := "traits.also == 1"
				d.MaybeScanArgs(t, "when", &when)
				files["rules.yaml"] = &fstest.MapFile{Data: []byte(frameStay(when, unescape(d.Input)))}
			case "let":
				files["rules.yaml"] = &fstest.MapFile{Data: []byte(frameLet(unescape(d.Input)))}
			case "check":
				if d.Input != "" {
					files["rules.yaml"] = &fstest.MapFile{Data: []byte(unescape(d.Input) + "\n")}
				}
			default:
				d.Fatalf(t, "unknown command %s", d.Cmd)
			}
			out := checkOutput(files)
			files = fstest.MapFS{}
			return out
		})
	})
}

// unescape lets a case hold what an editor would hide: ⇥ is a tab, ␍ a
// carriage return, ␀ a byte that is no UTF-8.
func unescape(s string) string {
	return strings.NewReplacer("⇥", "\t", "␍", "\r", "␀", "\xff").Replace(s)
}

func checkOutput(files fstest.MapFS) string {
	set, problems := Load(files)
	var b strings.Builder
	if err := WriteProblems(&b, problems); err != nil {
		panic(err)
	}
	if (set == nil) != HasErrors(problems) {
		b.WriteString("BUG: the set must be nil exactly where there are errors\n")
	}
	if b.Len() == 0 {
		return "ok\n"
	}
	return b.String()
}

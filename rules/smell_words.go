package rules

import (
	"slices"
	"strings"
	"unicode"

	"golang.org/x/text/unicode/norm"
)

// smellKind is a kind of special data (GDPR articles 9(1) and 10) that names of
// fields, events and segments suggest.
type smellKind struct {
	data     string // for messages: "health"
	article  int
	category string // its fideslang key
	patterns []smellPattern
}

// smellPattern is consecutive words of a name.
type smellPattern struct {
	words []smellWord
	whole bool // they must be all of the name
}

// smellWord is one word, or all with that beginning.
type smellWord struct {
	text string
	open bool
}

// smellKinds are what names suggest, in English and, where a word is the same
// in most forms, in German, French and Spanish, without accents. A word is here
// if it hardly means anything else in the data of a shop or a service:
// "treatment" (of an experiment), "condition", "weight", "disabled" (a switch),
// "orientation" (of a screen), "retina" (a display), "vote" (on a feature),
// "fingerprint" (of a device), "handicap" (in golf), "race" and "union" beside
// other words are not. The first kind that matches counts, so the narrower ones
// come first.
var smellKinds = []smellKind{
	{"genetics", 9, "user.health_and_medical.genetic", smellPatterns(
		"genetic*, genom*, genotype, dna, genetisch*, genetiq*")},
	{"biometrics", 9, "user.biometric", smellPatterns(
		"biometr*, faceprint, voiceprint, face recognition, facial recognition, face template, iris scan, retina scan, fingerprint scan, " +
			"fingerprint template, fingerabdruck, empreinte digitale, huella dactilar")},
	{"sex life or sexual orientation", 9, "user.demographic.sexual_orientation", smellPatterns(
		"sexual*, sex life, gay, lesbian*, lgbt*, queer, homosex*, bisex*, transgender, sexuel*, lesbisch*, schwul*")},
	{"health", 9, "user.health_and_medical", smellPatterns(
		"health, healthcare, diagnosis, diagnoses, diagnosed, symptom*, pregnan*, maternity, medical, medication*, medicine*, disease*, illness*, " +
			"therap*, psychotherap*, psychiatr*, prescription*, disability, disabilities, patient, patients, clinic, clinical, hospital, hospitals, surgery, " +
			"surgeries, cancer, tumor*, tumour*, diabet*, insulin, glucose, asthma*, allerg*, hiv, depression, anxiety, adhd, autis*, dementia, " +
			"alzheimer*, epilep*, vaccin*, covid*, bmi, obes*, smoker*, addict*, alcoholi*, rehab, wheelchair*, hearing aid*, medicaid, " +
			"blood pressure, blood type, blood group, blood sugar, heart rate, weight loss, fertility, ivf, menstru*, menopaus*, ovulation, " +
			"contracepti*, abortion*, miscarriage*, " +
			"gesundheit*, krank*, schwanger*, behinder*, schwerbehinder*, medikament*, arznei*, impfung*, impfstatus, =diagnose, pflegegrad, " +
			"blutdruck, blutgruppe, sante, maladie*, grossesse*, handicape*, medicament*, salud, enfermedad*, embaraz*, discapacidad*, diagnostico*, " +
			"alergia*")},
	{"religion or belief", 9, "user.demographic.religious_belief", smellPatterns(
		"religi*, muslim*, islam, islamic, jewish, judaism, catholic*, protestant*, hindu, hindus, hinduism, buddhis*, christianity, atheis*, " +
			"church, mosque*, synagogue*, halal, kosher, philosophical belief*, " +
			"konfession*, kirche*, katholi*, evangelisch*, musulman*, catholique*, catolic*, eglise*, iglesia*")},
	{"political opinions", 9, "user.demographic.political_opinion", smellPatterns(
		"political*, politics, voter*, voting intention*, party affiliation*, party member*, republicans, democrats, " +
			"politisch*, parteimitglied*, parteizugehorigkeit, parteizugehoerigkeit, wahlabsicht*, opinion politi*, opinions politi*, " +
			"afiliacion politica, intencion de voto")},
	{"trade union membership", 9, "user.demographic.union_membership", smellPatterns(
		"trade union*, labor union*, labour union*, union member*, union dues, unionized, unionised, =union, =union status, " +
			"gewerkschaft*, syndicat, syndicats, syndical, syndique, sindicato*, sindical")},
	{"racial or ethnic origin", 9, "user.demographic.race_ethnicity", smellPatterns(
		"ethnic*, =race, race ethnicity, racial*, skin color, skin colour, hispanic*, caste, " +
			"ethnie*, ethnisch*, ethniq*, hautfarbe, etnia*, etnic*, origen racial")},
	{"criminal convictions", 10, "user.criminal_history", smellPatterns(
		"criminal*, convict*, felon*, offender*, arrested, prison*, jail, parole, " +
			"vorstrafe*, vorbestraft*, straftat*, casier judiciaire, condamnation penale, antecedentes penales")},
}

// smellless are phrases in which such words mean something else.
var smellless = smellPatterns("health check*, health probe*, health endpoint*, account health, customer health, system health, service health, " +
	"battery health, device health, =health score, european union, credit union")

// smellPatterns reads patterns divided by commas: words with a space between,
// of which one that ends in * stands for all with that beginning, and a
// pattern after = must be the whole name.
func smellPatterns(text string) (patterns []smellPattern) {
	for pattern := range strings.SplitSeq(text, ", ") {
		rest, whole := strings.CutPrefix(pattern, "=")
		p := smellPattern{whole: whole}
		for word := range strings.FieldsSeq(rest) {
			begin, open := strings.CutSuffix(word, "*")
			p.words = append(p.words, smellWord{begin, open})
		}
		patterns = append(patterns, p)
	}
	return patterns
}

// SpecialCategory reports whether a fideslang key is of a special category (GDPR
// articles 9 and 10), as
// it is or as fideslang 3.2 renamed it.
func SpecialCategory(key string) bool {
	for _, special := range []string{"user.health_and_medical", "user.health", "user.biometric", "user.biometrics", "user.criminal_history",
		"user.demographic.sexual_orientation", "user.demographic.religious_belief", "user.demographic.philosophical_belief",
		"user.demographic.political_opinion", "user.demographic.union_membership", "user.demographic.race_ethnicity"} {
		if key == special || strings.HasPrefix(key, special+".") {
			return true
		}
	}
	return false
}

// smellOf returns the words of a name that suggest special data, and what kind;
// nil if none does.
func smellOf(name string) (found string, kind *smellKind) {
	words := wordsOf(name)
	innocent := make([]bool, len(words))
	for _, p := range smellless {
		for i := range words {
			for n := p.matchAt(words, i); n > 0; n-- {
				innocent[i+n-1] = true
			}
		}
	}
	for k := range smellKinds {
		for _, p := range smellKinds[k].patterns {
			for i := range words {
				if n := p.matchAt(words, i); n > 0 && !innocent[i] {
					return strings.Join(words[i:i+n], " "), &smellKinds[k]
				}
			}
		}
	}
	return "", nil
}

// matchAt returns how many words from index i on the pattern matches, 0 if it
// does not.
func (p smellPattern) matchAt(words []string, i int) int {
	if i+len(p.words) > len(words) || p.whole && len(p.words) != len(words) {
		return 0
	}
	for k, w := range p.words {
		if word := words[i+k]; word != w.text && !(w.open && strings.HasPrefix(word, w.text)) {
			return 0
		}
	}
	return len(p.words)
}

// wordsOf splits a name where its case changes and at whatever is no letter,
// into lower-case words without accents: "HIVStatus", "hiv-status" and
// "hiv_status2" are hiv, status.
func wordsOf(name string) (words []string) {
	runes := slices.DeleteFunc([]rune(strings.ReplaceAll(norm.NFD.String(name), "ß", "ss")), func(r rune) bool { return unicode.Is(unicode.Mn, r) })
	start := 0
	cut := func(end int) {
		if end > start {
			words = append(words, strings.ToLower(string(runes[start:end])))
		}
	}
	for i, r := range runes {
		switch {
		case !unicode.IsLetter(r):
			cut(i)
			start = i + 1
		case unicode.IsUpper(r) && i > 0 && (!unicode.IsUpper(runes[i-1]) || i+1 < len(runes) && unicode.IsLower(runes[i+1])):
			cut(i)
			start = i
		}
	}
	cut(len(runes))
	return words
}

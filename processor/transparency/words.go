package transparency

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode"

	"github.com/segmentd/segmentd/rules"
)

func sorted(set map[string]bool) []string { return slices.Sorted(maps.Keys(set)) }

// units are those that durations are said in, in milliseconds.
var units = []struct {
	name  string
	milli int64
}{{"day", 86_400_000}, {"hour", 3_600_000}, {"minute", 60_000}, {"second", 1_000}}

// inWords says a duration of milliseconds in the largest unit that leaves no rest.
func inWords(milliseconds int64) string {
	for _, u := range units {
		if n := milliseconds / u.milli; milliseconds%u.milli == 0 && n > 0 {
			if n == 1 {
				return "1 " + u.name
			}
			return fmt.Sprintf("%d %ss", n, u.name)
		}
	}
	return fmt.Sprintf("%d milliseconds", milliseconds)
}

// list joins texts as a sentence does.
func list(items []string, last string) string {
	if len(items) < 2 {
		return strings.Join(items, "")
	}
	return strings.Join(items[:len(items)-1], ", ") + " " + last + " " + items[len(items)-1]
}

// categoryWords are what the categories of fideslang are called in a notice; of
// one that is not here, its parent's words and its own last word.
var categoryWords = map[string]string{
	"user":                                  "other data about you",
	"user.account":                          "your account",
	"user.authorization":                    "how you sign in",
	"user.behavior":                         "what you do",
	"user.behavior.browsing_history":        "what you look at",
	"user.behavior.media_consumption":       "what you watch, read or listen to",
	"user.behavior.purchase_history":        "what you buy",
	"user.behavior.search_history":          "what you search for",
	"user.biometric":                        "features of your body (biometrics)",
	"user.biometrics":                       "features of your body (biometrics)",
	"user.childrens":                        "data about children",
	"user.contact":                          "how to reach you",
	"user.contact.address":                  "your address",
	"user.contact.email":                    "your e-mail address",
	"user.contact.phone_number":             "your telephone number",
	"user.content":                          "what you write or upload",
	"user.criminal_history":                 "criminal convictions",
	"user.demographic":                      "facts about you, such as age or language",
	"user.demographic.age_range":            "your age",
	"user.demographic.date_of_birth":        "your date of birth",
	"user.demographic.gender":               "your gender",
	"user.demographic.language":             "your language",
	"user.demographic.marital_status":       "whether you are married",
	"user.demographic.philosophical_belief": "your beliefs",
	"user.demographic.political_opinion":    "your political opinions",
	"user.demographic.race_ethnicity":       "your racial or ethnic origin",
	"user.demographic.religious_belief":     "your religion or belief",
	"user.demographic.sexual_orientation":   "your sex life or sexual orientation",
	"user.demographic.union_membership":     "your membership in a trade union",
	"user.device":                           "your device",
	"user.device.ip_address":                "your IP address",
	"user.financial":                        "your finances",
	"user.government_id":                    "your official documents",
	"user.health":                           "your health",
	"user.health_and_medical":               "your health",
	"user.health_and_medical.genetic":       "your genes",
	"user.job_title":                        "your occupation",
	"user.location":                         "where you are",
	"user.name":                             "your name",
	"user.payment":                          "how you pay",
	"user.privacy_preferences":              "what you agreed to and refused",
	"user.sensor":                           "what sensors measure of you",
	"user.social":                           "whom you are in touch with",
	"user.telemetry":                        "how you use our service",
	"user.unique_id":                        "the id by which we know you",
	"user.user_sensor":                      "what sensors measure of you",
	"user.workplace":                        "where you work",
}

// category is a category of data in words.
func category(key string) string {
	if words, ok := categoryWords[key]; ok {
		return words
	}
	at := strings.LastIndexByte(key, '.')
	if at < 0 {
		return label(key)
	}
	return category(key[:at]) + " (" + label(key[at+1:]) + ")"
}

// label writes a name as words: "signed_up_at", "signedUpAt" are "signed up at".
func label(name string) string {
	var b strings.Builder
	lower := false
	for _, r := range name {
		switch {
		case !unicode.IsLetter(r) && !unicode.IsDigit(r):
			b.WriteByte(' ')
			lower = false
			continue
		case unicode.IsUpper(r) && lower:
			b.WriteByte(' ')
		}
		lower = unicode.IsLower(r)
		b.WriteRune(unicode.ToLower(r))
	}
	return strings.Join(strings.Fields(b.String()), " ")
}

// fieldLabel is a field's path in words: without its root.
func fieldLabel(path string) string {
	_, below, _ := strings.Cut(path, ".")
	return label(below)
}

// eventLabel is what events() takes, in words.
func eventLabel(argument string) string {
	switch name, all := strings.CutSuffix(argument, "*"); {
	case argument == "*":
		return "everything you do"
	case all:
		return "all that begins with “" + strings.TrimSpace(name) + "”"
	default:
		return "“" + name + "”"
	}
}

// ground is a lawful basis: its articles, and what it means to a subject.
type ground struct {
	article string
	fides   string // fideslang's legal_basis_for_processing
	words   string
}

var grounds = [...]ground{
	rules.Consent:             {"6(1)(a)", "Consent", "You agreed to it. You can withdraw that at any time."},
	rules.ExplicitConsent:     {"6(1)(a)", "Consent", "You agreed to it explicitly. You can withdraw that at any time."},
	rules.Contract:            {"6(1)(b)", "Contract", "It is needed for the contract with you, or to prepare one that you asked for."},
	rules.LegalObligation:     {"6(1)(c)", "Legal obligations", "The law obliges us to do it."},
	rules.VitalInterests:      {"6(1)(d)", "Vital interests", "It protects somebody's life or health."},
	rules.PublicTask:          {"6(1)(e)", "Public interest", "It is part of a task in the public interest. You can object."},
	rules.LegitimateInterests: {"6(1)(f)", "Legitimate interests", "We have a legitimate interest in it. You can object."},
}

// must says whether a subject has to give the data, and what follows if it does not
// (GDPR article 13(2)(e)).
var must = [...]string{
	rules.Consent:             "You are free to agree or not. Without your consent nothing of this is done.",
	rules.ExplicitConsent:     "You are free to agree or not. Without your consent nothing of this is done.",
	rules.Contract:            "It goes with the contract: what we do not know of you cannot count for you.",
	rules.LegalObligation:     "You cannot choose: the law asks for it.",
	rules.VitalInterests:      "You do not have to give us these data.",
	rules.PublicTask:          "You do not have to give us these data.",
	rules.LegitimateInterests: "You do not have to give us these data.",
}

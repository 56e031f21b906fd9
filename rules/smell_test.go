package rules

import (
	"slices"
	"strings"
	"testing"
)

// TestSmells holds the list of words to names as they occur: those of special
// data with the kind they suggest, and those that mean something else.
func TestSmells(t *testing.T) {
	suggest := map[string]string{
		"health": `diagnosis Diagnosis_Code isPregnant pregnancy_week medicalCondition medication last-prescription prescriptionId disability
			disabilityStatus symptoms therapy therapist health HealthInsurance health_insurance_number allergies bloodType heart_rate bloodPressure
			hivStatus HIVStatus vaccinated covid19_test patient_id hospitalVisit schwangerschaftswoche krankenkasse Krankheit gesundheitskarte
			behinderung grossesse maladie santé enfermedad embarazada discapacidad alergias bmi smoker fertilityClinic diagnose`,
		"religion or belief":             `religion religious_affiliation kirchensteuer konfession halal mealKosher church religião catholic muslim_customer`,
		"political opinions":             `politicalOpinion political_party party_affiliation voter opinion_politique wahlabsicht parteimitglied politische_einstellung`,
		"trade union membership":         `tradeUnion trade_union_member union union_membership labourUnion gewerkschaft syndicat sindicato`,
		"sex life or sexual orientation": `sexualOrientation sexuality sex_life orientation_sexuelle lgbtq gay homosexual sexuelle_orientierung`,
		"racial or ethnic origin":        `ethnicity ethnic_group race Race race_ethnicity racial skin_colour etnia ethnie`,
		"genetics":                       `geneticRisk genetic_test dna genome dnaTest genetisch`,
		"biometrics":                     `biometricId faceprint facial_recognition fingerprint_template`,
		"criminal convictions":           `criminalRecord convictions felony antecedentes_penales vorstrafen casier_judiciaire`,
	}
	for data, names := range suggest {
		for _, name := range strings.Fields(names) {
			if _, kind := smellOf(name); kind == nil || kind.data != data {
				t.Errorf("%s suggests %v, want %s", name, kind, data)
			}
		}
	}
	for _, name := range strings.Fields(`healthcheck health_check healthCheckUrl account_health customerHealth health_score race_id race_condition raceTime
		city_race credit_union western_union union_type european_union unionSquare disabled notificationsDisabled is_disabled treatment
		experiment_treatment condition product_condition weight screenOrientation orientation retina retina_display fingerprint device_fingerprint
		vote upvoted handicap faith islamabad syndication syndicated hospitality diagnostics diagnostic_mode gender sex birthdate nationality
		politique_de_confidentialite christian gene generic genre general unit reunion community race_to_win period cycle_count conditions
		social_party party total currency country plan email newsletter denomination patience patiently`) {
		if word, kind := smellOf(name); kind != nil {
			t.Errorf("%s suggests %s, for '%s'", name, kind.data, word)
		}
	}
}

func TestWordsOfNames(t *testing.T) {
	for name, want := range map[string]string{
		"HIVStatus": "hiv status", "hiv-status_2": "hiv status", "isPregnant": "is pregnant", "Santé": "sante", "ÉTÉ": "ete", "": "",
		"Prescription Filled": "prescription filled", "größe": "grosse", "A": "a", "userID": "user id", "x1y": "x y",
	} {
		if got := strings.Join(wordsOf(name), " "); got != want {
			t.Errorf("%q: %q, want %q", name, got, want)
		}
	}
}

// TestSmellsAreSpecial holds the kinds' keys to the list of special categories,
// and their words to be writable: what wordsOf never gives matches nothing.
func TestSmellsAreSpecial(t *testing.T) {
	for _, kind := range smellKinds {
		if !SpecialCategory(kind.category) {
			t.Errorf("%s is not special", kind.category)
		}
		for _, p := range kind.patterns {
			for _, w := range p.words {
				if !slices.Equal(wordsOf(w.text), []string{w.text}) {
					t.Errorf("%s: %q is no word as names have them", kind.data, w.text)
				}
			}
		}
	}
	for key, special := range map[string]bool{"user.health": true, "user.health_and_medical.genetic": true, "user.healthy": false, "user.contact": false} {
		if SpecialCategory(key) != special {
			t.Errorf("%s: %t", key, !special)
		}
	}
}

package rules

import (
	"slices"
	"strings"
)

// dataUses are the uses of data that fideslang 3.1 names, by fides_key. Every
// data_use begins with one of their roots.
var dataUses = strings.Fields(`
	analytics analytics.reporting analytics.reporting.ad_performance analytics.reporting.campaign_insights
	analytics.reporting.content_performance analytics.reporting.system analytics.reporting.system.performance
	collect employment employment.recruitment
	essential essential.fraud_detection essential.legal_obligation essential.service essential.service.authentication
	essential.service.notifications essential.service.notifications.email essential.service.notifications.sms
	essential.service.operations essential.service.operations.improve essential.service.operations.support
	essential.service.payment_processing essential.service.security essential.service.upgrades
	finance functional functional.service functional.service.improve functional.storage
	functional.storage.privacy_preferences
	marketing marketing.advertising marketing.advertising.first_party marketing.advertising.first_party.contextual
	marketing.advertising.first_party.targeted marketing.advertising.frequency_capping
	marketing.advertising.negative_targeting marketing.advertising.profiling marketing.advertising.serving
	marketing.advertising.third_party marketing.advertising.third_party.targeted
	marketing.communications marketing.communications.email marketing.communications.sms
	operations personalize personalize.content personalize.content.limited personalize.content.profiled
	personalize.content.profiling personalize.profiling personalize.system
	sales third_party_sharing third_party_sharing.legal_obligation train_ai_system`)

// dataCategories are the categories of data that fideslang 3.1 names, by
// fides_key, with those of 3.2 that SpecialCategory knows.
var dataCategories = strings.Fields(`
	system system.authentication system.operations user user.account user.account.settings user.account.username
	user.authorization user.authorization.biometric user.authorization.credentials user.authorization.password
	user.behavior user.behavior.browsing_history user.behavior.media_consumption user.behavior.purchase_history
	user.behavior.search_history user.biometric user.biometric.fingerprint user.biometric.health user.biometric.retinal
	user.biometric.voice user.biometrics user.childrens user.contact user.contact.address user.contact.address.city
	user.contact.address.country user.contact.address.postal_code user.contact.address.state user.contact.address.street
	user.contact.email user.contact.fax_number user.contact.organization user.contact.phone_number user.contact.url
	user.content user.content.private user.content.public user.content.self_image user.criminal_history user.demographic
	user.demographic.age_range user.demographic.date_of_birth user.demographic.gender user.demographic.language
	user.demographic.marital_status user.demographic.philosophical_belief user.demographic.political_opinion
	user.demographic.profile user.demographic.race_ethnicity user.demographic.religious_belief
	user.demographic.sexual_orientation user.demographic.union_membership user.device user.device.cookie
	user.device.cookie_id user.device.device_id user.device.ip_address user.financial user.financial.bank_account
	user.financial.credit_card user.government_id user.government_id.birth_certificate
	user.government_id.drivers_license_number user.government_id.immigration
	user.government_id.national_identification_number user.government_id.passport_number
	user.government_id.vehicle_registration user.health user.health_and_medical user.health_and_medical.genetic
	user.health_and_medical.insurance_beneficiary_id user.health_and_medical.record_id user.job_title user.location
	user.location.imprecise user.location.precise user.name user.name.first user.name.last user.payment
	user.privacy_preferences user.sensor user.social user.telemetry user.unique_id user.unique_id.pseudonymous
	user.user_sensor user.workplace`)

// dataUse reads the use of data that a purpose is: a key of fideslang, or one
// of its own below a root of it.
func (l *loader) dataUse(o object) string {
	text := l.text(o, "data_use")
	root, _, _ := strings.Cut(text, ".")
	switch {
	case text == "":
	case !category.MatchString(text) || !slices.Contains(dataUses, root):
		l.errorf(o.at("data_use"), "'%s' is no use of data in fideslang%s: begin it with one of %s", text, hint(text, dataUses), strings.Join(useRoots(), ", "))
	default:
		l.warnUnknownKey(o.at("data_use"), "use of data", text, dataUses)
	}
	return text
}

func useRoots() []string {
	return slices.DeleteFunc(slices.Clone(dataUses), func(use string) bool { return strings.Contains(use, ".") })
}

// warnUnknownKey asks of a key that fideslang has not whether it is meant: it
// may be a refinement of a known one, unless another refinement is spelt alike.
func (l *loader) warnUnknownKey(at spot, what, key string, known []string) {
	if slices.Contains(known, key) {
		return
	}
	parent, last := cutLast(key)
	if parent != "" && slices.Contains(known, parent) && hint(last, childrenOf(parent, known)) == "" {
		return
	}
	l.warnf(at, "fideslang has no %s '%s'%s", what, key, hint(key, known))
}

// cutLast splits a key into its parent, "" if it has none, and the last word.
func cutLast(key string) (parent, last string) {
	at := strings.LastIndexByte(key, '.')
	return key[:max(at, 0)], key[at+1:]
}

func childrenOf(parent string, known []string) (last []string) {
	for _, key := range known {
		if of, word := cutLast(key); of == parent {
			last = append(last, word)
		}
	}
	return last
}

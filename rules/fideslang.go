package rules

import (
	"slices"
	"strings"
)

// dataUses are the uses of data that fideslang 3.2 names (its data_uses.csv, by
// fides_key), the roots of which every data_use must begin with.
var dataUses = strings.Fields(`
	analytics analytics.reporting analytics.reporting.ad_performance analytics.reporting.campaign_insights
	analytics.reporting.content_performance analytics.reporting.system analytics.reporting.system.performance
	collect employment employment.recruitment
	essential essential.fraud_detection essential.legal_obligation essential.service essential.service.authentication
	essential.service.notifications essential.service.notifications.email essential.service.notifications.sms
	essential.service.operations essential.service.operations.improve essential.service.operations.support
	essential.service.payment_processing essential.service.security essential.service.upgrades
	finance functional functional.service functional.service.improve functional.storage
	marketing marketing.advertising marketing.advertising.first_party marketing.advertising.first_party.contextual
	marketing.advertising.first_party.targeted marketing.advertising.frequency_capping
	marketing.advertising.negative_targeting marketing.advertising.profiling marketing.advertising.serving
	marketing.advertising.third_party marketing.advertising.third_party.targeted
	marketing.communications marketing.communications.email marketing.communications.sms
	operations personalize personalize.content personalize.content.limited personalize.content.profiled
	personalize.content.profiling personalize.system
	sales third_party_sharing third_party_sharing.legal_obligation train_ai_system`)

// dataUse reads the use of data that a purpose is: a key of fideslang, or one
// of its own below a root of it, of which a warning asks whether it is meant.
func (l *loader) dataUse(o object) string {
	text := l.text(o, "data_use")
	if text == "" {
		return ""
	}
	root, _, _ := strings.Cut(text, ".")
	switch {
	case !category.MatchString(text) || !slices.Contains(dataUses, root):
		l.errorf(o.at("data_use"), "'%s' is no use of data in fideslang%s: begin it with one of %s", text, hint(text, dataUses), strings.Join(useRoots(), ", "))
	case !slices.Contains(dataUses, text):
		l.warnf(o.at("data_use"), "fideslang has no use of data '%s'%s", text, hint(text, dataUses))
	}
	return text
}

func useRoots() []string {
	return slices.DeleteFunc(slices.Clone(dataUses), func(use string) bool { return strings.Contains(use, ".") })
}

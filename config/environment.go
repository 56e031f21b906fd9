package config

import (
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strings"
)

// envConfig names the configuration file.
const envConfig = envPrefix + "CONFIG"

// EnvToken is the variable with the token of commands that ask a running
// instance. It is no setting.
const EnvToken = envPrefix + "TOKEN"

// serviceLink is what Kubernetes puts into a pod's environment for every
// service of its namespace; one called segmentd… would look like ours.
var serviceLink = regexp.MustCompile(`_(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT(_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?)$`)

// environment keeps our variables. One that is empty counts as not set, as
// compose files pass them on.
func environment(environ []string) map[string]string {
	env := map[string]string{}
	for _, e := range environ {
		name, value, _ := strings.Cut(e, "=")
		if strings.HasPrefix(name, envPrefix) && value != "" {
			env[name] = value
		}
	}
	return env
}

// readEnvironment lays the environment over the configuration and warns of
// variables that look like ours and are not.
func (l *loader) readEnvironment() {
	known := []string{strings.TrimPrefix(envConfig, envPrefix), strings.TrimPrefix(EnvToken, envPrefix)}
	for _, f := range settings(reflect.TypeFor[Config](), "") {
		name := f.env()
		known = append(known, strings.TrimPrefix(name, envPrefix))
		text, ok := l.env[name]
		switch {
		case !ok:
		case f.isListOfBlocks():
			l.readList(f, text, name)
		default:
			l.set(f, text, name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(l.env)) {
		ending := strings.TrimPrefix(name, envPrefix)
		if slices.Contains(known, ending) || serviceLink.MatchString(name) {
			continue
		}
		hint := strings.Replace(didYouMean(ending, known), "mean ", "mean "+envPrefix, 1)
		l.cfg.warnings = append(l.cfg.warnings, name+": no such variable is read"+hint)
	}
}

package config

import (
	"reflect"
	"slices"
	"strings"

	"github.com/spf13/pflag"
)

const flagConfig = "config"

// settingFlag is a flag that gives one setting.
type settingFlag struct {
	name, path, usage string
}

var settingFlags = []settingFlag{
	{"rules", "rules", "directory of the rule `files`"},
	{"allow-removals", "allow_removals", "let changed rules remove segments that hold members"},
	{"drop-input", "drop_inputs", "forget a `topic` that was an input and is none any more"},
	{"brokers", "kafka.brokers", "Kafka brokers, `host:port,…`"},
	{"embedded", "embedded", "run with a broker of its own in the same process"},
	{"broker-listen", "broker_listen", "`host:port` of the embedded broker"},
	{"group", "group", "consumer group and prefix of the topics owned"},
	{"data", "data", "`directory` of the local state"},
	{"listen", "http.listen", "`host:port` of health, metrics and look-ups"},
	{"log-format", "log.format", "json or text"},
	{"log-level", "log.level", "debug, info, warn or error"},
}

// AddFlags defines the flags that Load reads: --config and one for each of the
// settings that are given by hand. With names it defines only those; a command
// may define flags of its own under the names it left out.
func AddFlags(fs *pflag.FlagSet, names ...string) {
	wanted := func(name string) bool { return len(names) == 0 || slices.Contains(names, name) }
	if wanted(flagConfig) {
		fs.String(flagConfig, "", "configuration `file` (YAML)")
		setOurs(fs.Lookup(flagConfig))
	}
	defaults := reflect.ValueOf(Default()).Elem()
	for _, sf := range settingFlags {
		if !wanted(sf.name) {
			continue
		}
		switch v := at(defaults, sf.path); v.Kind() {
		case reflect.Bool:
			fs.Bool(sf.name, v.Bool(), sf.usage)
		case reflect.Slice:
			fs.StringSlice(sf.name, nil, sf.usage)
		default:
			fs.String(sf.name, v.String(), sf.usage)
		}
		setOurs(fs.Lookup(sf.name))
	}
}

// annotation marks the flags that AddFlags has defined, and so Load reads.
const annotation = "segmentd-setting"

func setOurs(f *pflag.Flag) { f.Annotations = map[string][]string{annotation: nil} }

// ours returns a flag that AddFlags has defined and the command line has given, else nil.
func ours(fs *pflag.FlagSet, name string) *pflag.Flag {
	if fs == nil {
		return nil
	}
	f := fs.Lookup(name)
	if f == nil || !f.Changed {
		return nil
	}
	if _, ok := f.Annotations[annotation]; !ok {
		return nil
	}
	return f
}

// readFlags lays the flags that were given over the configuration.
func (l *loader) readFlags(fs *pflag.FlagSet) {
	for _, sf := range settingFlags {
		f := ours(fs, sf.name)
		if f == nil {
			continue
		}
		text := f.Value.String()
		if list, ok := f.Value.(pflag.SliceValue); ok {
			text = strings.Join(list.GetSlice(), ",")
		}
		l.set(settingAt(sf.path), text, "--"+sf.name)
	}
}

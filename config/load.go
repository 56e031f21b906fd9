package config

import (
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/spf13/pflag"
)

// Sources are where Load reads from. The zero value gives the defaults.
type Sources struct {
	Environ []string       // NAME=value, as os.Environ returns them
	Flags   *pflag.FlagSet // parsed, with the flags of AddFlags; nil: none
	Needs   Need           // what the command cannot do without
}

// Load puts the configuration together: defaults, then the file that --config
// or SEGMENTD_CONFIG names, then the environment, then flags, each before the
// one in front of it; then it checks the whole as Validate does for src.Needs.
//
// The error is an *Error with all problems, those of the file first, in the
// order of its lines. Relative paths are taken from the working directory,
// wherever they were written.
func Load(src Sources) (*Config, error) {
	l := &loader{cfg: Default(), env: environment(src.Environ)}
	file, where := l.file(src.Flags)
	if file != "" {
		l.readFile(file, where)
	}
	l.readEnvironment()
	l.readFlags(src.Flags)
	l.cfg.embeddedDefaults()
	v := &validator{cfg: l.cfg, needs: src.Needs, unread: l.unread()}
	l.problems = append(l.problems, v.run()...)
	sortByLine(l.problems, file)
	return l.cfg, asError(l.problems)
}

// loader fills one configuration, collecting problems.
type loader struct {
	cfg      *Config
	env      map[string]string
	problems []Problem
}

func (l *loader) problem(where, path, text string) {
	l.problems = append(l.problems, Problem{Where: where, Path: path, Text: text})
}

// file is the configuration file to read and what named it.
func (l *loader) file(fs *pflag.FlagSet) (file, where string) {
	if f := ours(fs, flagConfig); f != nil {
		return f.Value.String(), "--" + flagConfig
	}
	return l.env[envConfig], envConfig
}

// unread are the blocks of which something could not be read, with all around
// them: what seems to be missing there may be just that.
func (l *loader) unread() map[string]bool {
	blocks := map[string]bool{}
	for _, p := range l.problems {
		blocks[p.Path] = true
		for path := p.Path; path != ""; {
			path = parent(path)
			blocks[path] = true
		}
	}
	return blocks
}

// parent is the path of the block or list around a path, "" at the top.
func parent(path string) string { return path[:max(0, strings.LastIndexAny(path, ".["))] }

// set stores a setting given as text.
func (l *loader) set(f field, text, where string) {
	if err := setText(at(reflect.ValueOf(l.cfg).Elem(), f.path), f, text); err != nil {
		l.problem(where, f.path, err.Error())
		return
	}
	l.cfg.origins[f.path] = where
}

// embeddedDefaults are the defaults of a process with its own broker, for what
// no source has given.
func (c *Config) embeddedDefaults() {
	if !c.Embedded {
		return
	}
	const where = "default with embedded"
	if !c.given("inputs") {
		c.Inputs = []Input{embeddedInput("events", KindEvent), embeddedInput("decisions", KindDecision), embeddedInput("requests", KindRequest)}
		c.origins["inputs"] = where
	}
	if !c.given("topics.create") {
		c.Topics.Create = true
		c.origins["topics.create"] = where
	}
}

func embeddedInput(topic, kind string) Input {
	var in Input
	setDefaults(reflect.ValueOf(&in).Elem())
	in.Topic, in.Kind = topic, kind
	return in
}

// given reports whether a source gave the setting.
func (c *Config) given(path string) bool {
	_, ok := c.origins[path]
	return ok
}

// origin is the source of the value at path: of itself, of something in it, or
// of the nearest block or list around it.
func (c *Config) origin(path string) string {
	for p := path; p != ""; p = parent(p) {
		if where, ok := c.origins[p]; ok {
			return where
		}
		if p != path {
			continue
		}
		for _, inner := range slices.Sorted(maps.Keys(c.origins)) {
			if strings.HasPrefix(inner, path+".") {
				return c.origins[inner]
			}
		}
	}
	return ""
}

// forget drops the origins of a list and of all that is in it.
func (c *Config) forget(path string) {
	maps.DeleteFunc(c.origins, func(p, _ string) bool {
		return p == path || strings.HasPrefix(p, path+"[")
	})
}

// Warnings are what is allowed and yet deserves a line in the log at start.
func (c *Config) Warnings() []string {
	return slices.Concat(c.warnings, c.risks(), c.OpenDSR.risks(), c.exposed())
}

// Unread are those of the Warnings that say what was given and not read: they
// matter to every command, also where Load fails.
func (c *Config) Unread() []string { return c.warnings }

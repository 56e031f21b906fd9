package main

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"github.com/segmentd/segmentd/config"
	"github.com/segmentd/segmentd/processor/kafka"
	"github.com/segmentd/segmentd/processor/replay"
	"github.com/segmentd/segmentd/processor/wire"
	"github.com/segmentd/segmentd/processor/wire/mapping"
)

// inputKind is the kind of a configured input's records.
func inputKind(in config.Input) wire.Kind {
	switch in.Kind {
	case config.KindDecision:
		return wire.Decisions
	case config.KindRequest:
		return wire.Requests
	}
	return wire.Events
}

// inputDecoder is how the records of a configured input are decoded, live and
// in files.
func inputDecoder(in config.Input) (wire.DecoderOptions, error) {
	format, err := wire.ParseInputFormat(in.Format)
	if err != nil {
		return wire.DecoderOptions{}, err
	}
	unit, err := wire.ParseTimestampUnit(in.TimestampUnit)
	if err != nil {
		return wire.DecoderOptions{}, err
	}
	o := wire.DecoderOptions{Format: format, TimestampUnit: unit, AnyKey: in.Partitioner == kafka.Any.String()}
	if len(in.Map) == 0 {
		return o, nil
	}
	compiled, problems := mapping.Compile(mapping.Kind(in.Kind), in.Map)
	if len(problems) > 0 {
		return o, fmt.Errorf("the map of %s: %s: %s", in.Topic, problems[0].Key, problems[0].Text)
	}
	o.Map = compiled
	return o, nil
}

// fileInputs are the configured inputs as whose records files can be read, and the
// configured rules.
type fileInputs struct {
	rules  string                   // their directory; "": none is configured
	topics []string                 // in the configuration's order
	byName map[string]*replay.Input // by topic
}

// fileInputsHelp is for the help of commands that read files.
const fileInputsHelp = `
The rules are those of the configuration (rules, SEGMENTD_RULES) where the command line names none.
With --config (or SEGMENTD_CONFIG) files are read as live records are, with their input's map, format and unit:
TOPIC=FILE is a file of that input's records, a FILE alone one of the only input, where there is just one. (Where no
input has a map, format or unit, files need no name: records in segmentd's own shapes may be mixed.) A line is a record's value; if the input's map reads key or headers, it is {"key": "…", "headers": {"…": "…"}, "value": …}.`

func (f *fileInputs) addFlags(fs *pflag.FlagSet) { config.AddFlags(fs, "config") }

// load reads the configuration.
func (f *fileInputs) load(inv *invocation) error {
	cfg, err := loadConfig(inv, 0)
	if err != nil {
		return err
	}
	f.rules, f.byName = cfg.Rules, map[string]*replay.Input{}
	for _, in := range cfg.Inputs {
		decoder, err := inputDecoder(in)
		if err != nil {
			return usageError(err)
		}
		decoder.MaxRecordBytes = maxReplayRecordBytes
		f.topics = append(f.topics, in.Topic)
		f.byName[in.Topic] = &replay.Input{Kind: inputKind(in), Decoder: decoder}
	}
	return nil
}

// rulesDir is the rules directory that the arguments name, else the configured one.
func (f *fileInputs) rulesDir(args []string) (string, error) {
	switch {
	case len(args) == 1:
		return args[0], nil
	case len(args) == 0 && f.rules != "":
		return f.rules, nil
	}
	return "", usagef("give one rules directory")
}

// of splits an argument into a path and the input whose records the file holds:
// nil for records of all kinds in segmentd's own shapes.
func (f *fileInputs) of(arg string) (path string, in *replay.Input, err error) {
	if topic, path, named := strings.Cut(arg, "="); named && f.byName[topic] != nil {
		return path, f.byName[topic], nil
	}
	unlike := f.unlike()
	switch {
	case unlike == "":
		return arg, nil, nil
	case len(f.topics) == 1:
		return arg, f.byName[unlike], nil
	}
	return "", nil, usagef("%s: whose records are these? write TOPIC=FILE, where TOPIC is one of %s (a FILE alone would be read with the defaults of an input, and %s has a map, format or unit)",
		arg, strings.Join(f.topics, ", "), unlike)
}

// unlike names an input whose records are not read like those of a file of which
// nothing is said, "" if there is none.
func (f *fileInputs) unlike() string {
	i := slices.IndexFunc(f.topics, func(topic string) bool {
		d := f.byName[topic].Decoder
		return d.Map != nil || d.Format != wire.FormatAuto || d.TimestampUnit != wire.RFC3339
	})
	if i < 0 {
		return ""
	}
	return f.topics[i]
}

// topic is the topic of a configured input.
func (f *fileInputs) topic(in *replay.Input) string {
	i := slices.IndexFunc(f.topics, func(topic string) bool { return f.byName[topic] == in })
	return f.topics[i]
}

// open opens the file of an argument; the caller closes it.
func (f *fileInputs) open(inv *invocation, arg string) (replay.Source, io.Closer, error) {
	path, in, err := f.of(arg)
	if err != nil {
		return replay.Source{}, nil, err
	}
	source, closer, err := replay.Open(path, inv.in)
	if err != nil {
		return source, nil, inputError(err)
	}
	source.Input = in
	return source, closer, nil
}

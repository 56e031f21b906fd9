package config

import (
	"errors"
	"reflect"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/spf13/pflag"
)

// TestEverySettingHasItsTags holds the struct to what the rest of the package
// relies on: each setting can be read from text, and bounds come in pairs.
func TestEverySettingHasItsTags(t *testing.T) {
	for _, f := range append(settings(reflect.TypeFor[Config](), ""), settings(reflect.TypeFor[Input](), "inputs[]")...) {
		_, least := f.tag.Lookup("min")
		_, most := f.tag.Lookup("max")
		number := f.typ.Kind() == reflect.Int || f.typ.Kind() == reflect.Int64
		if least != most || least != number {
			t.Errorf("%s: a number needs min and max, and only a number", f.path)
		}
		if words, text := f.allowed(), f.tag.Get("default"); text != "" && words != nil && !slices.Contains(words, text) {
			t.Errorf("%s: default %q is not allowed", f.path, text)
		}
	}
}

func TestDefaultsAreValid(t *testing.T) {
	if err := Default().Validate(0); err != nil {
		t.Error(err)
	}
}

func TestValidateWithoutLoad(t *testing.T) {
	cfg := Default()
	cfg.Log.Level = "loud"
	cfg.Topics.Partitions = -1
	var all *Error
	if !errors.As(cfg.Validate(0), &all) {
		t.Fatal("no *Error")
	}
	want := []Problem{
		{Path: "topics.partitions", Text: "-1 is out of bounds; allowed: 1 to 10000"},
		{Path: "log.level", Text: `"loud" is not allowed; allowed: debug, info, warn or error`},
	}
	if diff := cmp.Diff(want, all.Problems); diff != "" {
		t.Error(diff)
	}
}

// TestRenderedConfigurationLoads loads what Render wrote and gets the same.
func TestRenderedConfigurationLoads(t *testing.T) {
	dir := t.TempDir()
	first, err := Load(sources(t, dir, "embedded: true\nkafka: {brokers: []}\nprocessing: {linger: 1h2m3s, dedupe_window: 30d}\ngroup: '123'\nrules: 'yes: no'"))
	if err == nil {
		t.Fatal("a linger of an hour was allowed")
	}
	second, _ := Load(sources(t, dir, first.Render()))
	first.origins, second.origins = nil, nil
	if diff := cmp.Diff(first, second, cmp.AllowUnexported(Config{}), cmpopts.EquateEmpty(), cmp.Transformer("text", func(s Secret) string { return string(s) })); diff != "" {
		t.Error(diff)
	}
}

// TestOnlyOurFlagsAreRead leaves alone a command's own flag of a name of ours.
func TestOnlyOurFlagsAreRead(t *testing.T) {
	fs := pflag.NewFlagSet("broker", pflag.ContinueOnError)
	AddFlags(fs, "data", "log-level")
	fs.String("listen", "127.0.0.1:9092", "")
	if err := fs.Parse([]string{"--listen", "127.0.0.1:1", "--data", "d"}); err != nil {
		t.Fatal(err)
	}
	cfg, err := Load(Sources{Flags: fs})
	if err != nil {
		t.Fatal(err)
	}
	if cfg.Data != "d" || cfg.HTTP.Listen != "127.0.0.1:8080" {
		t.Errorf("data %s, http.listen %s", cfg.Data, cfg.HTTP.Listen)
	}
	if fs.Lookup("group") != nil {
		t.Error("--group was defined, too")
	}
}

func TestInputsOf(t *testing.T) {
	cfg := &Config{Inputs: []Input{{Topic: "a", Kind: KindEvent}, {Topic: "b", Kind: KindDecision}, {Topic: "c", Kind: KindEvent}}}
	var topics []string
	for _, in := range cfg.InputsOf(KindEvent) {
		topics = append(topics, in.Topic)
	}
	if diff := cmp.Diff([]string{"a", "c"}, topics); diff != "" {
		t.Error(diff)
	}
}

func TestLoopback(t *testing.T) {
	for listen, want := range map[string]bool{
		"127.0.0.1:8080": true, "[::1]:80": true, "localhost:1": true, "127.9.9.9:1": true,
		":8080": false, "0.0.0.0:80": false, "[::]:80": false, "10.0.0.1:80": false, "example.com:80": false, "nonsense": false,
	} {
		if got := (HTTP{Listen: listen}).Loopback(); got != want {
			t.Errorf("%s: %v", listen, got)
		}
	}
}

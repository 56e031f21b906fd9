package deployments_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/pflag"

	"github.com/segmentd/segmentd/config"
)

// inContainer are the paths of the example as docker-compose.yml mounts them.
var inContainer = map[string]string{"rules": "/etc/segmentd/rules", "data": "/data", "secret": "/run/secrets/segmentd-secret"}

// loadExample loads the example's configuration as `segmentd run` does, with
// the container's paths replaced by ours.
func loadExample(t *testing.T) *config.Config {
	t.Helper()
	dir := t.TempDir()
	text := read(t, "example/segmentd.yaml")
	here := map[string]string{"rules": "example/rules", "data": filepath.Join(dir, "data"), "secret": filepath.Join(dir, "secret")}
	for what, path := range inContainer {
		if strings.Count(text, ": "+path+"\n") != 1 {
			t.Errorf("the example does not name %s once", path)
		}
		text = strings.Replace(text, ": "+path+"\n", ": "+here[what]+"\n", 1)
	}
	write(t, here["secret"], strings.Repeat("s", 32))
	write(t, filepath.Join(dir, "segmentd.yaml"), text)
	flags := pflag.NewFlagSet("run", pflag.ContinueOnError)
	config.AddFlags(flags)
	if err := flags.Parse([]string{"--config", filepath.Join(dir, "segmentd.yaml")}); err != nil {
		t.Fatal(err)
	}
	cfg, err := config.Load(config.Sources{Flags: flags, Needs: config.NeedAll})
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// The example's configuration is right, and docker-compose.yml provides what it names.
func TestExampleConfiguration(t *testing.T) {
	cfg := loadExample(t)
	kinds := map[string]string{}
	for _, in := range cfg.Inputs {
		kinds[in.Topic] = in.Kind
	}
	if kinds["shop.events"] != config.KindEvent || kinds["shop.decisions"] != config.KindDecision {
		t.Errorf("inputs %v", kinds)
	}
	for _, w := range cfg.Warnings() {
		t.Errorf("warning: %s", w)
	}
	compose := read(t, "docker-compose.yml")
	for _, want := range append(cfg.Kafka.Brokers, "./example:/etc/segmentd:ro", "segmentd-data:"+inContainer["data"], "secrets: [segmentd-secret]") {
		if !strings.Contains(compose, want) {
			t.Errorf("docker-compose.yml does not have %s", want)
		}
	}
}

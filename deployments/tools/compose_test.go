package tools_test

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/loader"
	"github.com/compose-spec/compose-go/v2/types"
)

func loadCompose(t *testing.T) *types.Project {
	t.Helper()
	dir, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	project, err := loader.LoadWithContext(context.Background(), types.ConfigDetails{
		WorkingDir:  dir,
		ConfigFiles: []types.ConfigFile{{Filename: filepath.Join(dir, "docker-compose.yml")}},
		Environment: types.Mapping{},
	}, func(o *loader.Options) { o.SetProjectName("segmentd", true) })
	if err != nil {
		t.Fatal(err)
	}
	return project
}

// docker-compose.yml is a valid Compose file, and every file it mounts exists.
func TestComposeFile(t *testing.T) {
	project := loadCompose(t)
	if want := []string{"grafana", "kafka", "prometheus", "segmentd", "topics-init"}; !slices.Equal(project.ServiceNames(), want) {
		t.Errorf("services %v, want %v", project.ServiceNames(), want)
	}
	for _, s := range project.Services {
		checkPorts(t, s)
		checkImage(t, s)
		checkMounts(t, project, s)
		if s.Name != "topics-init" && (s.HealthCheck == nil || s.HealthCheck.Disable) {
			t.Errorf("%s has no health check", s.Name)
		}
	}
}

func checkPorts(t *testing.T, s types.ServiceConfig) {
	t.Helper()
	for _, p := range s.Ports {
		if p.HostIP != "127.0.0.1" {
			t.Errorf("%s publishes %s beyond the loopback interface", s.Name, p.Published)
		}
	}
}

func checkImage(t *testing.T, s types.ServiceConfig) {
	t.Helper()
	if s.Build != nil {
		if _, err := os.Stat(filepath.Join(s.Build.Context, s.Build.Dockerfile)); err != nil {
			t.Errorf("%s: %v", s.Name, err)
		}
		return
	}
	_, tag, ok := strings.Cut(s.Image, ":")
	if !ok || strings.Count(tag, ".") != 2 {
		t.Errorf("%s: the image %s is not pinned to a full version", s.Name, s.Image)
	}
}

func checkMounts(t *testing.T, project *types.Project, s types.ServiceConfig) {
	t.Helper()
	for _, v := range s.Volumes {
		switch v.Type {
		case types.VolumeTypeBind:
			if _, err := os.Stat(v.Source); err != nil {
				t.Errorf("%s mounts what is not there: %v", s.Name, err)
			}
			if !v.ReadOnly {
				t.Errorf("%s can write to %s", s.Name, v.Source)
			}
		case types.VolumeTypeVolume:
			if _, ok := project.Volumes[v.Source]; !ok {
				t.Errorf("%s: volume %s is not declared", s.Name, v.Source)
			}
		}
	}
}

// What runs from our own image cannot write to it, has no capabilities, and
// gets the secret as a file.
func TestOwnServicesAreConfined(t *testing.T) {
	project := loadCompose(t)
	for _, name := range []string{"segmentd", "topics-init"} {
		s := project.Services[name]
		if !s.ReadOnly || !slices.Equal(s.CapDrop, []string{"ALL"}) || !slices.Contains(s.SecurityOpt, "no-new-privileges:true") {
			t.Errorf("%s is not confined", name)
		}
		if len(s.Secrets) != 1 || s.Secrets[0].Source != "segmentd-secret" {
			t.Errorf("%s has secrets %v", name, s.Secrets)
		}
		for key := range s.Environment {
			if strings.Contains(key, "SECRET") {
				t.Errorf("%s has a secret in its environment", name)
			}
		}
	}
}

// Topics exist before segmentd starts, and the broker before both.
func TestStartOrder(t *testing.T) {
	project := loadCompose(t)
	for _, want := range []struct{ service, on, condition string }{
		{"topics-init", "kafka", types.ServiceConditionHealthy},
		{"segmentd", "kafka", types.ServiceConditionHealthy},
		{"segmentd", "topics-init", types.ServiceConditionCompletedSuccessfully},
	} {
		if got := project.Services[want.service].DependsOn[want.on].Condition; got != want.condition {
			t.Errorf("%s waits for %s to be %q, want %q", want.service, want.on, got, want.condition)
		}
	}
}

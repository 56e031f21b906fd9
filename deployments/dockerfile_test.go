package deployments_test

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// instruction is one instruction of a Dockerfile, continuation lines joined.
type instruction struct {
	name, args string
	stage      int // of the FROM it belongs to, from 1; 0 before the first
}

var dockerfileInstructions = []string{"ADD", "ARG", "CMD", "COPY", "ENTRYPOINT", "ENV", "EXPOSE", "FROM", "HEALTHCHECK", "LABEL",
	"ONBUILD", "RUN", "SHELL", "STOPSIGNAL", "USER", "VOLUME", "WORKDIR"}

func parseDockerfile(text string) ([]instruction, error) {
	var all []instruction
	stage := 0
	for i, line := range joinLines(text) {
		name, args, _ := strings.Cut(line, " ")
		if !slices.Contains(dockerfileInstructions, name) || strings.TrimSpace(args) == "" {
			return nil, fmt.Errorf("instruction %d: %q is none", i+1, line)
		}
		if name == "FROM" {
			stage++
		}
		all = append(all, instruction{name, strings.TrimSpace(args), stage})
	}
	return all, nil
}

func joinLines(text string) []string {
	var all []string
	open := ""
	for _, line := range strings.Split(text, "\n") {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		if head, ok := strings.CutSuffix(line, "\\"); ok {
			open += head
			continue
		}
		all = append(all, open+line)
		open = ""
	}
	return all
}

var pinnedImage = regexp.MustCompile(`^[a-z0-9./-]+:[0-9]+\.[0-9]+\.[0-9]+(-[a-z0-9.]+)?(@sha256:[0-9a-f]{64})?( AS [a-z]+)?$`)

// lintDockerfile returns what an image of ours must not have.
func lintDockerfile(text string) []string {
	all, err := parseDockerfile(text)
	if err != nil {
		return []string{err.Error()}
	}
	if len(all) == 0 {
		return []string{"empty"}
	}
	var problems []string
	for _, in := range all {
		switch {
		case in.name == "FROM" && in.args != "scratch" && !pinnedImage.MatchString(in.args):
			problems = append(problems, "base is not pinned: "+in.args)
		case in.name == "ADD":
			problems = append(problems, "ADD instead of COPY")
		case (in.name == "CMD" || in.name == "ENTRYPOINT") && !strings.HasPrefix(in.args, "["):
			problems = append(problems, in.name+" needs a shell")
		}
	}
	return append(problems, lintFinalStage(all)...)
}

func lintFinalStage(all []instruction) []string {
	last := all[len(all)-1].stage
	args := map[string]string{}
	var built string
	for _, in := range all {
		if in.stage == last {
			args[in.name] = in.args
		} else {
			built += in.name + " " + in.args + "\n"
		}
	}
	var problems []string
	if user, _, _ := strings.Cut(args["USER"], ":"); user == "" || user == "0" || user == "root" {
		problems = append(problems, "runs as root")
	}
	if args["FROM"] == "scratch" && args["RUN"] != "" {
		problems = append(problems, "RUN without a shell")
	}
	if !strings.Contains(built, "CGO_ENABLED=0") {
		problems = append(problems, "the build is not static")
	}
	for _, name := range []string{"ENTRYPOINT", "HEALTHCHECK", "VOLUME"} {
		if args[name] == "" {
			problems = append(problems, "no "+name)
		}
	}
	return problems
}

func TestDockerfile(t *testing.T) {
	text := read(t, "Dockerfile")
	for _, problem := range lintDockerfile(text) {
		t.Error(problem)
	}
	for _, want := range []string{"ARG VERSION", "/etc/ssl/certs/ca-certificates.crt", "VOLUME /data", "FROM scratch"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %s", want)
		}
	}
}

// The builder's Go is not older than what go.mod asks for.
func TestDockerfileBuildsWithOurGo(t *testing.T) {
	want := regexp.MustCompile(`(?m)^go (\d+\.\d+)`).FindStringSubmatch(read(t, "../go.mod"))
	got := regexp.MustCompile(`FROM golang:(\d+\.\d+)`).FindStringSubmatch(read(t, "Dockerfile"))
	if want == nil || got == nil || want[1] != got[1] {
		t.Errorf("go.mod says %v, Dockerfile %v", want, got)
	}
}

// The lint itself finds what it is there for.
func TestLintDockerfile(t *testing.T) {
	const good = "FROM golang:1.26.8 AS build\nENV CGO_ENABLED=0\nRUN go build \\\n  ./...\nFROM scratch\nUSER 65532:65532\nVOLUME /data\nHEALTHCHECK CMD [\"/p\"]\nENTRYPOINT [\"/s\"]\n"
	if problems := lintDockerfile(good); len(problems) > 0 {
		t.Errorf("a good one has %v", problems)
	}
	for _, c := range []struct{ old, new, want string }{
		{"golang:1.26.8", "golang:latest", "not pinned"},
		{"golang:1.26.8", "golang", "not pinned"},
		{"USER 65532:65532", "USER root", "runs as root"},
		{"USER 65532:65532\n", "", "runs as root"},
		{"ENV CGO_ENABLED=0\n", "", "not static"},
		{"VOLUME", "VOLUMES", "is none"},
		{"ENTRYPOINT [\"/s\"]", "ENTRYPOINT /s", "needs a shell"},
		{"HEALTHCHECK CMD [\"/p\"]\n", "", "no HEALTHCHECK"},
		{"VOLUME /data", "VOLUME /data\nRUN true", "without a shell"},
	} {
		problems := strings.Join(lintDockerfile(strings.Replace(good, c.old, c.new, 1)), "; ")
		if !strings.Contains(problems, c.want) {
			t.Errorf("%q for %q: problems %q, want %q", c.new, c.old, problems, c.want)
		}
	}
}

package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/segmentd/segmentd/processor/kafka"
)

func TestMain(m *testing.M) {
	if text := os.Getenv(victimVariable); text != "" {
		beVictim(text)
		return
	}
	http.DefaultClient.Transport = hearingTransport{}
	testscript.Main(heard.Over(m), map[string]func(){"segmentd": listening})
}

var updateScripts = flag.Bool("update", false, "write what the commands print into the scripts of TestScripts")

// TestScripts runs testdata/script: the commands end to end. Beside the usual
// commands of such scripts there are
//
//	exits STATUS segmentd …     runs a command that must end with that status
//	serving URL REGEXP          waits until the page matches
//	becomes REGEXP segmentd …   runs a command until its output matches
//	topic NAME N [KEY=VALUE …]  creates a topic of N partitions on $BROKER
//	hold ADDRESS                listens there until the script ends
//
// $BROKER and $HTTP are addresses nobody listens on.
func TestScripts(t *testing.T) {
	const scripts = "testdata/script"
	said := t.TempDir()
	t.Cleanup(func() { hearScripts(t, scripts, said) })
	testscript.Run(t, testscript.Params{
		Dir:           scripts,
		UpdateScripts: *updateScripts,
		Setup: func(env *testscript.Env) error {
			env.Setenv(heardVariable, said)
			env.Setenv("BROKER", freeAddress(t))
			env.Setenv("HTTP", freeAddress(t))
			env.Setenv("EXAMPLE", abs(t, "../../deployments/example/rules"))
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits": exits, "serving": serving, "becomes": becomes, "topic": createTopic, "hold": hold,
		},
	})
}

func abs(t *testing.T, path string) string {
	t.Helper()
	p, err := filepath.Abs(path)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits STATUS COMMAND …")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(args[1], args[2:]...)
	got := 0
	if err != nil {
		var exit interface{ ExitCode() int }
		if !errors.As(err, &exit) {
			ts.Fatalf("%v", err)
		}
		got = exit.ExitCode()
	}
	if got != want {
		ts.Fatalf("the exit status is %d, want %d", got, want)
	}
}

const patience = 30 * time.Second

func serving(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: serving URL REGEXP")
	}
	pattern := regexp.MustCompile("(?m)" + args[1])
	last := ""
	within(ts, fmt.Sprintf("%s matches %s", args[0], args[1]), func() bool {
		body, err := get(args[0])
		last = body
		return err == nil && pattern.MatchString(body)
	}, &last)
}

func becomes(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: becomes REGEXP COMMAND …")
	}
	pattern := regexp.MustCompile("(?m)" + args[0])
	last := ""
	within(ts, strings.Join(args[1:], " ")+" prints "+args[0], func() bool {
		err := ts.Exec(args[1], args[2:]...)
		last = ts.ReadFile("stdout") + ts.ReadFile("stderr")
		return err == nil && pattern.MatchString(last)
	}, &last)
}

func get(url string) (string, error) {
	res, err := http.Get(url)
	if err != nil {
		return err.Error(), err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	return string(b), err
}

// within asks until something is so.
func within(ts *testscript.TestScript, what string, so func() bool, last *string) {
	end := time.NewTimer(patience)
	defer end.Stop()
	for !so() {
		select {
		case <-time.After(20 * time.Millisecond):
		case <-end.C:
			ts.Fatalf("not within %s: %s; the last answer was\n%s", patience, what, *last)
		}
	}
}

func createTopic(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: topic NAME PARTITIONS [KEY=VALUE …]")
	}
	n, err := strconv.Atoi(args[1])
	ts.Check(err)
	topic := kafka.NewTopic{Name: args[0], Partitions: int32(n), ReplicationFactor: 1, Configs: map[string]string{}}
	for _, a := range args[2:] {
		m := regexp.MustCompile(`^([^=]+)=(.*)$`).FindStringSubmatch(a)
		topic.Configs[m[1]] = m[2]
	}
	client, err := kafka.New(kafka.Config{Brokers: []string{ts.Getenv("BROKER")}})
	ts.Check(err)
	defer client.Close()
	last := ""
	within(ts, "the broker creates "+args[0], func() bool {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		_, err := client.CreateTopics(ctx, []kafka.NewTopic{topic})
		if err != nil {
			last = err.Error()
		}
		return err == nil
	}, &last)
}

func hold(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: hold ADDRESS")
	}
	l, err := net.Listen("tcp", args[0])
	ts.Check(err)
	ts.Defer(func() { _ = l.Close() })
}

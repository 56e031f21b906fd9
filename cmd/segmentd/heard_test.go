package main

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/segmentd/segmentd/processor/kafka"
	"github.com/segmentd/segmentd/processor/stream"
	spelling "github.com/segmentd/segmentd/state/canary"
)

// heard is what services and commands say in these tests beside their answers: the
// logs and pages of metrics, and how requests are refused. No id of any input that
// the tests make may be in it.
var heard spelling.Watch

// heardVariable names a directory where the commands of scripts leave what they log.
const heardVariable = "HEARD_BY_TESTS"

// listening is main with a standard error that is heard.
func listening() {
	dir := os.Getenv(heardVariable)
	if dir == "" {
		main()
		return
	}
	f, err := os.CreateTemp(dir, "stderr")
	if err != nil {
		panic(err)
	}
	os.Exit(runProcess(streams{os.Stdin, os.Stdout, io.MultiWriter(os.Stderr, f)}))
}

// hearScripts hears the standard errors that the commands of scripts have left, and
// notes the ids in the scripts.
func hearScripts(t *testing.T, scripts, dir string) {
	t.Helper()
	for pattern, use := range map[string]func([]byte){
		filepath.Join(scripts, "*.txtar"): heard.KeepRecord,
		filepath.Join(dir, "*"):           func(b []byte) { heard.Hear("a command's standard error", b) },
	} {
		names, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			b, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			use(b)
		}
	}
}

// hearingTransport hears pages of metrics, and what is refused.
type hearingTransport struct{}

func (hearingTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	res, err := http.DefaultTransport.RoundTrip(req)
	if err != nil || res.StatusCode < 400 && req.URL.Path != "/metrics" {
		return res, err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		return nil, err
	}
	place := "an error of HTTP"
	if res.StatusCode < 400 {
		place = "metrics"
	}
	heard.Hear(place, append(b, '\n'))
	res.Body = io.NopCloser(bytes.NewReader(b))
	return res, nil
}

// sendAll sends input records, whose ids are then listened for.
func sendAll(ctx context.Context, producer *kafka.Producer, messages []stream.Message) error {
	for _, m := range messages {
		heard.KeepRecord(m.Value)
	}
	_, err := producer.Send(ctx, messages)
	return err
}

// TestALeakIsHeard plants leaks, which are found: in the log of a service that is
// told of nobody else, and, of texts that are nobody's ids, in all that is heard.
func TestALeakIsHeard(t *testing.T) {
	var w spelling.Watch
	s := startServiceAs(t, serviceSetup{listen: "127.0.0.1:0", rules: exampleRules, log: w.Writer("the log")})
	base := "http://" + s.admin.Addr().String()
	eventuallyStatus(t, base+"/readyz", http.StatusOK)
	w.KeepRecord([]byte(`{"userId":"u17","messageId":"a-message-of-17"}`))
	if told := w.Told(); len(told) > 0 {
		t.Errorf("told %q before", told)
	}
	s.log.Debug("planted", "subject", "u17", "group", s.cfg.Group)
	s.log.Debug("planted", "error", "decode event a-message-of-17: no name")
	told := strings.Join(w.Told(), "\n")
	for _, secret := range []string{"u17 in the log", "a-message-of-17 as utf-8: 1 times in the log"} {
		if !strings.Contains(told, secret) {
			t.Errorf("nothing of %q in %q", secret, told)
		}
	}

	send(t, s, "events", "overheard-17", `{"type":"track","userId":"overheard-17","event":"Order Completed"}`)
	if !heard.Keeps("overheard-17") {
		t.Error("an id that was sent is not listened for")
	}
	startService(t, "127.0.0.1:0").log.Debug("planted", "subject", "planted-17")
	_, _ = new(syncBuffer).Write([]byte("planted-18"))
	request(t, "GET", base+"/metrics", "", "")
	request(t, "GET", base+"/v1/planted", "", "")
	for _, text := range []string{"planted-17", "planted-18", "segmentd_events_total", "there is no such page"} {
		if len(heard.Tells(text)) == 0 {
			t.Errorf("%q is not heard", text)
		}
	}
}

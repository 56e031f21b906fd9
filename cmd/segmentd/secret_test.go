package main

import (
	"path/filepath"
	"strings"
	"testing"
)

// TestCrashOfAWrongSecret starts processes with another secret, beside one that
// runs and on its image: they end before they join the group or touch the image.
func TestCrashOfAWrongSecret(t *testing.T) {
	if testing.Short() {
		t.Skip("starts and kills processes")
	}
	c := newCrash(t)
	c.startBroker()
	c.createInputs()
	p := c.startProcessor()
	c.serves("/readyz?verbose", "partition 0: ready")
	startWrong := func(data string) *process {
		return startProcess(t, []string{"SEGMENTD_SECRET=another-secret-of-some-length", "SEGMENTD_KAFKA_BROKERS=" + c.broker},
			[]string{c.bin, "run", "--config", filepath.Join(c.dir, "c.yaml"), "--data", data, "--listen", "127.0.0.1:0"})
	}
	refused := func(wrong *process) {
		t.Helper()
		wrong.ends(2, "the secret is not the one")
		for _, text := range []string{"segmentd is running", "generation begins", "thrown away"} {
			if strings.Contains(wrong.log.String(), text) {
				t.Errorf("the log says %q:\n%s", text, wrong.log.String())
			}
		}
	}
	refused(startWrong(t.TempDir()))
	if n := strings.Count(p.log.String(), "generation begins"); n != 1 {
		t.Errorf("the group had %d generations:\n%s", n, p.log.String())
	}
	p.stops(0)
	refused(startWrong(filepath.Join(c.dir, "data")))
	p = c.startProcessor()
	c.serves("/readyz?verbose", "partition 0: ready")
	if strings.Contains(p.log.String(), "thrown away") {
		t.Errorf("the image was thrown away:\n%s", p.log.String())
	}
	p.stops(0)
	c.verifies()
}

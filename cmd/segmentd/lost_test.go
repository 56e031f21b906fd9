package main

import (
	"testing"
)

// TestCrashOfALostChangelog deletes the changelog while the processor is stopped:
// it ends at its start, also on a new disk, until the group's offsets are gone too.
func TestCrashOfALostChangelog(t *testing.T) {
	if testing.Short() {
		t.Skip("starts and kills processes")
	}
	c := newCrash(t)
	c.startBroker()
	c.createInputs()
	p := c.startProcessor()
	c.produce(c.history(30))
	c.awaitEnd()
	p.stops(0)
	c.remove(crashGroup + "-changelog")
	c.startProcessor().ends(3, "the local image is at transaction")
	c.start("run", "--config", c.dir+"/c.yaml", "--listen", "127.0.0.1:0", "--data", t.TempDir()).ends(3, "the group has read")
	c.verifies()
}

package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/segmentd/segmentd/processor"
	"github.com/segmentd/segmentd/processor/stream"
)

// The rules before and after the change: something is removed, decided from what
// is kept, filled from the start of the topics, and one purpose is new.
const (
	crashRulesBefore = `
purposes:
  - {key: marketing, description: Offers, lawful_basis: consent, retention: 400d}
let:
  orders: events("Order Completed")
segments:
  - {key: buyer, purpose: marketing, when: 'orders.count() >= 30'}
  - {key: big, purpose: marketing, when: 'orders.sum(properties.total) >= 2000'}
  - {key: gone, purpose: marketing, when: 'orders.exists()'}
`
	crashRulesAfter = `
purposes:
  - {key: marketing, description: Offers, lawful_basis: consent, retention: 400d}
  - {key: personalisation, description: Hints, lawful_basis: consent, retention: 400d}
let:
  orders: events("Order Completed")
segments:
  - {key: buyer, purpose: marketing, when: 'orders.count() >= 20'}
  - {key: big, purpose: marketing, when: 'orders.sum(properties.total) >= 3000 && !segment("refunds")'}
  - {key: refunds, purpose: marketing, when: 'events("Order Refunded").count() >= 3'}
  - {key: browsing, purpose: personalisation, when: 'events("Page Viewed").distinct(properties.name) >= 4'}
`
)

// TestCrashWhileRulesChange reloads the rules of a running process and kills it
// (kill -9) again and again while it changes over; in the end members are those
// of a group that had the new rules from the start.
func TestCrashWhileRulesChange(t *testing.T) {
	if testing.Short() {
		t.Skip("starts and kills processes")
	}
	c := newCrash(t)
	c.write("rules/shop.yaml", crashRulesBefore)
	c.write("c.yaml", c.changeConfig(crashGroup, "data"))
	c.startBroker()
	history := c.history(numberFrom(t, "SEGMENTD_CRASH_RECORDS", 20_000))
	half := len(history) / 2
	c.createInputs()
	c.produce(history[:half])
	p := c.startProcessor()
	c.awaitEnd()
	c.write("rules/shop.yaml", crashRulesAfter)
	c.must(p.cmd.Process.Signal(syscall.SIGHUP))
	c.until("the removal of members is refused", func() bool { return strings.Contains(p.log.String(), "the change of rules is refused") })
	status, _, text := request(t, "POST", "http://"+c.http+"/v1/admin/reload?allowRemovals=true", "", "")
	if status != 200 || !strings.Contains(text, `"removed":["gone"]`) {
		t.Fatalf("the reload was answered %d %s", status, text)
	}
	// From here on each process finds other rules than the one before it, and what
	// that was at.
	c.write("c.yaml", "allow_removals: true\n"+c.changeConfig(crashGroup, "data"))
	interrupted := 0
	kills := numberFrom(t, "SEGMENTD_CRASH_KILLS", 10)
	for i := range kills {
		c.until("it begins", func() bool { return strings.Contains(p.log.String(), "generation begins") })
		moment := time.Duration(c.rng.Int64N(int64(250 * time.Millisecond)))
		select {
		case <-time.After(moment):
		case <-p.ended:
			t.Fatalf("the processor ended by itself: %v\n%s", p.err, p.log.String())
		}
		p.kill()
		if strings.Count(p.log.String(), `"the rules change"`) > strings.Count(p.log.String(), `"the rules have changed"`) {
			interrupted++
		}
		if i == kills/2 {
			c.produce(history[half:])
		}
		c.write("rules/shop.yaml", fmt.Sprintf("revision: %d\n", i+1)+[]string{crashRulesBefore, crashRulesAfter}[(kills-i)%2])
		p = c.startProcessor()
	}
	t.Logf("%d of %d kills hit a change of rules", interrupted, kills)
	if interrupted == 0 {
		t.Error("no kill hit a change of rules")
	}
	c.awaitEnd()
	c.awaitFilled()
	p.stops(0)
	c.verifies()
	got := c.membersOf(crashGroup)
	c.write("c.yaml", c.changeConfig("fresh", "data-fresh"))
	p = c.startProcessor()
	c.awaitEnd()
	p.stops(0)
	want := c.membersOf("fresh")
	if d := cmp.Diff(want, got); d != "" || len(want) == 0 {
		t.Errorf("%d members (-fresh +changed)\n%s", len(want), d)
	}
	t.Logf("%d members", len(got))
}

// changeConfig makes reading again slow: small pieces.
func (c *crash) changeConfig(group, data string) string {
	return fmt.Sprintf("group: %s\nrules: %s/rules\ndata: %s\ninputs: [{topic: events, kind: event}, {topic: decisions, kind: decision}]\ntopics: {create: true}\n"+
		"processing: {batch_bytes: 64KiB}\n", group, c.dir, filepath.Join(c.dir, data))
}

// awaitFilled waits until no segment is being filled.
func (c *crash) awaitFilled() {
	c.t.Helper()
	c.until("all segments are filled", func() bool {
		body, err := get("http://" + c.http + "/v1/segments")
		return err == nil && !strings.Contains(body, "backfill")
	})
}

// membersOf is who is in what by a group's members topic.
func (c *crash) membersOf(group string) []string {
	c.t.Helper()
	rows := map[string]string{}
	members := processor.Topics{Group: group}.Members("")
	c.must(c.client.WaitTopics(c.t.Context(), members))
	readSettled(c.t, c.client, members, crashPartitions, func(r *stream.Record) {
		delete(rows, string(r.Key))
		if r.Value != nil {
			var m struct{ UserID, Segment string }
			c.must(json.Unmarshal(r.Value, &m))
			rows[string(r.Key)] = m.UserID + " in " + m.Segment
		}
	})
	return slices.Sorted(maps.Values(rows))
}

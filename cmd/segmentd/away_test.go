package main

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// child starts an instance as a process of its own and returns its URL once it
// is ready.
func (f *fleet) child(bin, name string) (p *process, url string) {
	f.t.Helper()
	f.writeRules(name, fleetRules)
	args, environ := f.settings(name)
	address := freeAddress(f.t)
	p = startProcess(f.t, environ, append(append([]string{bin, "run"}, args...), "--listen", address))
	url = "http://" + address
	poll(f.t, name+" is ready", func() bool {
		select {
		case <-p.ended:
			f.t.Fatalf("%s ended: %v\n%s", name, p.err, p.log.String())
		default:
		}
		res, err := http.Get(url + "/readyz")
		return err == nil && res.Body.Close() == nil && res.StatusCode == http.StatusOK
	})
	return p, url
}

// An instance that stood still beyond its session, as with its machine, finds
// its partitions at another one. When it wakes it disturbs nobody, tells nobody
// what was before, and takes its share again.
func TestCrashPausedInstance(t *testing.T) {
	if testing.Short() {
		t.Skip("starts and stops processes")
	}
	f := newFleet(t)
	f.session = 2 * time.Second
	bin := buildBinary(t, f.dir)
	a := f.add("a", fleetRules)
	a.start()
	b, url := f.child(bin, "b")
	ids := subjects(20)
	for _, id := range ids {
		f.order(id)
	}
	f.published(ids)
	owners := f.owners(2)
	var moved []string // subjects of b
	for _, id := range ids {
		if owners[f.partition(id)] == url {
			moved = append(moved, id)
		}
	}
	if err := b.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	for p, owner := range f.owners(1) {
		if owner != a.url() {
			t.Errorf("partition %d is at %s", p, owner)
		}
	}
	for _, id := range ids {
		f.order(id)
	}
	f.published(ids)
	if err := b.cmd.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	f.neverTellsWhatWas(url, moved)
	f.owners(2)
	for _, id := range subjects(40) {
		f.order(id)
	}
	f.published(subjects(40))
	f.neverTellsWhatWas(url, moved)
	f.verify()
	if strings.Contains(a.log.String(), "partition recovers") {
		t.Errorf("the rightful owner was disturbed:\n%s", a.log.String())
	}
	b.stops(0)
}

// neverTellsWhatWas asks an instance for subjects until it answers each, itself
// or by the owner: all that it ever answers is how they are now.
func (f *fleet) neverTellsWhatWas(url string, ids []string) {
	f.t.Helper()
	for _, id := range ids {
		poll(f.t, "a look-up of "+id, func() bool {
			status, _, body := request(f.t, "GET", url+"/v1/subjects/"+id, "", "")
			if status == http.StatusServiceUnavailable {
				return false
			}
			if got := f.segmentsIn(body); status != http.StatusOK || !slices.Equal(without(got, []string{"known"}), f.want(id)) {
				f.t.Fatalf("%s is said to be in %v (%d), and is in %v", id, got, status, f.want(id))
			}
			return true
		})
	}
}

// An instance of three that was killed is back with what it had long before the
// session of its dead self would have timed out.
func TestCrashOneOfThree(t *testing.T) {
	if testing.Short() {
		t.Skip("starts and kills processes")
	}
	f := newFleet(t)
	f.session = time.Minute
	bin := buildBinary(t, f.dir)
	a, b := f.add("a", fleetRules), f.add("b", fleetRules)
	a.start()
	c, url := f.child(bin, "c")
	b.start()
	ids := subjects(20)
	for _, id := range ids {
		f.order(id)
	}
	f.published(ids)
	owners := f.owners(3)
	c.kill()
	began := time.Now()
	c, again := f.child(bin, "c")
	for p, owner := range f.owners(3) {
		if was := owners[p]; owner != was && (was != url || owner != again) {
			t.Errorf("partition %d was at %s and is at %s", p, was, owner)
		}
	}
	for _, id := range ids {
		f.order(id)
	}
	f.published(ids)
	if took := time.Since(began); took > f.session*3/4 {
		t.Errorf("it took %s, with sessions of %s", took, f.session)
	}
	f.verify()
	c.stops(0)
}

// Instances come, go and are told that they are out, at random, while orders
// arrive and rules change at one or the other; in the end every subject is where
// it must be, nothing was published twice or left out, and no partition has gone
// back to older rules. SEGMENTD_CRASH_KILLS sets how much happens,
// SEGMENTD_CRASH_SEED repeats a run as far as the machine allows.
func TestCrashGroupAtRandom(t *testing.T) {
	if testing.Short() {
		t.Skip("starts and stops many instances")
	}
	f := newFleet(t)
	seed := numberFrom(t, "SEGMENTD_CRASH_SEED", rand.IntN(1<<30))
	t.Logf("SEGMENTD_CRASH_SEED=%d", seed)
	rng := rand.New(rand.NewPCG(uint64(seed), 17))
	members := []*member{f.add("a", fleetRules), f.add("b", fleetRules), f.add("c", fleetRules)}
	members[0].start()
	ids := subjects(40)
	published := []string{members[0].service.processor.Rules().Hash}
	for range numberFrom(t, "SEGMENTD_CRASH_KILLS", 12) {
		for range rng.IntN(20) {
			f.order(ids[rng.IntN(len(ids))])
		}
		m := members[rng.IntN(len(members))]
		switch {
		case m.cancel == nil:
			f.must(m.launch(m.config()))
		case rng.IntN(3) == 0:
			published = append(published, f.publish(m, len(published)+1))
		case rng.IntN(3) == 0 && !f.broker.Real():
			f.broker.Embedded().Cluster().Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Heartbeat}, Err: kerr.UnknownMemberID, Count: 1})
		case running(members) > 1:
			m.stop()
		}
	}
	for _, m := range members {
		if m.cancel == nil {
			f.must(m.launch(m.config()))
		}
	}
	f.owners(len(members))
	f.published(ids)
	for _, m := range members {
		f.neverTellsWhatWas(m.url(), ids)
	}
	f.verify()
	for p, sets := range f.ruleSets() {
		at := -1
		for _, set := range sets {
			next := slices.Index(published, set)
			if next <= at {
				t.Errorf("partition %d followed %v; published were %v", p, sets, published)
			}
			at = next
		}
		if last := len(sets) - 1; last < 0 || sets[last] != published[len(published)-1] {
			t.Errorf("partition %d follows %v in the end; published were %v", p, sets, published)
		}
	}
}

func running(members []*member) (n int) {
	for _, m := range members {
		if m.cancel != nil {
			n++
		}
	}
	return n
}

// publish reloads rules of a revision at an instance, and returns their hash.
func (f *fleet) publish(m *member, revision int) string {
	f.t.Helper()
	f.writeRules(m.name, strings.Replace(fleetRules, "revision: 1", fmt.Sprintf("revision: %d", revision), 1)+
		fmt.Sprintf("  - {key: known, purpose: marketing, when: 'orders.count() >= 0 && orders.count() < %d'}\n", 1000+revision))
	var answer struct{ RuleSet string }
	poll(f.t, "rules are taken", func() bool {
		status, _, body := request(f.t, "POST", m.url()+"/v1/admin/reload", "", "")
		if status == http.StatusServiceUnavailable {
			return false // published, and a partition is busy
		}
		if status != http.StatusOK {
			f.t.Fatalf("reload at %s: %d %s", m.name, status, body)
		}
		f.must(json.Unmarshal([]byte(body), &answer))
		return true
	})
	return answer.RuleSet
}

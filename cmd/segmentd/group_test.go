package main

import (
	"bytes"
	"context"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// threeAtWork are three instances that have published of thirty subjects.
func threeAtWork(t *testing.T) (f *fleet, members []*member, ids []string) {
	t.Helper()
	f, ids = newFleet(t), subjects(30)
	for _, name := range []string{"a", "b", "c"} {
		members = append(members, f.add(name, fleetRules))
	}
	for _, m := range members {
		m.start()
	}
	for _, id := range ids {
		f.order(id)
	}
	f.published(ids)
	return f, members, ids
}

// Three instances share the partitions; every one of them can be asked for every
// subject; and they are restarted one after the other, under load, without more
// partitions moving than must and without a fault in what is published.
func TestGroupOfThree(t *testing.T) {
	f, members, ids := threeAtWork(t)
	owners := f.owners(3)
	for _, m := range members {
		eventuallyStatus(t, m.url()+"/readyz", http.StatusOK)
	}
	for _, m := range members {
		f.everySubjectIsKnownAt(m, ids, owners)
	}
	f.redirectsEndAtOnce(members, ids, owners)
	for i, m := range members {
		f.restart(m, i, ids, owners)
	}
	if !f.broker.Real() {
		f.evict()
	}
	f.order(ids[len(ids)-1])
	f.published(ids)
	f.verify()
}

// evict has one member told that it is out of the group, while the others and the
// coordinator go on with it, and waits until all share the partitions again.
func (f *fleet) evict() {
	f.t.Helper()
	told := f.broker.Embedded().Cluster().Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Heartbeat}, Err: kerr.UnknownMemberID, Count: 1})
	poll(f.t, "a member is told", func() bool { return told.Hits() > 0 })
	f.owners(3)
}

// everySubjectIsKnownAt asks an instance for every subject, in each way that
// there is, as one who follows redirects.
func (f *fleet) everySubjectIsKnownAt(m *member, ids []string, owners map[int32]string) {
	f.t.Helper()
	own := 0
	for _, id := range ids {
		if owners[f.partition(id)] == m.url() {
			own++
		}
		for _, c := range []struct{ method, path, body, want string }{
			{"GET", "/v1/subjects/" + id, "", `"segment":"buyer"`},
			{"GET", "/v1/subjects/" + id + "/explain?segment=buyer", "", `"member":true`},
			{"POST", "/v1/subjects/lookup", `{"userId":"` + id + `"}`, `"segment":"buyer"`},
			{"POST", "/v1/subjects/explain", `{"userId":"` + id + `","segment":"buyer"}`, `"member":true`},
		} {
			status, _, text := request(f.t, c.method, m.url()+c.path, "", c.body)
			if status != http.StatusOK || !strings.Contains(text, c.want) || !strings.Contains(text, id) {
				f.t.Fatalf("%s %s %s at %s: %d %s", c.method, c.path, c.body, m.name, status, text)
			}
		}
	}
	if own == 0 || own == len(ids) {
		f.t.Errorf("%s owns %d of %d subjects", m.name, own, len(ids))
	}
	for _, args := range [][]string{{"members", ids[0]}, {"explain", ids[0], "buyer"}} {
		var out bytes.Buffer
		if code := run(context.Background(), append(args, "--url", m.url()), streams{nil, &out, &out}); code != 0 || !strings.Contains(out.String(), "buyer") {
			f.t.Errorf("%v at %s: %d %s", args, m.name, code, &out)
		}
	}
}

// redirectsEndAtOnce asks who does not own a subject: it names the owner, once.
func (f *fleet) redirectsEndAtOnce(members []*member, ids []string, owners map[int32]string) {
	f.t.Helper()
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	ask := func(m *member, path string) *http.Response {
		res, err := client.Get(m.url() + path)
		f.must(err)
		f.must(res.Body.Close())
		return res
	}
	strange := "?idType=anonymousId&x=a%2Fb"
	for _, m := range members {
		for _, id := range ids {
			owner := owners[f.partition(id)]
			if owner == m.url() {
				continue
			}
			res := ask(m, "/v1/subjects/"+id+strange)
			at, err := url.Parse(res.Header.Get("Location"))
			if err != nil || res.StatusCode != http.StatusTemporaryRedirect || "http://"+at.Host != owner || at.Path != "/v1/subjects/"+id ||
				at.Query().Get("x") != "a/b" || at.Query().Get("idType") != "anonymousId" || at.Query().Get("redirected") != "true" {
				f.t.Fatalf("%s answers %d, Location %q; the owner is %s", m.name, res.StatusCode, res.Header.Get("Location"), owner)
			}
			if res := ask(m, "/v1/subjects/"+id+"?redirected=true"); res.StatusCode != http.StatusServiceUnavailable || res.Header.Get("Retry-After") == "" {
				f.t.Fatalf("%s sends on what was sent to it: %d", m.name, res.StatusCode)
			}
		}
	}
}

// restart stops an instance and starts it again, with orders all the time. What
// the others had stays with them; what it had it has again.
func (f *fleet) restart(m *member, i int, ids []string, owners map[int32]string) {
	f.t.Helper()
	before := m.url()
	m.stop()
	f.order(ids[3*i])
	for p, owner := range f.owners(2) {
		if owners[p] != before && owners[p] != owner {
			f.t.Errorf("while %s is away, partition %d moves from %s to %s", m.name, p, owners[p], owner)
		}
		if owner == before {
			f.t.Errorf("%s has left and owns partition %d", m.name, p)
		}
	}
	f.order(ids[3*i+1])
	m.start()
	for p, owner := range f.owners(3) {
		was := owners[p]
		if was == before {
			was = m.url() // on another port
		}
		if owner != was {
			f.t.Errorf("after the restart of %s, partition %d is at %s and not at %s", m.name, p, owner, was)
		}
		owners[p] = owner
	}
	f.order(ids[3*i+2])
}

// A rolling deployment of changed rules switches every partition once, whichever
// instance has it, and never back: not by an instance that starts with the older
// files meanwhile, nor by partitions that move.
func TestRollingDeploymentOfRules(t *testing.T) {
	f, members, ids := threeAtWork(t)
	newer := strings.Replace(fleetRules, "revision: 1", "revision: 2", 1) + "  - {key: known, purpose: marketing, when: 'orders.count() >= 0'}\n"
	first := members[0].service.processor.Rules().Hash
	a, b, c := members[0], members[1], members[2]
	a.stop()
	f.writeRules(a.name, newer)
	a.start()
	second := a.service.processor.Rules().Hash
	for _, m := range members {
		eventuallyBody(t, m.url()+"/v1/segments", `"key":"known"`)
	}
	b.stop() // with the older files
	b.start()
	if !strings.Contains(b.log.String(), "superseded: it follows the newer rules") {
		t.Errorf("b does not say that its files are old:\n%s", b.log.String())
	}
	for _, m := range []*member{b, c} {
		m.stop()
		f.writeRules(m.name, newer)
		m.start()
	}
	for _, id := range ids {
		f.order(id)
		eventuallyBody(t, members[len(id)%3].url()+"/v1/subjects/"+id, `"segment":"known"`)
	}
	f.published(ids)
	for p, sets := range f.ruleSets() {
		if !slices.Equal(sets, []string{first, second}) {
			t.Errorf("partition %d followed %v; want %s, then %s", p, sets, first, second)
		}
	}
	f.oneReloadReachesAll(members, newer)
	f.olderRevisionIsRefused(newer)
	f.verify()
}

// oneReloadReachesAll reloads changed rules at one instance.
func (f *fleet) oneReloadReachesAll(members []*member, rules string) {
	f.t.Helper()
	reload := func(text, query string) (int, string) {
		f.writeRules(members[1].name, text)
		status, _, body := request(f.t, "POST", members[1].url()+"/v1/admin/reload"+query, "", "")
		return status, body
	}
	third := strings.Replace(rules, "revision: 2", "revision: 3", 1) + "  - {key: third, purpose: marketing, when: 'orders.count() >= 3'}\n"
	if status, body := reload(third, ""); status != http.StatusOK || !strings.Contains(body, `"added":["third"]`) {
		f.t.Errorf("%d %s", status, body)
	}
	for _, m := range members {
		eventuallyBody(f.t, m.url()+"/v1/segments", `"key":"third"`)
	}
	if status, body := reload(rules, ""); status != http.StatusConflict || !strings.Contains(body, "others have superseded them") {
		f.t.Errorf("superseded rules: %d %s", status, body)
	}
	// The members that a removal concerns are those of all instances.
	removed := strings.Replace(strings.Replace(third, "revision: 3", "revision: 4", 1), "{key: buyer,", "{key: customer,", 1)
	if status, body := reload(removed, ""); status != http.StatusConflict || !strings.Contains(body, "buyer (30 members)") {
		f.t.Errorf("a removal: %d %s", status, body)
	}
	if status, body := reload(removed, "?allowRemovals=true"); status != http.StatusOK {
		f.t.Errorf("an allowed removal: %d %s", status, body)
	}
	for _, m := range members {
		eventuallyBody(f.t, m.url()+"/v1/segments", `"key":"customer"`)
	}
}

// olderRevisionIsRefused starts a further instance with rules that were never
// published and are older than those in force.
func (f *fleet) olderRevisionIsRefused(rules string) {
	f.t.Helper()
	d := f.add("d", rules+"  - {key: other, purpose: marketing, when: 'orders.count() >= 9'}\n")
	err := d.launch(d.config())
	if status(err) != exitUsage || !strings.Contains(err.Error(), "its revision 2 is lower than 4") {
		f.t.Errorf("it ended with %v", err)
	}
}

// An instance whose transaction the broker does not end gives its partitions up
// all the same when another one joins, and that one does again what was under way.
func TestHungTransactionHoldsUpNobody(t *testing.T) {
	f := newFleet(t)
	f.session = 45 * time.Second
	cluster := f.broker.Embedded().Cluster()
	a, b := f.add("a", fleetRules), f.add("b", fleetRules)
	a.start()
	ids := subjects(20)
	for _, id := range ids[:10] {
		f.order(id)
	}
	f.published(ids[:10])
	hung, release := make(chan struct{}), make(chan struct{})
	var once atomic.Bool
	cluster.ControlKey(int16(kmsg.EndTxn), func(kmsg.Request) (kmsg.Response, error, bool) {
		if once.CompareAndSwap(false, true) {
			close(hung)
			cluster.SleepControl(func() { <-release })
		}
		return nil, nil, false
	})
	for _, id := range ids {
		f.order(id)
	}
	<-hung
	began := time.Now()
	if err := b.launch(b.config()); err != nil {
		t.Fatal(err)
	}
	f.owners(2)
	if took := time.Since(began); took > f.session*2/3 {
		t.Errorf("the others waited %s", took)
	}
	close(release)
	f.published(ids)
	f.verify()
}

package main

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// Rules are read again by request and by SIGHUP; what is wrong with them, or
// must not be, is told and changes nothing.
func TestReload(t *testing.T) {
	dir := t.TempDir()
	example, err := os.ReadFile("../../deployments/example/rules/shop.yaml")
	if err != nil {
		t.Fatal(err)
	}
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, "shop.yaml"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(string(example))
	s := startServiceWith(t, "127.0.0.1:0", dir)
	base := "http://" + s.admin.Addr().String()
	eventuallyStatus(t, base+"/readyz", http.StatusOK)
	consenting(t, s)
	eventuallyBody(t, base+"/v1/subjects/u1", `"segment":"big_spenders"`)
	fresh := string(example) + "\n  - {key: fresh, purpose: marketing, when: 'orders.within(\"1d\").exists()'}\n"
	health := strings.Replace(string(example), "purposes:", "purposes:\n  - {key: health, description: H, lawful_basis: consent, retention: 9d, output: health}", 1)
	again := strings.Replace(strings.ReplaceAll(health, "big_spenders", "huge_spenders"), "revision: 1", "revision: 2", 1)
	for _, c := range []struct {
		name, rules, query string
		status             int
		want               string
	}{
		{"the same", string(example), "", 200, `"revision":1,"changed":false,"segments":{"added":[],"changed":[],"removed":[]}`},
		{"errors", strings.ReplaceAll(string(example), "orders.exists()", "ordres.exists()"), "", 422, `"problems":["` + dir + `/shop.yaml:`},
		{"none", "revision: 1\n", "", 422, "no segments"},
		{"a bad query", string(example), "?allowRemovals=maybe", 400, "true or false"},
		{"another one", fresh, "", 200, `"changed":true,"segments":{"added":["fresh"],"changed":[],"removed":[]}`},
		{"a removal", strings.ReplaceAll(fresh, "big_spenders", "huge_spenders"), "", 409, "big_spenders (1 member)"},
		{"an older revision", strings.Replace(fresh+"\n  - {key: more, purpose: marketing, when: 'orders.exists()'}\n", "revision: 1", "revision: 0", 1), "", 409, "revision 0 is lower than 1"},
		{"an allowed removal", strings.ReplaceAll(string(example), "big_spenders", "huge_spenders"), "?allowRemovals=true", 200, `"removed":["big_spenders","fresh","lapsed_big_spenders"]`},
		{"other topics", strings.ReplaceAll(health, "big_spenders", "huge_spenders"), "", 200, `"changed":true`},
		{"nothing at all", "revision: 1\n", "?allowRemovals=true", 200, `"added":[],"changed":[],"removed":["huge_spenders"`},
		{"rules of before", strings.ReplaceAll(health, "big_spenders", "huge_spenders"), "", 409, "others have superseded them"},
		{"everything again", again, "", 200, `"changed":true`},
	} {
		write(c.rules)
		status, header, text := request(t, "POST", base+"/v1/admin/reload"+c.query, "", "")
		if status != c.status || !strings.Contains(text, c.want) {
			t.Errorf("%s: %d %s, want %d with %q", c.name, status, text, c.status, c.want)
		}
		if status >= 400 {
			isProblem(t, status, header, text)
		}
	}
	eventuallyBody(t, base+"/v1/subjects/u1", `"segment":"huge_spenders"`)
	topics, err := s.client.Topics(t.Context())
	if err != nil || topics["segmentd-health-changes"].Partitions != 2 {
		t.Errorf("the topics of another output were not made: %v (%v)", topics, err)
	}
	write(fresh)
	hangUp(t)
	write(again + "\n  - {key: hung_up, purpose: health, when: 'orders.exists()'}\n")
	poll(t, "a hangup reloads", func() bool {
		hangUp(t)
		_, _, text := request(t, "GET", base+"/v1/segments", "", "")
		return strings.Contains(text, `"key":"hung_up"`)
	})
}

// hangUp sends SIGHUP to this process.
func hangUp(t *testing.T) {
	t.Helper()
	self, err := os.FindProcess(os.Getpid())
	if err == nil {
		err = self.Signal(syscall.SIGHUP)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// Topics that a changed rule set needs and that may not be made are named.
func TestReloadWithoutItsTopics(t *testing.T) {
	dir := t.TempDir()
	example, err := os.ReadFile("../../deployments/example/rules/shop.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "shop.yaml"), example, 0o600); err != nil {
		t.Fatal(err)
	}
	s := startServiceWith(t, "127.0.0.1:0", dir)
	s.cfg.Topics.Create = false
	base := "http://" + s.admin.Addr().String()
	eventuallyStatus(t, base+"/readyz", http.StatusOK)
	moved := strings.Replace(string(example), "retention: 400d", "retention: 400d\n    output: offers", 1)
	if err := os.WriteFile(filepath.Join(dir, "shop.yaml"), []byte(moved), 0o600); err != nil {
		t.Fatal(err)
	}
	status, header, text := request(t, "POST", base+"/v1/admin/reload", "", "")
	isProblem(t, status, header, text)
	if status != 409 || !strings.Contains(text, "topics are missing: segmentd-offers-changes, segmentd-offers-members") {
		t.Errorf("%d %s", status, text)
	}
}

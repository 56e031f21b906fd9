package main

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// What an operator asks of a partition reaches its owner, whichever instance is
// asked, and nobody else; and it ends with the owner.
func TestPauseReachesTheOwner(t *testing.T) {
	f := newFleet(t)
	a, b := f.add("a", fleetRules), f.add("b", fleetRules)
	a.start()
	b.start()
	id, partition := "", int32(-1)
	owners := f.owners(2)
	for _, one := range subjects(30) {
		if p := f.partition(one); owners[p] == b.url() {
			id, partition = one, p
		}
	}
	f.order(id)
	eventuallyBody(t, a.url()+"/v1/subjects/"+id, `"segment":"buyer"`)
	for _, m := range []*member{a, b} {
		eventuallyStatus(t, m.url()+"/readyz", http.StatusOK)
	}
	f.sendsOn(a, "/v1/admin/pause", fmt.Sprint("partition=", partition), b)
	f.sendsOn(a, "/v1/admin/resume", fmt.Sprint("acceptGap=true&partition=", partition), b)
	posts := func(page string, status int, want string) {
		t.Helper()
		if got, _, text := request(t, "POST", a.url()+page, "", ""); got != status || !strings.Contains(text, want) {
			t.Errorf("%s: %d %s, want %d with %s", page, got, text, status, want)
		}
	}
	paused := fmt.Sprintf(`{"partition":%d,"state":"paused"}`, partition)
	posts(fmt.Sprint("/v1/admin/pause?partition=", partition), http.StatusOK, paused)
	posts("/v1/admin/pause?partition=99", http.StatusNotFound, "there is no partition 99")
	posts("/v1/admin/resume?partition=99", http.StatusNotFound, "there is no partition 99")
	eventuallyBody(t, b.url()+"/v1/status", paused)
	eventuallyStatus(t, a.url()+"/readyz", http.StatusOK)
	if status, _, text := request(t, "GET", a.url()+"/v1/subjects/"+id, "", ""); status != http.StatusServiceUnavailable || !strings.Contains(text, fmt.Sprintf("partition %d is paused", partition)) {
		t.Errorf("a look-up says %d %s", status, text)
	}

	resumes := func(status int, want string, args ...string) {
		t.Helper()
		var out bytes.Buffer
		args = append([]string{"resume", "--url", a.url(), "--partition", fmt.Sprint(partition)}, args...)
		if code := run(context.Background(), args, streams{nil, &out, &out}); code != status || !strings.Contains(out.String(), want) {
			t.Errorf("%v ended with %d, want %d with %q:\n%s", args, code, status, want, &out)
		}
	}
	resumes(exitUsage, b.url()+" answered 409: not resumed", "--accept-gap")
	resumes(0, fmt.Sprintf("partition %d goes on\n", partition))
	eventuallyStatus(t, b.url()+"/readyz", http.StatusOK)

	posts(fmt.Sprint("/v1/admin/pause?partition=", partition), http.StatusOK, paused)
	b.stop()
	eventuallyBody(t, a.url()+"/v1/status", fmt.Sprintf(`{"partition":%d,"state":"ready"}`, partition)) // from here on a names b no more
	f.order(id)
	eventuallyBody(t, a.url()+"/v1/subjects/"+id, `"segment":"regular"`)
	eventuallyStatus(t, a.url()+"/readyz", http.StatusOK)
	f.verify()
}

// sendsOn asks one that does not own the partition of a query: it names the owner,
// and does not send on what was sent to it.
func (f *fleet) sendsOn(asked *member, page, query string, owner *member) {
	f.t.Helper()
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	for _, c := range []struct {
		query  string
		status int
		at     string
	}{
		{query, http.StatusTemporaryRedirect, owner.url() + page + "?" + query + "&redirected=true"},
		{query + "&redirected=true", http.StatusServiceUnavailable, ""},
	} {
		res, err := client.Post(asked.url()+page+"?"+c.query, "", nil)
		f.must(err)
		f.must(res.Body.Close())
		if at := res.Header.Get("Location"); res.StatusCode != c.status || at != c.at {
			f.t.Errorf("%s?%s: %d, Location %q; want %d, %q", page, c.query, res.StatusCode, at, c.status, c.at)
		}
	}
}

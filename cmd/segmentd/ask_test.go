package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// An owner that has died is told from the instance that was asked.
func TestAskDeadOwner(t *testing.T) {
	dead := httptest.NewServer(http.NotFoundHandler())
	dead.Close()
	asked := httptest.NewServer(http.RedirectHandler(dead.URL+"/v1/subjects/lookup?redirected=true", http.StatusTemporaryRedirect))
	defer asked.Close()
	_, err := (&asker{url: asked.URL}).ask(t.Context(), "/v1/subjects/lookup", map[string]string{"userId": "u1"})
	if err == nil || status(err) != exitEnvironment {
		t.Fatal(err)
	}
	for _, want := range []string{asked.URL + " sent the question on to " + dead.URL + ", which owns", "refused", "kafka.session_timeout"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in: %v", want, err)
		}
	}
	if strings.Contains(err.Error(), "u1") {
		t.Errorf("the subject is named: %v", err)
	}
}

// Nobody is told that a partition goes on of which the answer does not tell.
func TestResumedElsewhere(t *testing.T) {
	for body, want := range map[string]string{
		`{"joined":true,"partitions":[{"partition":5,"state":"restoring"}]}`: "",
		`{"joined":true,"partitions":[{"partition":4,"state":"ready"}]}`:     "partition 5 has moved",
	} {
		var out strings.Builder
		err := printResumed(&invocation{streams: streams{out: &out}}, []byte(body), 5)
		if text := fmt.Sprint(err); (err == nil) != (want == "") || !strings.Contains(text, want) || (out.String() == "partition 5 goes on\n") != (err == nil) {
			t.Errorf("%s: %v, %q", body, err, out.String())
		}
		if err != nil && status(err) != exitEnvironment {
			t.Errorf("%s: exit status %d", body, status(err))
		}
	}
}

// One id is read; what else there is is not passed over in silence.
func TestReadLine(t *testing.T) {
	for text, want := range map[string]string{"u1": "u1", "u1\n": "u1", "u1\r\n": "u1", " u 1 \n\n": " u 1 ", "": ""} {
		if got, err := readLine(strings.NewReader(text)); got != want || err != nil {
			t.Errorf("%q: %q, %v", text, got, err)
		}
	}
	if _, err := readLine(strings.NewReader("u1\nu2\n")); err == nil || status(err) != exitUsage {
		t.Errorf("two lines: %v", err)
	}
}

// An id in another encoding is refused: as JSON it would be the id of somebody else.
func TestUserOfAnotherEncoding(t *testing.T) {
	const latin1 = "zo\xeb"
	for _, inv := range []*invocation{{args: []string{latin1}}, {args: []string{"-"}, streams: streams{in: strings.NewReader(latin1 + "\n")}}} {
		if user, err := readUser(inv); err == nil || status(err) != exitUsage || strings.Contains(err.Error(), latin1) {
			t.Errorf("%v: %q, %v", inv.args, user, err)
		}
	}
	f := explainFlags{user: latin1, output: "text", idType: "userId"}
	if err := f.read(&invocation{}, false); err == nil || status(err) != exitUsage {
		t.Error("replay --explain:", err)
	}
	if user, err := readUser(&invocation{args: []string{"zoë"}}); user != "zoë" || err != nil {
		t.Errorf("%q, %v", user, err)
	}
}

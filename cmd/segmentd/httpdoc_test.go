package main

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/segmentd/segmentd/processor/access"
)

const httpDocument = "../../HTTP.md"

// TestHTTPDocument runs the commands of HTTP.md, one after the other, and
// compares what they answer; -update writes the answers anew.
func TestHTTPDocument(t *testing.T) {
	text, err := os.ReadFile(httpDocument)
	if err != nil {
		t.Fatal(err)
	}
	d := newHTTPDoc(t)
	var out bytes.Buffer
	console, ran := false, 0
	for line := range strings.Lines(string(text)) {
		command, isCommand := strings.CutPrefix(line, "$ ")
		switch {
		case strings.HasPrefix(line, "```"):
			console = line == "```console\n"
			out.WriteString(line)
		case console && isCommand:
			ran++
			out.WriteString(line + d.run(strings.TrimSpace(command)))
		case !console:
			out.WriteString(line)
		}
	}
	if ran < 25 {
		t.Errorf("%d commands were found", ran)
	}
	if *updateScripts {
		if err := os.WriteFile(httpDocument, out.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(d.steady(string(text)), d.steady(out.String())); diff != "" {
		t.Errorf("HTTP.md does not say what is so (-update writes it anew):\n%s", diff)
	}
}

var route = regexp.MustCompile(`pattern: "(?:[A-Z]+ )?(/[^"]+)"`)

// TestHTTPDocumentHasEveryPage looks for the routes of the source in the document.
func TestHTTPDocumentHasEveryPage(t *testing.T) {
	source, err := os.ReadFile("../../processor/admin/page.go")
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(httpDocument)
	if err != nil {
		t.Fatal(err)
	}
	found := route.FindAllStringSubmatch(string(source), -1)
	for _, r := range found {
		if !bytes.Contains(text, []byte("`"+r[1]+"`")) {
			t.Errorf("HTTP.md has no %s", r[1])
		}
	}
	if len(found) < 15 {
		t.Errorf("%d routes were found", len(found))
	}
}

// httpDoc is the instance that the document asks.
type httpDoc struct {
	t     *testing.T
	bases *strings.Replacer // by the addresses in the document: one without tokens, one with
	keys  *strings.Replacer // by the variables in the document
	rules string            // file
	right []byte            // what is in it at the start
}

// newHTTPDoc starts one with the rules of README.md, of which ada is a big spender.
func newHTTPDoc(t *testing.T) *httpDoc {
	t.Helper()
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	d := &httpDoc{t: t, rules: filepath.Join(t.TempDir(), "shop.yaml")}
	for _, b := range fence.FindAllStringSubmatch(string(readme), -1) {
		if b[1] == "yaml" && strings.HasPrefix(b[2], "purposes:") {
			d.right = []byte(b[2])
		}
	}
	d.write(d.right)
	s := startServiceAs(t, serviceSetup{listen: "127.0.0.1:0", rules: filepath.Dir(d.rules), environ: newController(t).environ()})
	base := "http://" + s.admin.Addr().String()
	eventuallyStatus(t, base+"/readyz", http.StatusOK)
	send(t, s, "decisions", "ada", `{"type":"decision","userId":"ada","purpose":"marketing","status":"given"}`)
	for _, total := range []string{"320.50", "180"} {
		send(t, s, "events", "ada", fmt.Sprintf(`{"type":"track","userId":"ada","event":"Order Completed","properties":{"total":%s}}`, total))
	}
	eventuallyBody(t, base+"/v1/subjects/ada", `"segment":"big_spenders"`)
	keys := newKeyring(t)
	guarded := startServiceAs(t, serviceSetup{listen: "127.0.0.1:0", rules: filepath.Dir(d.rules), environ: keys.environ()})
	atGuarded := "http://" + guarded.admin.Addr().String()
	eventuallyStatus(t, atGuarded+"/readyz", http.StatusOK)
	d.bases = strings.NewReplacer("http://127.0.0.1:8080", base, "http://127.0.0.1:8081", atGuarded)
	d.keys = strings.NewReplacer("$READER", keys.byRole[access.Reader], "$OPERATOR", keys.byRole[access.Operator], "$PRIVACY", keys.byRole[access.Privacy])
	return d
}

func (d *httpDoc) write(rules []byte) {
	d.t.Helper()
	if err := os.WriteFile(d.rules, rules, 0o600); err != nil {
		d.t.Fatal(err)
	}
}

// edits are what commands say of the rule file behind a #.
var edits = map[string]struct{ from, to string }{
	"":                     {},
	"order.exists()":       {"orders.exists()", "order.exists()"},
	"without big_spenders": {"big_spenders", "huge_spenders"},
}

var words = regexp.MustCompile(`'[^']*'|"[^"]*"|\S+`)

// run does what a curl command says and returns the answer.
func (d *httpDoc) run(command string) string {
	d.t.Helper()
	command, edit, _ := strings.Cut(command, "  # ")
	change, ok := edits[edit]
	if !ok {
		d.t.Fatalf("unknown edit %q", edit)
	}
	d.write(bytes.ReplaceAll(d.right, []byte(change.from), []byte(change.to)))
	method, body, url := http.MethodGet, "", ""
	headers := http.Header{}
	args := words.FindAllString(command, -1)
	for i := 1; i < len(args); i++ {
		option := args[i]
		if strings.HasPrefix(option, "-") {
			i++
		}
		value := strings.Trim(args[i], `'"`)
		switch option {
		case "-X":
			method = value
		case "-d":
			method, body = http.MethodPost, strings.Trim(args[i], "'")
		case "-H":
			name, text, _ := strings.Cut(value, ": ")
			headers.Add(name, d.keys.Replace(text))
		default:
			url = d.bases.Replace(value)
		}
	}
	status, header, text := d.request(method, url, body, headers)
	if status >= 400 && strings.HasPrefix(text, "{") {
		isProblem(d.t, status, header, text)
	}
	if !strings.HasSuffix(text, "\n") {
		d.t.Errorf("the answer to %s does not end its line", command)
	}
	return strings.ReplaceAll(notices.ReplaceAllString(text, `"about":{…}}`), filepath.Dir(d.rules), "rules")
}

func (d *httpDoc) request(method, url, body string, headers http.Header) (status int, header http.Header, text string) {
	d.t.Helper()
	req, err := http.NewRequestWithContext(d.t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		d.t.Fatal(err)
	}
	req.Header, req.Host = headers, headers.Get("Host")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		d.t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		d.t.Fatal(err)
	}
	return res.StatusCode, res.Header, string(b)
}

// notices are long, and shown elsewhere.
var notices = regexp.MustCompile(`"about":\{"language":"en".*"rights":\[.*"exercise":\[.*\}\}`)

var unsteady = regexp.MustCompile(`\d{4}-\d\d-\d\dT[\d:.]+Z|\b[0-9a-f]{32,64}\b|"processor_signature":"[^"]*"|"request_status":"(?:pending|completed)"`)

// goingOn is the answer to a partition's being told to go on: it may be at once.
var goingOn = regexp.MustCompile(`(admin/resume\?partition=1'\n\{.*"partition":1,"state":)"(?:restoring|ready)"`)

// steady leaves out what differs from run to run.
func (*httpDoc) steady(text string) string {
	return goingOn.ReplaceAllString(unsteady.ReplaceAllString(text, "…"), `$1"…"`)
}

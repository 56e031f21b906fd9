package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/segmentd/segmentd/config"
	"github.com/segmentd/segmentd/processor/access"
)

// askFlags say which running instance a command asks, and as whom.
type askFlags struct {
	url, tokenFile *string
	owners         *[]string
	tls            config.ClientTLS
}

// askHelp is for the help of commands that ask one.
const askHelp = `The instance is that of --url, else the one whose http.listen is in the configuration (--config, SEGMENTD_…). Its token is
in --token-file, or SEGMENTD_TOKEN. Where another instance owns the partition concerned the question is sent on to it, the
token only if that is on the same host or on one that --owners names.`

func addAskFlags(fs *pflag.FlagSet) *askFlags {
	config.AddFlags(fs, "config")
	f := &askFlags{
		url:       fs.String("url", "", "`address` of the instance, as 127.0.0.1:8080 or https://host:port (default http.listen of the configuration)"),
		tokenFile: fs.String("token-file", "", "`file` that holds the bearer token, as 'segmentd token create' printed it"),
		owners:    fs.StringSlice("owners", nil, "`hosts` of other instances that may be shown the token, as segmentd-1.example.com or *.segmentd.example.com"),
	}
	fs.StringVar(&f.tls.CAFile, "ca-file", "", "PEM `file` of the authorities that may sign the instance's certificate (default: the system's)")
	fs.StringVar(&f.tls.CertFile, "cert-file", "", "PEM `file` of a certificate of ours, where the instance asks for one")
	fs.StringVar(&f.tls.KeyFile, "key-file", "", "PEM `file` of the key of --cert-file")
	return f
}

// asker asks one instance.
type asker struct {
	url    string // without a path
	token  string // "": none
	ticket string // what it is for; ""
	owners []string
	client http.Client
}

// asker reads what the flags name.
func (f *askFlags) asker(inv *invocation) (*asker, error) {
	a := &asker{owners: *f.owners}
	for _, pattern := range a.owners {
		if _, err := path.Match(pattern, ""); err != nil {
			return nil, usagef("--owners %q: %w", pattern, err)
		}
	}
	var err error
	if a.url, err = f.address(inv); err != nil {
		return nil, err
	}
	if a.token, err = f.token(); err != nil {
		return nil, usageError(err)
	}
	f.tls.Enabled = true
	tlsConfig, err := f.tls.Config()
	if err != nil {
		return nil, usageError(err)
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.TLSClientConfig = tlsConfig
	a.client.Transport = transport
	return a, nil
}

func (f *askFlags) token() (string, error) {
	text, where := os.Getenv(config.EnvToken), config.EnvToken
	if *f.tokenFile != "" {
		b, err := os.ReadFile(*f.tokenFile)
		if err != nil {
			return "", fmt.Errorf("--token-file: %w", err)
		}
		text, where = string(b), *f.tokenFile
	}
	text = strings.TrimSpace(text)
	if text == "" && *f.tokenFile == "" {
		return "", nil
	}
	if !access.WellFormed(text) {
		return "", fmt.Errorf("%s holds no token as 'segmentd token create' prints one", where)
	}
	return text, nil
}

// address is the instance's URL without a path.
func (f *askFlags) address(inv *invocation) (string, error) {
	if *f.url != "" {
		return addressOf(*f.url)
	}
	cfg, err := loadConfig(inv, 0)
	if err != nil {
		return "", err
	}
	host, port, err := net.SplitHostPort(cfg.HTTP.Listen)
	if err != nil {
		return "", usageError(fmt.Errorf("http.listen: %w", err))
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	scheme := "http://"
	if cfg.HTTP.TLS.CertFile != "" {
		scheme = "https://"
	}
	return scheme + net.JoinHostPort(host, port), nil
}

// addressOf reads --url: host:port is meant as http.
func addressOf(given string) (string, error) {
	text := given
	if !strings.Contains(text, "://") {
		text = "http://" + text
	}
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return "", usagef("--url %q: write host:port, http://host:port or https://host:port", given)
	}
	return strings.TrimRight(text, "/"), nil
}

// Bounds of a question with its answer, and of the answer.
const (
	askTimeout     = 10 * time.Second
	maxAnswerBytes = 256 << 20
)

// ask asks with a subject's id, if any, in the body, where no proxy's access log keeps it.
func (a *asker) ask(ctx context.Context, page string, query any) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	body, err := json.Marshal(query)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, a.url+page, bytes.NewReader(body))
	if err != nil {
		return nil, usageError(err)
	}
	req.Header.Set("Content-Type", "application/json")
	if a.ticket != "" {
		req.Header.Set("Segmentd-Ticket", a.ticket)
	}
	if a.token != "" {
		req.Header.Set("Authorization", "Bearer "+a.token)
	}
	res, err := a.post(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	if body, err = io.ReadAll(io.LimitReader(res.Body, maxAnswerBytes)); err != nil {
		return nil, environmentError(err)
	}
	if res.StatusCode != http.StatusOK && res.StatusCode != http.StatusAccepted {
		return nil, refusal(res, body)
	}
	return body, nil
}

// origin is a URL without its path.
func origin(u *url.URL) string { return u.Scheme + "://" + u.Host }

// answerError is an answer that is none of success.
type answerError struct {
	status int
	text   string
}

func (e *answerError) Error() string { return e.text }

// refusal is the error that an answer other than success is, of whoever gave it.
func refusal(res *http.Response, body []byte) error {
	var problem struct{ Title, Detail string }
	if json.Unmarshal(body, &problem) != nil || problem.Detail == "" {
		problem.Detail = res.Status
	}
	err := &answerError{res.StatusCode, fmt.Sprintf("%s answered %d: %s", origin(res.Request.URL), res.StatusCode, problem.Detail)}
	switch res.StatusCode {
	case http.StatusBadRequest, http.StatusNotFound, http.StatusConflict, http.StatusRequestEntityTooLarge, http.StatusUnauthorized, http.StatusForbidden:
		return usageError(err)
	}
	return environmentError(err)
}

// errKept says that a question was not sent on, as the token would have been.
var errKept = errors.New("the token is not shown there")

// follow lets a question go on to the owner of a partition. The HTTP
// client leaves the token out where the host is another; whoever may join the
// consumer group can give any address as theirs, so it goes to the host that was
// asked, and to those that --owners names, and never from TLS to plain HTTP.
func (a *asker) follow(next *http.Request, via []*http.Request) error {
	if len(via) > 3 {
		return errors.New("it is sent on again and again")
	}
	if a.token == "" {
		return nil
	}
	first := via[0].URL
	known := next.URL.Hostname() == first.Hostname() || slices.ContainsFunc(a.owners, func(pattern string) bool {
		is, _ := path.Match(pattern, next.URL.Hostname())
		return is
	})
	if !known || first.Scheme == "https" && next.URL.Scheme != "https" {
		return errKept
	}
	next.Header.Set("Authorization", "Bearer "+a.token)
	return nil
}

// post asks the instance and follows it to the owner.
func (a *asker) post(req *http.Request) (*http.Response, error) {
	asked := origin(req.URL)
	owner := ""
	client := a.client
	client.CheckRedirect = func(next *http.Request, via []*http.Request) error {
		owner = origin(next.URL)
		return a.follow(next, via)
	}
	res, err := client.Do(req)
	var failed *url.Error
	switch {
	case err == nil:
		return res, nil
	case errors.Is(err, errKept):
		return nil, usagef("%s sends the question on to %s, which owns the partition, and the token is not shown there: ask that instance (--url), "+
			"or say with --owners that it may be; never is it shown without TLS after an https:// address", asked, owner)
	case errors.Is(err, context.DeadlineExceeded):
		err = fmt.Errorf("no answer within %s", askTimeout)
	case errors.As(err, &failed):
		err = failed.Err // the rest repeats the address
	}
	if owner == "" {
		return nil, environmentError(fmt.Errorf("ask %s: %w; is segmentd running there? (--url, or http.listen of --config)", asked, err))
	}
	return nil, environmentError(fmt.Errorf("%s sent the question on to %s, which owns the partition and does not answer: %w; if that instance has died, "+
		"the group gives its partitions to another within the session timeout (kafka.session_timeout, by default 10 s): ask again then", asked, owner, err))
}

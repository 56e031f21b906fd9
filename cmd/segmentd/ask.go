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
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/segmentd/segmentd/config"
)

// askFlags say which running instance a command asks.
type askFlags struct{ url *string }

// askHelp is for the help of commands that ask one.
const askHelp = `The instance is that of --url, else the one whose http.listen is in the configuration (--config, SEGMENTD_…).`

func addAskFlags(fs *pflag.FlagSet) askFlags {
	config.AddFlags(fs, "config")
	return askFlags{fs.String("url", "", "`address` of the instance, as 127.0.0.1:8080 or https://host:port (default http.listen of the configuration)")}
}

// address is the instance's URL without a path.
func (f askFlags) address(inv *invocation) (string, error) {
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

// ask asks about a subject with its id in the body, where no proxy's access log keeps it.
func ask(ctx context.Context, url, page string, query map[string]string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	body, err := json.Marshal(query)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url+page, bytes.NewReader(body))
	if err != nil {
		return nil, usageError(err)
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := post(req)
	if err != nil {
		return nil, environmentError(err)
	}
	defer res.Body.Close()
	if body, err = io.ReadAll(io.LimitReader(res.Body, maxAnswerBytes)); err != nil {
		return nil, environmentError(err)
	}
	if res.StatusCode != http.StatusOK {
		return nil, refusal(res, body)
	}
	return body, nil
}

// origin is a URL without its path.
func origin(u *url.URL) string { return u.Scheme + "://" + u.Host }

// refusal is the error that an answer other than 200 is, of whoever gave it.
func refusal(res *http.Response, body []byte) error {
	var problem struct{ Title, Detail string }
	if json.Unmarshal(body, &problem) != nil || problem.Detail == "" {
		problem.Detail = res.Status
	}
	err := fmt.Errorf("%s answered %d: %s", origin(res.Request.URL), res.StatusCode, problem.Detail)
	if res.StatusCode == http.StatusNotFound || res.StatusCode == http.StatusConflict {
		return usageError(err)
	}
	return environmentError(err)
}

// post asks the instance and follows it to the owner of a subject's partition.
func post(req *http.Request) (*http.Response, error) {
	asked := origin(req.URL)
	owner := ""
	client := http.Client{CheckRedirect: func(next *http.Request, via []*http.Request) error {
		owner = origin(next.URL)
		if len(via) > 3 {
			return errors.New("it is sent on again and again")
		}
		return nil
	}}
	res, err := client.Do(req)
	var failed *url.Error
	switch {
	case err == nil:
		return res, nil
	case errors.Is(err, context.DeadlineExceeded):
		err = fmt.Errorf("no answer within %s", askTimeout)
	case errors.As(err, &failed):
		err = failed.Err // the rest repeats the address
	}
	if owner == "" {
		return nil, fmt.Errorf("ask %s: %w; is segmentd running there? (--url, or http.listen of --config)", asked, err)
	}
	return nil, fmt.Errorf("%s sent the question on to %s, which owns the subject's partition and does not answer: %w; if that instance has died, "+
		"the group gives its partitions to another within the session timeout (kafka.session_timeout, by default 10 s): ask again then", asked, owner, err)
}

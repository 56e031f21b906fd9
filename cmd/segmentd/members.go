package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/spf13/pflag"
)

func membersCommand() command {
	return command{
		name: "members", args: "USER", summary: "Ask a running instance which segments a subject is in",
		details: `USER "-" reads the id from stdin, so that it stays out of the shell's history.`,
		setup: func(fs *pflag.FlagSet) func(context.Context, *invocation) error {
			url := fs.String("url", "http://127.0.0.1:8080", "address of the instance")
			idType := fs.String("id-type", "userId", "userId or anonymousId")
			output := fs.String("output", "text", "text or json")
			return func(ctx context.Context, inv *invocation) error {
				if len(inv.args) != 1 || *output != "text" && *output != "json" || *idType != "userId" && *idType != "anonymousId" {
					return usagef("give one USER; --id-type is userId or anonymousId, --output is text or json")
				}
				user, err := readUser(inv)
				if err != nil {
					return inputError(err)
				}
				body, err := ask(ctx, *url, "/v1/subjects/lookup", map[string]string{*idType: user})
				if err != nil {
					return err
				}
				return printMembers(inv.out, body, *output)
			}
		},
	}
}

func readUser(inv *invocation) (string, error) {
	if inv.args[0] != "-" {
		return inv.args[0], nil
	}
	return readLine(inv.in)
}

func readLine(r io.Reader) (string, error) {
	line, err := bufio.NewReader(r).ReadString('\n')
	if err != nil && err != io.EOF {
		return "", err
	}
	return strings.TrimRight(line, "\r\n"), nil
}

// maxAnswerBytes bounds an answer.
const maxAnswerBytes = 256 << 20

// ask asks about a subject with its id in the body, where no proxy's access log keeps it.
func ask(ctx context.Context, url, page string, query map[string]string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	body, err := json.Marshal(query)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, strings.TrimRight(url, "/")+page, bytes.NewReader(body))
	if err != nil {
		return nil, usageError(err)
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, environmentError(fmt.Errorf("ask %s: %w; is segmentd running there? (--url)", url, err))
	}
	defer res.Body.Close()
	if body, err = io.ReadAll(io.LimitReader(res.Body, maxAnswerBytes)); err != nil {
		return nil, environmentError(err)
	}
	if res.StatusCode != http.StatusOK {
		return nil, refusal(url, res, body)
	}
	return body, nil
}

// refusal is the error that an answer other than 200 is.
func refusal(url string, res *http.Response, body []byte) error {
	var problem struct{ Title, Detail string }
	if json.Unmarshal(body, &problem) != nil || problem.Detail == "" {
		problem.Detail = res.Status
	}
	err := fmt.Errorf("%s answered %d: %s", url, res.StatusCode, problem.Detail)
	if res.StatusCode == http.StatusNotFound || res.StatusCode == http.StatusConflict {
		return usageError(err)
	}
	return environmentError(err)
}

func printMembers(w io.Writer, body []byte, output string) error {
	if output == "json" {
		_, err := fmt.Fprintf(w, "%s\n", bytes.TrimSpace(body))
		return err
	}
	var subject struct {
		Memberships []struct{ Segment, Purpose, Since string }
	}
	if err := json.Unmarshal(body, &subject); err != nil {
		return environmentError(fmt.Errorf("read the answer: %w", err))
	}
	if len(subject.Memberships) == 0 {
		fmt.Fprintln(w, "in no segment")
	}
	for _, m := range subject.Memberships {
		fmt.Fprintf(w, "%-32s since %-27s for %s\n", m.Segment, m.Since, m.Purpose)
	}
	return nil
}

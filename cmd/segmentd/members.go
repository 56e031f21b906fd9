package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/spf13/pflag"
)

func membersCommand() command {
	return command{
		name: "members", args: "USER", summary: "Ask a running instance which segments a subject is in",
		details: `USER "-" reads the id from stdin, so that it stays out of the shell's history.
` + askHelp,
		setup: func(fs *pflag.FlagSet) func(context.Context, *invocation) error {
			at := addAskFlags(fs)
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
				asker, err := at.asker(inv)
				if err != nil {
					return err
				}
				body, err := asker.ask(ctx, "/v1/subjects/lookup", map[string]string{*idType: user})
				if err != nil {
					return err
				}
				return printMembers(inv.out, body, *output)
			}
		},
	}
}

func readUser(inv *invocation) (user string, err error) {
	if user = inv.args[0]; user == "-" {
		user, err = readLine(inv.in)
	}
	return user, errors.Join(err, checkUser(user))
}

// checkUser refuses an id of another encoding: JSON makes another id of it, and what
// is asked for would be done to nobody.
func checkUser(user string) error {
	if !utf8.ValidString(user) {
		return usagef("USER is not valid UTF-8, as every id is: is it Latin-1?")
	}
	return nil
}

// readLine reads a text of one line, and refuses more: what is behind it would be
// taken for done.
func readLine(r io.Reader) (string, error) {
	text, err := io.ReadAll(io.LimitReader(r, 64<<10))
	if err != nil {
		return "", err
	}
	line, more, _ := strings.Cut(string(text), "\n")
	if strings.TrimSpace(more) != "" {
		return "", usagef("stdin has more than one line: one id at a time")
	}
	return strings.TrimSuffix(line, "\r"), nil
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

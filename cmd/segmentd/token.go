package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/segmentd/segmentd/config"
	"github.com/segmentd/segmentd/processor/access"
)

func tokenCommand() command {
	return command{
		name: "token", args: "create", summary: "Make a bearer token for the HTTP pages",
		details: `
Prints the token, which is kept nowhere else, and below it the entry for http.tokens_file, which has only its hash; with
--file the entry is added to that file, and only the token is printed. Running instances take it up within seconds.

  segmentd token create --name crm --role reader --file /etc/segmentd/tokens.yaml

Roles: reader looks subjects up and asks why; privacy handles the requests of data subjects besides; operator runs the
instance and sees nothing of subjects. The name is what the audit log has. To revoke a token delete its entry.`,
		setup: func(fs *pflag.FlagSet) func(context.Context, *invocation) error {
			name := fs.String("name", "", "`name` of who is going to use it")
			role := fs.String("role", "", "reader, privacy or operator")
			file := fs.String("file", "", "tokens `file` to add the entry to")
			expires := fs.String("expires", "", "`when` it ends: 90d, or an instant as 2027-01-31T00:00:00Z (default never)")
			return func(_ context.Context, inv *invocation) error {
				if len(inv.args) != 1 || inv.args[0] != "create" {
					return usagef("say create, with --name and --role")
				}
				until, err := instantAfter(*expires, time.Now())
				if err != nil {
					return usagef("--expires: %w", err)
				}
				token, entry, err := access.New(*name, access.Role(*role), until)
				if err != nil {
					return usagef("--%w", err)
				}
				if *file == "" {
					fmt.Fprintf(inv.out, "%s\n%s\n", token, entry)
					return nil
				}
				if err := access.Append(*file, entry); err != nil {
					return usageError(fmt.Errorf("add the entry to %s: %w", *file, err))
				}
				fmt.Fprintln(inv.out, token)
				return nil
			}
		},
	}
}

// instantAfter reads an instant in the future, or how long it is until then; "" is never.
func instantAfter(text string, now time.Time) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	at, err := time.Parse(time.RFC3339, text)
	if !strings.Contains(text, "T") {
		var d time.Duration
		d, err = config.ParseDuration(text)
		at = now.Add(d)
	}
	if err == nil && !at.After(now) {
		err = fmt.Errorf("%s is not in the future", text)
	}
	return at, err
}

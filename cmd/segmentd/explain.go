package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"

	"github.com/spf13/pflag"

	"github.com/segmentd/segmentd/processor/core"
)

func explainCommand() command {
	return command{
		name: "explain", args: "USER [SEGMENT]", summary: "Ask a running instance why a subject is in a segment, or not",
		details: `
Prints the rule with how each condition stands, the evidence behind it, since when and why, and what changes next if
nothing happens; without SEGMENT for all segments of the purposes that something is kept for. USER "-" reads the id from
stdin, so that it stays out of the shell's history. 'segmentd replay --explain USER' tells the same of files.
` + askHelp,
		setup: func(fs *pflag.FlagSet) func(context.Context, *invocation) error {
			at := addAskFlags(fs)
			idType := fs.String("id-type", "userId", "userId or anonymousId")
			output := fs.String("output", "text", "text or json")
			return func(ctx context.Context, inv *invocation) error {
				if n := len(inv.args); n < 1 || n > 2 || *output != "text" && *output != "json" || *idType != "userId" && *idType != "anonymousId" {
					return usagef("give one USER and at most one SEGMENT; --id-type is userId or anonymousId, --output is text or json")
				}
				user, err := readUser(inv)
				if err != nil {
					return inputError(err)
				}
				query := map[string]string{*idType: user}
				if len(inv.args) == 2 {
					query["segment"] = inv.args[1]
				}
				asker, err := at.asker(inv)
				if err != nil {
					return err
				}
				body, err := asker.ask(ctx, "/v1/subjects/explain", query)
				if err != nil {
					return err
				}
				return printExplanation(inv.out, body, query["segment"] == "", *output)
			}
		},
	}
}

// printExplanation prints an answer, of all segments or of one.
func printExplanation(w io.Writer, body []byte, all bool, output string) error {
	var e explained = new(core.Explanation)
	if all {
		e = new(core.Explanations)
	}
	if err := json.Unmarshal(body, e); err != nil {
		return environmentError(fmt.Errorf("read the answer: %w", err))
	}
	return writeExplanation(w, e, output)
}

// explained is one explanation, or all of a subject.
type explained interface{ Text() string }

func writeExplanation(w io.Writer, e explained, output string) error {
	if output == "text" {
		_, err := io.WriteString(w, e.Text())
		return err
	}
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(e); err != nil {
		return fmt.Errorf("write the explanation: %w", err)
	}
	return nil
}

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"strconv"

	"github.com/spf13/pflag"
)

func resumeCommand() command {
	return command{
		name: "resume", summary: "Let a paused or stopped partition go on",
		details: `
A partition stops when the retention of a decisions topic deleted decisions before they were read: among them may be
withdrawals, and nobody is processed on a guess. Have the decisions sent again if that can be. With --accept-gap the
partition then goes on without what is missing, once; the acceptance is kept with the partition's state, and a
restart does not stop there again. What is missing: GET /v1/status, /readyz?verbose, and the log.

A partition that POST /v1/admin/pause has paused goes on without --accept-gap. Any instance of the group can be asked.
` + askHelp,
		setup: func(fs *pflag.FlagSet) func(context.Context, *invocation) error {
			at := addAskFlags(fs)
			partition := fs.Int32("partition", -1, "the partition")
			accept := fs.Bool("accept-gap", false, "go on without the decisions that are missing")
			return func(ctx context.Context, inv *invocation) error {
				if *partition < 0 {
					return usagef("give the partition that shall go on with --partition N")
				}
				q := url.Values{"partition": {fmt.Sprint(*partition)}, "acceptGap": {strconv.FormatBool(*accept)}}
				asker, err := at.asker(inv)
				if err != nil {
					return err
				}
				body, err := asker.ask(ctx, "/v1/admin/resume?"+q.Encode(), nil)
				if err != nil {
					return err
				}
				return printResumed(inv, body, *partition)
			}
		},
	}
}

func printResumed(inv *invocation, body []byte, partition int32) error {
	var status struct {
		Partitions []struct {
			Partition    int32
			State        string
			AcceptedGaps []struct {
				Topic, Accepted string
				From, To        int64
			}
		}
	}
	if err := json.Unmarshal(body, &status); err != nil {
		return environmentError(fmt.Errorf("read the answer: %w", err))
	}
	for _, p := range status.Partitions {
		if p.Partition != partition {
			continue
		}
		fmt.Fprintf(inv.out, "partition %d goes on\n", partition)
		for _, g := range p.AcceptedGaps {
			fmt.Fprintf(inv.out, "accepted at %s: %s without offsets %d to %d\n", g.Accepted, g.Topic, g.From, g.To-1)
		}
		return nil
	}
	return environmentError(fmt.Errorf("partition %d has moved to another instance meanwhile: ask again", partition))
}

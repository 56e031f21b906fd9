package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"regexp"
	"strconv"

	"github.com/spf13/pflag"

	"github.com/segmentd/segmentd/config"
	chain "github.com/segmentd/segmentd/processor/audit/verify"
)

func ledgerCommand() command {
	return command{
		name: "ledger", args: "verify", summary: "Check that the audit log and the consent ledger are whole",
		details: `
Reads the audit log in the data directory (audit/) and checks its chain: every entry is as it was written, none is missing,
none has moved. Names the first line that is wrong, with exit status 1.

What was cut off at the end leaves no trace in the log itself. Running instances therefore write the newest entry's number
and hash into their log ("the audit log's head", once a minute): give those that you kept with --head. Files whose time is
over may be deleted, the oldest first: say with --first which entry is the first that must be there.

Where brokers are configured, or the embedded one runs (--embedded, or embedded: true; --broker-listen), it also reads the
decisions topics, as far as the group has taken them, and the changelog: each decision has its proof, as it was read, each
proof its decision (unless retention has deleted that), and each consent in force a proof. What
does not agree is told by the keyed hash that the audit log has of the subject. Needs the rules, the secret and memory for all
decisions.`,
		setup: func(fs *pflag.FlagSet) func(context.Context, *invocation) error {
			config.AddFlags(fs, "config", "data", "brokers", "embedded", "broker-listen", "group", "rules")
			heads := fs.StringArray("head", nil, "`number:hash` of an entry that was published; may be repeated")
			first := fs.Uint64("first", 1, "`number` of the first entry that must be there")
			return func(ctx context.Context, inv *invocation) error {
				if len(inv.args) != 1 || inv.args[0] != "verify" {
					return usagef("say verify")
				}
				opts := chain.Options{First: *first, Anchors: map[uint64]string{}}
				for _, h := range *heads {
					if err := addAnchor(opts.Anchors, h); err != nil {
						return usageError(err)
					}
				}
				cfg, err := loadConfig(inv, 0)
				if err != nil {
					return err
				}
				if err := verifyLedger(inv, auditDir(cfg.Data), opts); err != nil {
					return err
				}
				if why := noBrokers(ctx, cfg); why != "" {
					fmt.Fprintln(inv.out, "the consent ledger was not checked: "+why)
					return nil
				}
				return verifyConsents(ctx, inv, cfg)
			}
		},
	}
}

// noBrokers says why there are none to read from, "" if there are: of an embedded
// broker, which cfg then names, only while its process runs.
func noBrokers(ctx context.Context, cfg *config.Config) string {
	if len(cfg.Kafka.Brokers) == 0 && !cfg.Embedded {
		return "no brokers are configured; give them with --brokers, or say --embedded while segmentd runs with its own"
	}
	if !cfg.Embedded {
		return ""
	}
	dialer := net.Dialer{Timeout: startTimeout}
	conn, err := dialer.DialContext(ctx, "tcp", cfg.BrokerListen)
	if err != nil {
		return "the embedded broker does not answer at " + cfg.BrokerListen + "; verify while segmentd runs (--broker-listen for another address)"
	}
	conn.Close()
	cfg.Kafka.Brokers = []string{cfg.BrokerListen}
	return ""
}

var anchorText = regexp.MustCompile(`^([1-9][0-9]{0,18}):([0-9a-f]{64})$`)

func addAnchor(anchors map[uint64]string, text string) error {
	m := anchorText.FindStringSubmatch(text)
	if m == nil {
		return fmt.Errorf("--head %q: write NUMBER:HASH, as the log has it", text)
	}
	n, err := strconv.ParseUint(m[1], 10, 64)
	if err != nil {
		return fmt.Errorf("--head %q: %w", text, err)
	}
	if have := anchors[n]; have != "" && have != m[2] {
		return fmt.Errorf("--head: entry %d has two hashes: the log was written anew in between", n)
	}
	anchors[n] = m[2]
	return nil
}

func verifyLedger(inv *invocation, dir string, opts chain.Options) error {
	found, err := chain.Dir(dir, opts)
	var wrong *chain.Problem
	switch {
	case errors.As(err, &wrong):
		return inputError(err)
	case err != nil:
		return environmentError(err)
	}
	fmt.Fprintf(inv.out, "the audit log is whole: entries %d to %d in %d files; %d published heads are in it\nhead %d:%s\n",
		found.First, found.Last, found.Files, len(opts.Anchors), found.Last, found.Hash)
	return nil
}

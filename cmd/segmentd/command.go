package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"

	"github.com/spf13/pflag"

	"github.com/segmentd/segmentd/config"
	"github.com/segmentd/segmentd/processor"
	"github.com/segmentd/segmentd/processor/consent"
	"github.com/segmentd/segmentd/state"
)

// The exit statuses (CONTRACT.md, Commands).
const (
	exitOK          = 0
	exitInput       = 1 // the input is wrong
	exitUsage       = 2 // wrong usage or configuration
	exitEnvironment = 3 // the environment failed or took the partition away
)

// exitError is an error with the status the process ends with. An empty
// message was printed already.
type exitError struct {
	status int
	err    error
}

func (e *exitError) Error() string { return e.err.Error() }
func (e *exitError) Unwrap() error { return e.err }

var errPrinted = errors.New("")

func inputError(err error) error       { return &exitError{exitInput, err} }
func usageError(err error) error       { return &exitError{exitUsage, err} }
func environmentError(err error) error { return &exitError{exitEnvironment, err} }

func usagef(format string, args ...any) error { return usageError(fmt.Errorf(format, args...)) }

// status sorts an error into an exit status.
func status(err error) int {
	var exit *exitError
	var configured *config.Error
	var stopped *processor.ConfigError
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &exit):
		return exit.status
	case errors.As(err, &configured), errors.As(err, &stopped):
		return exitUsage
	}
	return exitEnvironment
}

// command is one subcommand.
type command struct {
	name    string
	args    string // what follows the flags, for the usage line; "": nothing may
	summary string // one line
	details string // what help prints below the usage
	// setup adds the command's flags and returns what runs it.
	setup func(*pflag.FlagSet) func(context.Context, *invocation) error
}

// invocation is one run of a command.
type invocation struct {
	streams
	flags *pflag.FlagSet
	args  []string
	log   *slog.Logger
	// reached is told each step of changing the image, for tests; nil: nobody is.
	reached func(state.Step)
}

func commands() []command {
	return []command{
		runCommand(), brokerCommand(), demoCommand(), checkCommand(), testCommand(), replayCommand(), diffCommand(), produceCommand(), verifyCommand(),
		membersCommand(), explainCommand(), subjectCommand(), resumeCommand(), tokenCommand(), ledgerCommand(), configCommand(), topicsCommand(), recordCommand(), noticeCommand(), schemaCommand(),
	}
}

// run is main without the process: it returns the exit status.
func run(ctx context.Context, args []string, std streams) int {
	if len(args) == 0 {
		printOverview(std.err)
		return exitUsage
	}
	switch args[0] {
	case "--version", "version":
		fmt.Fprintln(std.out, versionLine())
		return exitOK
	case "help", "--help", "-h":
		return help(args[1:], std)
	}
	if err := mayRun(consent.Gated, os.Getenv); err != nil {
		fmt.Fprintf(std.err, "segmentd: %v\n", err)
		return status(err)
	}
	for _, c := range commands() {
		if c.name == args[0] {
			return c.run(ctx, args[1:], std)
		}
	}
	fmt.Fprintf(std.err, "segmentd: no command %q%s\n\n", args[0], nearestCommand(args[0]))
	printOverview(std.err)
	return exitUsage
}

func (c command) flagSet() (*pflag.FlagSet, func(context.Context, *invocation) error, *logOptions) {
	fs := pflag.NewFlagSet(c.name, pflag.ContinueOnError)
	fs.SortFlags = false
	fs.Usage = func() {}
	body := c.setup(fs)
	return fs, body, addLogFlags(fs)
}

func (c command) run(ctx context.Context, args []string, std streams) int {
	fs, body, logs := c.flagSet()
	fs.SetOutput(io.Discard)
	if err := fs.Parse(args); errors.Is(err, pflag.ErrHelp) {
		c.help(std.out)
		return exitOK
	} else if err != nil {
		fmt.Fprintf(std.err, "segmentd %s: %v%s\nSee 'segmentd help %s'.\n", c.name, err, nearestFlag(err, fs), c.name)
		return exitUsage
	}
	logger, err := logs.logger(std.err)
	if err == nil && c.args == "" {
		err = surplus(fs)
	}
	if err == nil {
		err = body(ctx, &invocation{streams: std, flags: fs, args: fs.Args(), log: logger})
	}
	if err != nil && !errors.Is(err, errPrinted) {
		fmt.Fprintf(std.err, "segmentd %s: %v\n", c.name, err)
	}
	return status(err)
}

func (c command) help(w io.Writer) {
	fs, _, _ := c.flagSet()
	fmt.Fprintf(w, "Usage: segmentd %s", c.name)
	if fs.HasFlags() {
		fmt.Fprint(w, " [flags]")
	}
	if c.args != "" {
		fmt.Fprint(w, " "+c.args)
	}
	fmt.Fprintf(w, "\n\n%s.\n", c.summary)
	if c.details != "" {
		fmt.Fprintf(w, "\n%s\n", strings.TrimSpace(c.details))
	}
	if fs.HasFlags() {
		fmt.Fprintf(w, "\nFlags:\n%s", flagUsages(fs))
	}
}

// flagUsages describes the flags in two columns. The library aligns them by
// bytes, so that it is given one of a single byte for the ellipsis.
func flagUsages(fs *pflag.FlagSet) string {
	const ellipsis, stand = "…", "\x01"
	fs.VisitAll(func(f *pflag.Flag) { f.Usage = strings.ReplaceAll(f.Usage, ellipsis, stand) })
	return strings.ReplaceAll(fs.FlagUsagesWrapped(110), stand, ellipsis)
}

func help(args []string, std streams) int {
	if len(args) == 0 {
		printOverview(std.out)
		return exitOK
	}
	for _, c := range commands() {
		if c.name == args[0] {
			c.help(std.out)
			return exitOK
		}
	}
	fmt.Fprintf(std.err, "segmentd: no command %q%s\n", args[0], nearestCommand(args[0]))
	return exitUsage
}

func printOverview(w io.Writer) {
	fmt.Fprint(w, "segmentd keeps customers' segment memberships up to date as events stream through Kafka,\n"+
		"for those who allow it, and publishes each change exactly once.\n\nCommands:\n")
	for _, c := range commands() {
		fmt.Fprintf(w, "  %-9s %s\n", c.name, c.summary)
	}
	fmt.Fprint(w, "\n'segmentd help COMMAND' tells more; 'segmentd --version' the version. Try 'segmentd demo'.\n")
}

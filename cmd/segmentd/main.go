// Command segmentd keeps the answer to "which segments is this customer in,
// right now, and may we even know?" for every customer whose behaviour streams
// through Kafka, and publishes each change exactly once.
//
// This package only wires: one file a subcommand.
package main

import (
	"context"
	"io"
	"os"
	"os/signal"
	"syscall"
	_ "time/tzdata" // the time zones of rules, where the machine has no database of them
)

func main() { os.Exit(runProcess(streams{os.Stdin, os.Stdout, os.Stderr})) }

// runProcess is run with this process' arguments and signals.
func runProcess(std streams) int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	return run(ctx, os.Args[1:], std)
}

// streams are the standard streams, replaceable in tests.
type streams struct {
	in  io.Reader
	out io.Writer
	err io.Writer
}

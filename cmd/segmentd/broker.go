package main

import (
	"context"
	"errors"
	"log/slog"

	"github.com/spf13/pflag"

	"github.com/segmentd/segmentd/processor/embedded"
)

func brokerCommand() command {
	return command{
		name: "broker", summary: "Run the embedded broker as a process of its own",
		details: `
A Kafka broker on disk for any Kafka client, for trying out and for tests: one node, no replication, no security.
What it acknowledged survives kill -9 of the broker, but that may tear a transaction in two; use Apache Kafka for real work.`,
		setup: func(fs *pflag.FlagSet) func(context.Context, *invocation) error {
			dir := fs.String("data", "segmentd-broker", "`directory` of the topics")
			listen := fs.String("listen", "127.0.0.1:9092", "`host:port` to listen on")
			partitions := fs.Int("partitions", 12, "of topics that are created without a count")
			return func(ctx context.Context, inv *invocation) error {
				if *partitions < 1 {
					return usagef("--partitions must be at least 1")
				}
				broker, err := startBroker(*dir, *listen, *partitions, inv.log)
				if err != nil {
					return err
				}
				inv.log.Info("broker is listening", "address", broker.Addr(), "data", *dir)
				<-ctx.Done()
				return broker.Close()
			}
		},
	}
}

func startBroker(dir, listen string, partitions int, log *slog.Logger) (*embedded.Broker, error) {
	broker, err := embedded.Start(embedded.Config{Dir: dir, Listen: listen, Partitions: partitions, AutoCreateTopics: true, Logger: log})
	switch {
	case errors.Is(err, embedded.ErrPortInUse):
		return nil, usagef("%w; choose another with --listen (of run: --broker-listen)", err)
	case errors.Is(err, embedded.ErrLocked):
		return nil, usagef("%w; stop that one or give another --data", err)
	case err != nil:
		return nil, environmentError(err)
	}
	return broker, nil
}

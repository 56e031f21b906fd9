package main

import (
	"context"
	"fmt"

	"github.com/spf13/pflag"

	"github.com/segmentd/segmentd/config"
)

func configCommand() command {
	return command{
		name: "config", summary: "Print the effective configuration, secrets masked",
		details: "Takes the flags of run, the file of --config and SEGMENTD_… variables, as run does.",
		setup: func(fs *pflag.FlagSet) func(context.Context, *invocation) error {
			config.AddFlags(fs)
			return func(_ context.Context, inv *invocation) error {
				cfg, err := loadConfig(inv, 0)
				if err != nil {
					return err
				}
				_, err = fmt.Fprint(inv.out, cfg.Render())
				return err
			}
		},
	}
}

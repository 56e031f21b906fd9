package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/pflag"

	"github.com/segmentd/segmentd/processor/wire"
	"github.com/segmentd/segmentd/rules"
)

func schemaCommand() command {
	return command{
		name: "schema", args: "NAME", summary: "Print the JSON Schema of a format",
		details: "Names: " + strings.Join(schemaNames(), ", ") + ".",
		setup: func(*pflag.FlagSet) func(context.Context, *invocation) error {
			return func(_ context.Context, inv *invocation) error {
				if len(inv.args) != 1 {
					return usagef("give one name of %s", strings.Join(schemaNames(), ", "))
				}
				schema, ok := schemaOf(inv.args[0])
				if !ok {
					return usagef("no schema %q: there are %s", inv.args[0], strings.Join(schemaNames(), ", "))
				}
				_, err := fmt.Fprintf(inv.out, "%s\n", strings.TrimSpace(string(schema)))
				return err
			}
		},
	}
}

const rulesSchema = "rules"

func schemaNames() []string { return append(wire.SchemaNames(), rulesSchema) }

func schemaOf(name string) ([]byte, bool) {
	if name == rulesSchema {
		return rules.SchemaJSON(), true
	}
	return wire.Schema(name)
}

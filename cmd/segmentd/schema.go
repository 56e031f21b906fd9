package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"github.com/segmentd/segmentd/processor/portable"
	"github.com/segmentd/segmentd/processor/transparency"
	"github.com/segmentd/segmentd/processor/wire"
	"github.com/segmentd/segmentd/rules"
	"github.com/segmentd/segmentd/rules/ruletest"
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

// The schemas of files that people write.
const (
	rulesSchema    = "rules"
	ruleTestSchema = "rule-test"
)

func schemaNames() []string {
	return slices.Concat(wire.SchemaNames(), []string{rulesSchema, ruleTestSchema, portable.SchemaName}, transparency.SchemaNames())
}

func schemaOf(name string) ([]byte, bool) {
	switch name {
	case rulesSchema:
		return rules.SchemaJSON(), true
	case ruleTestSchema:
		return ruletest.SchemaJSON(), true
	case portable.SchemaName:
		return portable.Schema(), true
	}
	if schema, ok := transparency.Schema(name); ok {
		return schema, true
	}
	return wire.Schema(name)
}

package main

import (
	"errors"
	"path/filepath"
	"slices"

	"github.com/spf13/pflag"

	"github.com/segmentd/segmentd/rules/nearest"
)

// didYouMean is a question with the word that is nearest to given, "" if none is near.
func didYouMean(given, before string, words []string) string {
	if word := nearest.To(given, words); word != "" {
		return "; did you mean " + before + word + "?"
	}
	return ""
}

// nearestFlag asks for the flag that an unknown one may have been meant for.
func nearestFlag(err error, fs *pflag.FlagSet) string {
	var unknown *pflag.NotExistError
	if !errors.As(err, &unknown) {
		return ""
	}
	var names []string
	fs.VisitAll(func(f *pflag.Flag) { names = append(names, f.Name) })
	return didYouMean(unknown.GetSpecifiedName(), "--", names)
}

func nearestCommand(name string) string {
	var names []string
	for _, c := range commands() {
		names = append(names, c.name)
	}
	return didYouMean(name, "", names)
}

// surplus refuses what is given to a command that takes no arguments.
func surplus(fs *pflag.FlagSet) error {
	if fs.NArg() == 0 {
		return nil
	}
	hint, given := "", fs.Arg(0)
	if fs.Lookup("config") != nil && slices.Contains([]string{".yaml", ".yml"}, filepath.Ext(given)) {
		hint = "; did you mean --config " + given + "?"
	}
	return usagef("takes no arguments, and %q is one%s", given, hint)
}

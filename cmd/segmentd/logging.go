package main

import (
	"io"
	"log/slog"

	"github.com/spf13/pflag"
)

// logOptions are the flags every command takes.
type logOptions struct {
	fs            *pflag.FlagSet
	format, level string
}

// addLogFlags adds --log-format and --log-level unless the configuration's
// flags have brought them already.
func addLogFlags(fs *pflag.FlagSet) *logOptions {
	o := &logOptions{fs: fs}
	if fs.Lookup("log-format") == nil {
		fs.StringVar(&o.format, "log-format", "text", "log as json or text, on stderr")
	}
	if fs.Lookup("log-level") == nil {
		fs.StringVar(&o.level, "log-level", "info", "debug, info, warn or error")
	}
	return o
}

func (o *logOptions) logger(w io.Writer) (*slog.Logger, error) {
	return newLogger(w, o.fs.Lookup("log-format").Value.String(), o.fs.Lookup("log-level").Value.String())
}

func newLogger(w io.Writer, format, level string) (*slog.Logger, error) {
	var l slog.Level
	if err := l.UnmarshalText([]byte(level)); err != nil {
		return nil, usagef("--log-level %q: use debug, info, warn or error", level)
	}
	opts := &slog.HandlerOptions{Level: l}
	switch format {
	case "json":
		return slog.New(slog.NewJSONHandler(w, opts)), nil
	case "text":
		return slog.New(slog.NewTextHandler(w, opts)), nil
	}
	return nil, usagef("--log-format %q: use json or text", format)
}

package main

import (
	"runtime"
	"runtime/debug"
)

// Build information, set by the linker (see the Makefile).
var (
	version  = ""
	revision = ""
)

func versionLine() string {
	v, r := buildVersion()
	line := "segmentd " + v
	if r != "" {
		line += " (" + r + ")"
	}
	return line + " " + runtime.Version() + " " + runtime.GOOS + "/" + runtime.GOARCH + gateLine()
}

// buildVersion falls back to what the Go tool recorded.
func buildVersion() (v, r string) {
	v, r = version, revision
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return v, r
	}
	if v == "" {
		v = info.Main.Version
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" && r == "" {
			r = s.Value
		}
	}
	return v, r
}

package main

import (
	"errors"

	"github.com/segmentd/segmentd/processor/consent"
)

// ungatedVariable must be set to ungatedMeant for a build without the gate of
// consent to do anything: nobody's data may come to it.
const (
	ungatedVariable = "UNGATED_BENCHMARK"
	ungatedMeant    = "of-made-up-people"
)

// ungatedLine is what such a build says of itself in its version.
const ungatedLine = " UNGATED: a benchmark that asks nobody for consent"

var errUngated = errors.New("this build asks nobody for consent (segmentd_ungated) and is for benchmarks only: use another")

// mayRun refuses a build without the gate that was not started by the benchmark.
func mayRun(gated bool, getenv func(string) string) error {
	if gated || getenv(ungatedVariable) == ungatedMeant {
		return nil
	}
	return usageError(errUngated)
}

// gateLine is what the version says of the gate.
func gateLine() string {
	if consent.Gated {
		return ""
	}
	return ungatedLine
}

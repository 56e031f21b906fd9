package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"strings"

	"github.com/segmentd/segmentd/processor/replay"
	"github.com/segmentd/segmentd/rules"
)

// compareSample reads files of real records and looks for names and fields of
// the rules that they never have.
func compareSample(inv *invocation, set *rules.Set, files []string) ([]rules.Problem, error) {
	sample := rules.NewSample()
	for _, file := range files {
		if err := readSample(inv, sample, file); err != nil {
			return nil, err
		}
	}
	if sample.Events == 0 {
		return nil, fmt.Errorf("%s: no event in the sample: each line must be one, as 'segmentd schema event' has them", strings.Join(files, ", "))
	}
	return set.CompareSample(sample.Names, sample.Fields), nil
}

func readSample(inv *invocation, sample *rules.Sample, file string) error {
	source, closer, err := replay.Open(file, inv.in)
	if err != nil {
		return err
	}
	defer closer.Close()
	broken := sample.Broken
	if err := addLines(sample, source.Reader); err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	if n := sample.Broken - broken; n > 0 {
		fmt.Fprintf(inv.err, "%s: %s left out: no JSON object\n", file, count(n, "line"))
	}
	return nil
}

// maxSampleLineBytes bounds a line in memory.
const maxSampleLineBytes = 64 << 20

func addLines(sample *rules.Sample, r io.Reader) error {
	lines := bufio.NewScanner(r)
	lines.Buffer(make([]byte, 64<<10), maxSampleLineBytes)
	for first := true; lines.Scan(); first = false {
		text := lines.Bytes()
		if first {
			text = bytes.TrimPrefix(text, []byte("\xef\xbb\xbf"))
		}
		sample.Add(text)
	}
	return lines.Err()
}

package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"strings"

	"github.com/segmentd/segmentd/processor/replay"
	"github.com/segmentd/segmentd/processor/wire"
	"github.com/segmentd/segmentd/rules"
)

// compareSample reads files of real records and looks for names and fields of
// the rules that they never have.
func (f *checkFlags) compareSample(inv *invocation, set *rules.Set) ([]rules.Problem, error) {
	sample := rules.NewSample()
	paths := map[*replay.Input]*samplePaths{}
	for _, file := range f.sample {
		if err := f.readSample(inv, sample, file, paths); err != nil {
			return nil, err
		}
	}
	var missing []rules.Problem
	for _, p := range paths {
		missing = append(missing, p.missing()...)
	}
	if sample.Events == 0 {
		_ = rules.WriteProblems(inv.err, rules.SortProblems(missing))
		return nil, inputError(fmt.Errorf("%s: no event in the sample: each line must be one, as 'segmentd schema event' has them, or of another shape that the map of its input (--config) reads",
			strings.Join(f.sample, ", ")))
	}
	return append(missing, set.CompareSample(sample.Names, sample.Fields)...), nil
}

func (f *checkFlags) readSample(inv *invocation, sample *rules.Sample, file string, paths map[*replay.Input]*samplePaths) error {
	source, closer, err := f.files.open(inv, file)
	if err != nil {
		return err
	}
	defer closer.Close()
	r := sampleReader{sample: sample, input: source.Input}
	if in := source.Input; in != nil {
		r.decoder = wire.NewDecoder(in.Decoder)
		if in.Decoder.Map != nil && paths[in] == nil {
			paths[in] = newSamplePaths(f.files.topic(in), in.Decoder.Map)
		}
		r.paths = paths[in]
	}
	broken := sample.Broken
	if err := r.addLines(source.Reader); err != nil {
		return inputError(fmt.Errorf("%s: %w", file, err))
	}
	if n := sample.Broken - broken; n > 0 {
		fmt.Fprintf(inv.err, "%s: %s left out: no JSON object\n", file, count(n, "line"))
	}
	if r.refused > 0 {
		fmt.Fprintf(inv.err, "%s: %s left out, the first of them line %d: %s\n", file, count(r.refused, "line"), r.first, r.why)
	}
	return nil
}

// sampleReader counts the lines of one file.
type sampleReader struct {
	sample  *rules.Sample
	input   *replay.Input // nil: lines are records in segmentd's own shapes
	decoder *wire.Decoder // of the input
	paths   *samplePaths  // of its map; nil: it has none
	refused int           // lines that the input cannot read
	first   int           // the first of them, and why
	why     string
}

// maxSampleLineBytes bounds a line in memory.
const maxSampleLineBytes = 64 << 20

func (r *sampleReader) addLines(from io.Reader) error {
	lines := bufio.NewScanner(from)
	lines.Buffer(make([]byte, 64<<10), maxSampleLineBytes)
	for number := 1; lines.Scan(); number++ {
		text := lines.Bytes()
		if number == 1 {
			text = bytes.TrimPrefix(text, []byte("\xef\xbb\xbf"))
		}
		if text = bytes.TrimSpace(text); len(text) == 0 {
			continue
		}
		text, why := r.rewritten(text)
		if why == "" {
			r.sample.Add(text)
			continue
		}
		if r.refused++; r.refused == 1 {
			r.first, r.why = number, why
		}
	}
	return lines.Err()
}

// rewritten is the line in segmentd's own shape.
func (r *sampleReader) rewritten(line []byte) (text []byte, why string) {
	if r.input == nil {
		return line, ""
	}
	record, err := r.input.Record(line)
	if err != nil {
		return nil, err.Error()
	}
	if r.paths != nil {
		r.paths.add(record.Value)
	}
	text, rejected := r.decoder.Rewritten(r.input.Kind, record)
	if rejected != nil {
		return nil, rejected.String()
	}
	return text, ""
}

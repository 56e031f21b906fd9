package rules

import (
	"bytes"
	"encoding/json"
)

// Sample counts the event names and fields of real records, for CompareSample:
// Segment's calls and CloudEvents, read as the processor reads them.
type Sample struct {
	Names  map[string]int // events by name
	Fields map[string]int // records by path, as Slot.Path writes it; "[]" stands for the elements of a list
	Events int            // records that are events
	Others int            // records that are none: decisions, requests, group calls …
	Broken int            // texts that are no JSON object
}

// NewSample returns an empty sample.
func NewSample() *Sample { return &Sample{Names: map[string]int{}, Fields: map[string]int{}} }

// Add counts one record, a JSON text. Empty texts count as nothing.
func (s *Sample) Add(text []byte) {
	if text = bytes.TrimSpace(text); len(text) == 0 {
		return
	}
	var record map[string]any
	if json.Unmarshal(text, &record) != nil || record == nil {
		s.Broken++
		return
	}
	if _, ok := record["specversion"]; ok {
		s.cloudEvent(record)
		return
	}
	s.call(record)
}

// cloudEvent counts a structured CloudEvent: its data are the properties.
func (s *Sample) cloudEvent(record map[string]any) {
	name, _ := record["type"].(string)
	s.event(name)
	s.walk("properties", record["data"])
}

// call counts one of Segment's calls.
func (s *Sample) call(record map[string]any) {
	switch record["type"] {
	case "track":
		name, _ := record["event"].(string)
		s.event(name)
	case "page":
		s.event("Page Viewed")
	case "screen":
		s.event("Screen Viewed")
	case "identify":
		s.Events++
		s.walk("traits", record["traits"])
		return
	default:
		s.Others++
		return
	}
	properties, _ := record["properties"].(map[string]any)
	s.walk("properties", properties)
	s.walk("context", record["context"])
	if record["type"] == "track" {
		return
	}
	for _, field := range []string{"name", "category"} {
		if record[field] != nil && properties[field] == nil {
			s.Fields["properties."+field]++
		}
	}
}

func (s *Sample) event(name string) {
	s.Events++
	if name != "" {
		s.Names[name]++
	}
}

// walk counts the fields below a path, and those of the elements of lists. A
// field that is null is not there.
func (s *Sample) walk(path string, v any) {
	switch v := v.(type) {
	case map[string]any:
		for key, value := range v {
			if value != nil {
				below := pathText(path, []string{key})
				s.Fields[below]++
				s.walk(below, value)
			}
		}
	case []any:
		for _, element := range v {
			s.walk(path+"[]", element)
		}
	}
}

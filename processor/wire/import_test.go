package wire

import (
	"strings"
	"testing"

	"github.com/segmentd/segmentd/state/subject"
)

func TestImportsAreChecked(t *testing.T) {
	const document = `{"format":"segmentd/portability/1","userId":"u1","idType":"userId","ruleSet":"","decisions":[],"purposes":[{"purpose":"p","holds":true,"observed":[{"what":"x","times":["2026-01-01T00:00:00Z"],"values":[{"$object":["$timestamp",1.50]}]}]}]}`
	record := func(doc string) string {
		return `{"type":"import","requestId":"i","userId":"u1","timestamp":"2026-01-01T00:00:00Z","document":` + doc + `}`
	}
	d := NewDecoder(DecoderOptions{})
	item, rejected := d.Decode(Requests, Input{Value: []byte(record(document)), Timestamp: subject.Never})
	if rejected != nil || item.Request.Kind != subject.Import {
		t.Fatal(item, rejected)
	}
	if v := item.Request.Portable.Purposes[0].Evidence[0].Values[0]; v.Get("$timestamp").Number().String() != "1.5" {
		t.Error("an object that looks like a timestamp is read as another value")
	}
	for wrong, why := range map[string]string{
		`null`: "document is missing",
		`{}`:   "not a document of the format",
		strings.Replace(document, "u1", "canary", 1):              "the document is another subject's",
		strings.Replace(document, "2026-01-01T", "canary", 1):     "is not an RFC 3339 timestamp",
		strings.Replace(document, `"holds":true`, `"holds":7`, 1): "is not of the kind",
	} {
		_, rejected := d.Decode(Requests, Input{Value: []byte(record(wrong)), Timestamp: subject.Never})
		if rejected == nil || !strings.Contains(rejected.Detail, why) || strings.Contains(rejected.Detail, "canary") {
			t.Errorf("%s: %v, want %q", wrong, rejected, why)
		}
	}
}

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/segmentd/segmentd/cmd/segmentd/internal/shop"
	"github.com/segmentd/segmentd/processor/stream"
	"github.com/segmentd/segmentd/processor/wire"
	"github.com/segmentd/segmentd/state/subject"
)

// display prints what happens, for people.
type display struct {
	mu      sync.Mutex // guards out and what follows first
	out     io.Writer
	color   bool
	service *service
	began   time.Time
	first   time.Duration // until the first change was seen
	stories int
	counts  map[string]int    // changes by kind, exits because of stops, and erasures by how far they are
	asked   map[string]string // who made a request, by its id
}

func newDisplay(out io.Writer, s *service, began time.Time) *display {
	f, isFile := out.(*os.File)
	color := false
	if isFile {
		info, err := f.Stat()
		color = err == nil && info.Mode()&os.ModeCharDevice != 0 && os.Getenv("NO_COLOR") == ""
	}
	d := &display{out: out, color: color, service: s, began: began, counts: map[string]int{}, asked: map[string]string{}}
	base := "http://" + s.admin.Addr().String()
	fmt.Fprintf(out, "Open pages: %s/v1/segments, %s/v1/requests and %s/metrics    Kafka: %s\n\n", base, base, base, s.broker.Addr())
	return d
}

func (d *display) paint(code, text string) string {
	if !d.color {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

func (d *display) line(at time.Time, text string) {
	fmt.Fprintf(d.out, "%s  %s\n", at.Format("15:04:05"), text)
}

func (d *display) story(r shop.Record) {
	if r.Story == "" {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.stories++
	if r.Kind == shop.Request {
		d.counts["asked"]++
		var request struct{ RequestID string }
		if json.Unmarshal(r.Value, &request) == nil {
			d.asked[request.RequestID] = r.Key
		}
	}
	d.line(r.At, d.paint("2", "  "+r.Key+" "+r.Story))
}

// changed shows a record of the changes topic.
func (d *display) changed(r *stream.Record) {
	p, err := wire.ParseChange(r.Value)
	if err != nil {
		return
	}
	c, at := &p.Change, r.Timestamp.Time().Local()
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.first == 0 {
		d.first = time.Since(d.began)
	}
	switch c.Kind {
	case subject.Entered:
		d.counts["entered"]++
		d.line(at, d.paint("32;1", "  + "+c.Subject.Value+" enters "+c.Segment)+d.because(c))
	case subject.Erased:
		d.line(at, d.paint("35;1", "  x "+c.Subject.Value+" is erased"))
	default:
		d.counts["exited"]++
		if c.Reason == subject.ByWithdrawn || c.Reason == subject.ByObjected {
			d.counts["stopped"]++
		}
		d.line(at, d.paint("31;1", "  - "+c.Subject.Value+" exits "+c.Segment)+d.because(c))
	}
}

// told shows a record of the topic of requests' results, once the request is done.
func (d *display) told(r *stream.Record) {
	var result struct{ RequestID, Status string }
	if json.Unmarshal(r.Value, &result) != nil || result.Status != subject.Completed.String() {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.counts["completed"]++
	d.line(r.Timestamp.Time().Local(), d.paint("35", "    "+d.asked[result.RequestID]+"'s request is completed ("+result.RequestID+"): gone from the files"))
}

func (d *display) because(c *subject.Change) string {
	if c.Reason == subject.ByEvent || c.Reason == subject.ByTrait {
		return ""
	}
	return d.paint("33", " ("+c.Reason.String()+")")
}

// follow reads a topic from its start as any consumer would, read_committed.
func (d *display) follow(ctx context.Context, topic string, each func(*stream.Record)) error {
	s := d.service
	positions := make([]stream.Position, s.partitions())
	for p := range positions {
		positions[p] = stream.Position{Topic: topic, Partition: int32(p)}
	}
	var buf stream.Buffer
	for ctx.Err() == nil {
		fetched, err := s.client.Fetch(ctx, positions, stream.FetchOptions{MaxWait: 200 * time.Millisecond, MaxBytes: 1 << 20}, &buf)
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return fmt.Errorf("read %s: %w", topic, err)
		}
		for i := range fetched {
			positions[i].Offset = max(positions[i].Offset, fetched[i].Next)
			for j := range fetched[i].Records {
				each(&fetched[i].Records[j])
			}
		}
	}
	return nil
}

// close sums up and says what to try next.
func (d *display) close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	fmt.Fprintf(d.out, "\nThe shop closes: %s, %s and %s (%d of them because consent was withdrawn or objected to);\n"+
		"the first change was published %.1f s after the start.\n", count(d.stories, "action"), count(d.counts["entered"], "entry"), count(d.counts["exited"], "exit"), d.counts["stopped"], d.first.Seconds())
	if asked := d.counts["asked"]; asked > 0 {
		fmt.Fprintf(d.out, "%s asked to be erased; %d are gone from the files already (promised is within %.0f s).\n", count(asked, "customer"), d.counts["completed"], demoErase.Seconds())
	}
	fmt.Fprint(d.out, demoOutro)
}

const demoOutro = `
Try next:
  segmentd demo --for 0 --listen 127.0.0.1:8080     keep it open; then, in another terminal:
    curl -s http://127.0.0.1:8080/v1/segments         how many are in which segment
    segmentd members anna-1                           where one customer is
    curl -s http://127.0.0.1:8080/v1/requests         who asked for what: how far it is, until when it is due, the receipt
                                                      (to read along: topics segmentd-request-results and segmentd-changes)
  segmentd check deployments/example/rules          check rules of your own; rules/README.md is their reference
  segmentd replay --rules deployments/example/rules FILE…   run rules over files, without Kafka
  segmentd run --rules DIR --embedded               the service on one machine; README.md goes on from there
`

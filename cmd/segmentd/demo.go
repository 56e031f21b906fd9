package main

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/spf13/pflag"
	"golang.org/x/sync/errgroup"

	"github.com/segmentd/segmentd/cmd/segmentd/internal/shop"
	"github.com/segmentd/segmentd/config"
	"github.com/segmentd/segmentd/processor"
	"github.com/segmentd/segmentd/processor/kafka"
	"github.com/segmentd/segmentd/processor/stream"
	"github.com/segmentd/segmentd/processor/wire"
	"github.com/segmentd/segmentd/state/subject"
)

//go:embed demo
var demoFiles embed.FS

type demoFlags struct {
	length    time.Duration
	customers int
	seed      uint64
	listen    string
}

func demoCommand() command {
	return command{
		name: "demo", summary: "Watch a simulated shop's customers enter and leave segments",
		details: `
Starts the embedded broker, the processor with sample rules, and a simulated shop whose customers browse, order, send
back, consent and withdraw; prints what they do and every membership change as it is published. Everything is kept in a
temporary directory that is removed at the end.`,
		setup: func(fs *pflag.FlagSet) func(context.Context, *invocation) error {
			var f demoFlags
			fs.DurationVar(&f.length, "for", time.Minute, "how long the shop is open; 0: until interrupted")
			fs.IntVar(&f.customers, "customers", 12, "who shop at the same time")
			fs.Uint64Var(&f.seed, "seed", 1, "of the simulation")
			fs.StringVar(&f.listen, "listen", "127.0.0.1:0", "`host:port` of health, metrics and look-ups")
			return func(ctx context.Context, inv *invocation) error { return f.run(ctx, inv) }
		},
	}
}

func (f *demoFlags) run(ctx context.Context, inv *invocation) (err error) {
	dir, err := os.MkdirTemp("", "segmentd-demo-")
	if err != nil {
		return environmentError(err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	rulesDir := filepath.Join(dir, "rules")
	if err := copyDemoRules(rulesDir); err != nil {
		return environmentError(err)
	}
	cfg, err := f.config(dir, rulesDir)
	if err != nil {
		return err
	}
	fmt.Fprint(inv.out, demoIntro)
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	began := time.Now()
	var show *display
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		return serve(ctx, inv, cfg, func(s *service) {
			show = newDisplay(inv.out, s, began)
			group.Go(func() error { defer stop(); return f.open(ctx, s, show) })
			group.Go(func() error { return show.follow(ctx) })
		})
	})
	if err := group.Wait(); err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	if show != nil {
		show.close()
	}
	return nil
}

func copyDemoRules(dir string) error {
	sub, err := fs.Sub(demoFiles, "demo")
	if err != nil {
		return err
	}
	return os.CopyFS(dir, sub)
}

func (f *demoFlags) config(dir, rulesDir string) (*config.Config, error) {
	fs := pflag.NewFlagSet("demo", pflag.ContinueOnError)
	config.AddFlags(fs)
	err := fs.Parse([]string{"--rules", rulesDir, "--embedded", "--data", filepath.Join(dir, "data"), "--listen", f.listen, "--broker-listen", "127.0.0.1:0", "--log-level", "warn"})
	if err != nil {
		return nil, err
	}
	cfg, err := config.Load(config.Sources{Environ: []string{"SEGMENTD_TOPICS_PARTITIONS=4"}, Flags: fs, Needs: config.NeedAll})
	if err != nil {
		return nil, err
	}
	return cfg, nil
}

// open runs the shop until its time is over.
func (f *demoFlags) open(ctx context.Context, s *service, show *display) error {
	simulation := shop.New(shop.Config{Seed: f.seed, Customers: f.customers, Start: time.Now(), Pace: 1500 * time.Millisecond, Stops: 0.02})
	producer := s.client.NewProducer(kafka.ProducerConfig{})
	end := time.Now().Add(f.length)
	for f.length == 0 || time.Now().Before(end) {
		select {
		case <-time.After(time.Until(simulation.Peek())):
		case <-ctx.Done():
			return nil
		}
		records := simulation.Next()
		for _, r := range records {
			show.story(r)
		}
		if _, err := producer.Send(ctx, shopMessages(s.cfg, records, s.partitions())); err != nil && ctx.Err() == nil {
			return fmt.Errorf("send the shop's records: %w", err)
		}
	}
	// What was sent last is still to be seen.
	select {
	case <-time.After(time.Second):
	case <-ctx.Done():
	}
	return nil
}

// shopMessages lays records out for Kafka; decisions come before the events of
// the same action.
func shopMessages(cfg *config.Config, records []shop.Record, partitions int32) []stream.Message {
	var ms []stream.Message
	for _, kind := range []shop.Kind{shop.Decision, shop.Event} {
		topic := cfg.InputsOf(map[shop.Kind]string{shop.Decision: config.KindDecision, shop.Event: config.KindEvent}[kind])[0].Topic
		for _, r := range records {
			if r.Kind == kind {
				p, _ := kafka.Murmur2.Partition([]byte(r.Key), partitions)
				ms = append(ms, stream.Message{Topic: topic, Partition: p, Timestamp: subject.FromTime(r.At), Key: []byte(r.Key), Value: r.Value})
			}
		}
	}
	return ms
}

const demoIntro = `
A small shop opens. Its customers browse, order, send things back, and say what their data may be used for.
segmentd reads what they do from Kafka (an embedded broker) and publishes who enters and leaves which segment.

  12:00:01   anna-1 puts a tea into the cart          what customers do
  12:00:01   + anna-1 enters has_cart                 a membership change, as marketing tools read it
  12:00:09   - anna-1 exits has_cart (withdrawn)      consent withdrawn: out at once, and forgotten

`

// display prints what happens, for people.
type display struct {
	mu      sync.Mutex // guards out and the counts
	out     io.Writer
	color   bool
	service *service
	began   time.Time
	first   time.Duration // until the first change was seen
	stories int
	counts  map[string]int // changes by kind, and by reason of exits
}

func newDisplay(out io.Writer, s *service, began time.Time) *display {
	f, isFile := out.(*os.File)
	color := false
	if isFile {
		info, err := f.Stat()
		color = err == nil && info.Mode()&os.ModeCharDevice != 0 && os.Getenv("NO_COLOR") == ""
	}
	d := &display{out: out, color: color, service: s, began: began, counts: map[string]int{}}
	fmt.Fprintf(out, "Open pages: http://%s/v1/segments and http://%s/metrics    Kafka: %s\n\n", s.admin.Addr(), s.admin.Addr(), s.broker.Addr())
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
	d.line(r.At, d.paint("2", "  "+r.Key+" "+r.Story))
}

func (d *display) change(c *subject.Change, at time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.first == 0 {
		d.first = time.Since(d.began)
	}
	if c.Kind == subject.Entered {
		d.counts["entered"]++
		d.line(at, d.paint("32;1", "  + "+c.Subject.Value+" enters "+c.Segment)+d.because(c))
		return
	}
	d.counts["exited"]++
	if c.Reason == subject.ByWithdrawn || c.Reason == subject.ByObjected {
		d.counts["stopped"]++
	}
	d.line(at, d.paint("31;1", "  - "+c.Subject.Value+" exits "+c.Segment)+d.because(c))
}

func (d *display) because(c *subject.Change) string {
	if c.Reason == subject.ByEvent || c.Reason == subject.ByTrait {
		return ""
	}
	return d.paint("33", " ("+c.Reason.String()+")")
}

// follow reads the changes topic as any consumer would, read_committed.
func (d *display) follow(ctx context.Context) error {
	s := d.service
	positions := make([]stream.Position, s.partitions())
	for p := range positions {
		positions[p] = stream.Position{Topic: processor.Topics{Group: s.cfg.Group}.Changes(""), Partition: int32(p)}
	}
	var buf stream.Buffer
	for ctx.Err() == nil {
		fetched, err := s.client.Fetch(ctx, positions, stream.FetchOptions{MaxWait: 200 * time.Millisecond, MaxBytes: 1 << 20}, &buf)
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return fmt.Errorf("read the changes: %w", err)
		}
		for i := range fetched {
			positions[i].Offset = max(positions[i].Offset, fetched[i].Next)
			for j := range fetched[i].Records {
				r := &fetched[i].Records[j]
				if p, err := wire.ParseChange(r.Value); err == nil {
					d.change(&p.Change, r.Timestamp.Time().Local())
				}
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
	fmt.Fprint(d.out, demoOutro)
}

const demoOutro = `
Try next:
  segmentd demo --for 0 --listen 127.0.0.1:8080     keep it open; then, in another terminal:
    curl -s http://127.0.0.1:8080/v1/segments         how many are in which segment
    segmentd members anna-1                           where one customer is
  segmentd check deployments/example/rules          check rules of your own; rules/README.md is their reference
  segmentd replay --rules deployments/example/rules FILE…   run rules over files, without Kafka
  segmentd run --rules DIR --embedded               the service on one machine; README.md goes on from there
`

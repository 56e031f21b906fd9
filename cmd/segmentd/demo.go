package main

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/pflag"
	"golang.org/x/sync/errgroup"

	"github.com/segmentd/segmentd/cmd/segmentd/internal/shop"
	"github.com/segmentd/segmentd/config"
	"github.com/segmentd/segmentd/processor"
	"github.com/segmentd/segmentd/processor/kafka"
	"github.com/segmentd/segmentd/processor/stream"
	"github.com/segmentd/segmentd/state/subject"
)

//go:embed demo
var demoFiles embed.FS

// demoErase is the shortest time within which what was erased can be promised to be
// gone from the files; it mostly is after a quarter of it.
const demoErase = time.Minute

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
back, consent, withdraw and ask to be erased; prints what they do, every membership change as it is published, and how
far requests are. Everything is kept in a temporary directory that is removed at the end.`,
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
			topics := processor.Topics{Group: s.cfg.Group}
			group.Go(func() error { return show.follow(ctx, topics.Changes(""), show.changed) })
			group.Go(func() error { return show.follow(ctx, topics.RequestResults(), show.told) })
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
	cfg, err := config.Load(config.Sources{Environ: []string{"SEGMENTD_TOPICS_PARTITIONS=4", "SEGMENTD_PRIVACY_ERASE_WITHIN=" + demoErase.String()}, Flags: fs, Needs: config.NeedAll})
	if err != nil {
		return nil, err
	}
	return cfg, nil
}

// open runs the shop until its time is over.
func (f *demoFlags) open(ctx context.Context, s *service, show *display) error {
	simulation := shop.New(shop.Config{Seed: f.seed, Customers: f.customers, Start: time.Now(), Pace: 1500 * time.Millisecond, Stops: 0.02, Erasures: 0.02})
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

// shopMessages lays records out for Kafka; requests and decisions come before the
// events of the same action.
func shopMessages(cfg *config.Config, records []shop.Record, partitions int32) []stream.Message {
	var ms []stream.Message
	for _, kind := range []shop.Kind{shop.Request, shop.Decision, shop.Event} {
		topic := cfg.InputsOf(map[shop.Kind]string{shop.Request: config.KindRequest, shop.Decision: config.KindDecision, shop.Event: config.KindEvent}[kind])[0].Topic
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
A small shop opens. Its customers browse, order, send things back, say what their data may be used for, and some ask
to be erased. segmentd reads what they do from Kafka (an embedded broker) and publishes who enters and leaves which segment.

  12:00:01   anna-1 puts a tea into the cart          what customers do
  12:00:01   + anna-1 enters has_cart                 a membership change, as marketing tools read it
  12:00:09   - anna-1 exits has_cart (withdrawn)      consent withdrawn: out at once, and forgotten
  12:00:20   x anna-1 is erased                       told to all who read the changes; nothing older counts any more
  12:00:40     anna-1's request is completed          and gone from the files on disk, too

`

package main

import (
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/segmentd/segmentd/processor/kafka"
	"github.com/segmentd/segmentd/processor/stream"
	"github.com/segmentd/segmentd/state/subject"
)

// producing is a broker with one topic of one partition.
type producing struct {
	t      *testing.T
	broker string
	client *kafka.Client
}

const producedTopic = "shop.events"

func startProducing(t *testing.T) *producing {
	t.Helper()
	broker, err := startBroker(t.TempDir(), "127.0.0.1:0", 1, slog.New(slog.DiscardHandler))
	must(t, err)
	t.Cleanup(func() { _ = broker.Close() })
	p := &producing{t: t, broker: broker.Addr()}
	p.client, err = kafka.New(kafka.Config{Brokers: []string{p.broker}})
	must(t, err)
	t.Cleanup(func() { _ = p.client.Close() })
	_, err = p.client.CreateTopics(t.Context(), []kafka.NewTopic{{Name: producedTopic, Partitions: 1, ReplicationFactor: 1}})
	must(t, err)
	must(t, p.client.WaitTopics(t.Context(), producedTopic))
	return p
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// start starts the command with a standard input that stays open.
func (p *producing) start(args ...string) (*process, io.WriteCloser) {
	p.t.Helper()
	self, err := os.Executable()
	must(p.t, err)
	cmd := exec.Command(self, append([]string{"produce", "--brokers", p.broker, "--topic", producedTopic}, args...)...)
	cmd.Args[0], cmd.Env = "segmentd", environment() // see TestMain
	stdin, err := cmd.StdinPipe()
	must(p.t, err)
	return startCommand(p.t, cmd), stdin
}

// write writes n lines and half a one at once: below PIPE_BUF (4096 bytes) they are
// read together.
func (p *producing) write(w io.Writer, n int) {
	p.t.Helper()
	_, err := io.WriteString(w, productionLines(n)+`{"userId":`)
	must(p.t, err)
}

func productionLines(n int) string {
	var lines strings.Builder
	for i := range n {
		lines.WriteString(`{"userId":"p-` + strconv.Itoa(i) + `"}` + "\n")
	}
	return lines.String()
}

// records are those that the topic has.
func (p *producing) records() (all []stream.Record) {
	p.t.Helper()
	must(p.t, readPartition(p.t.Context(), p.client, producedTopic, 0, func(_ string, _ int32, r *stream.Record) {
		all = append(all, stream.Record{Timestamp: r.Timestamp, Value: append([]byte(nil), r.Value...)})
	}))
	return all
}

// awaits waits until the topic has n records.
func (p *producing) awaits(n int) {
	p.t.Helper()
	poll(p.t, strconv.Itoa(n)+" records", func() bool { return len(p.records()) >= n })
}

// Lines are sent while the pipe from which they come stays open, however few, and as
// they come.
func TestProduceFromAnOpenPipe(t *testing.T) {
	for name, flags := range map[string][]string{"as fast as it goes": nil, "at a rate": {"--rate", "1000"}} {
		t.Run(name, func(t *testing.T) {
			p := startProducing(t)
			run, stdin := p.start(append(flags, "-")...)
			for i, line := range strings.SplitAfter(productionLines(3), "\n")[:3] {
				_, err := io.WriteString(stdin, line)
				must(t, err)
				p.awaits(i + 1)
			}
			must(t, stdin.Close())
			run.ends(0, "3 records sent to "+producedTopic)
		})
	}
}

// What was read is sent if the command is told to stop within a read that does not
// end, although by the rate its turn would come in minutes.
func TestProduceStoppedAtAnOpenPipe(t *testing.T) {
	for _, sig := range []os.Signal{syscall.SIGINT, syscall.SIGTERM} {
		t.Run(sig.String(), func(t *testing.T) {
			p := startProducing(t)
			run, stdin := p.start("--rate", "1", "-")
			p.write(stdin, 200)
			p.awaits(1)
			must(t, run.cmd.Process.Signal(sig))
			run.ends(0, "200 records sent to "+producedTopic)
			if n := len(p.records()); n != 200 {
				t.Errorf("the topic has %d records, want the 200 whole lines", n)
			}
		})
	}
}

// Within a file it is an error to be stopped, which says where to go on.
func TestProduceStoppedWithinAFile(t *testing.T) {
	p := startProducing(t)
	file := filepath.Join(t.TempDir(), "events.ndjson")
	must(t, os.WriteFile(file, []byte(productionLines(20_000)), 0o600))
	run, _ := p.start("--rate", "10", file)
	p.awaits(1)
	must(t, run.cmd.Process.Signal(syscall.SIGTERM))
	run.ends(exitEnvironment, "")
	n := strconv.Itoa(len(p.records()))
	run.ends(exitEnvironment, "segmentd produce: "+file+": interrupted after line "+n+", with "+n+" records sent to "+producedTopic)
}

// Records are dated when they are sent.
func TestProduceDatesRecords(t *testing.T) {
	p := startProducing(t)
	s := &sender{producer: p.client.NewProducer(kafka.ProducerConfig{}), topic: producedTopic, partitions: 1, partitioner: kafka.Murmur2}
	if what := s.add(`{"userId":"p-1"}`); what != "" {
		t.Fatal(what)
	}
	read := subject.FromTime(time.Now())
	poll(t, "the clock moves on", func() bool { return subject.FromTime(time.Now()) > read+1000 })
	must(t, s.flush(t.Context()))
	if at := p.records()[0].Timestamp; at <= read {
		t.Errorf("it is dated %v, and was sent later than %v", at, read)
	}
}

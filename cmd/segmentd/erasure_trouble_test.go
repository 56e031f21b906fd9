package main

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kmsg"
	"golang.org/x/sync/errgroup"

	"github.com/segmentd/segmentd/processor"
	"github.com/segmentd/segmentd/processor/kafka"
	"github.com/segmentd/segmentd/processor/stream"
	"github.com/segmentd/segmentd/state"
	spelling "github.com/segmentd/segmentd/state/canary"
	"github.com/segmentd/segmentd/state/subject"
)

// imageSteps are where a process is killed while it erases, by itself.
var imageSteps = []state.Step{state.StepWrite, state.StepPosition, state.StepWritten,
	state.StepScrub, state.StepScrubNoted, state.StepScrubMarked, state.StepScrubDropped, state.StepScrubRestored, state.StepScrubbed}

// transactionSteps are requests with which a process is killed by its broker, before
// they have an effect.
var transactionSteps = map[string]kmsg.Key{"produce": kmsg.Produce, "offsets": kmsg.TxnOffsetCommit, "end of the transaction": kmsg.EndTxn}

// TestErasureSurvivesKills kills the process (kill -9) at each step of a transaction, of
// writing the image and of a scrub, while somebody is erased: the next one completes
// the erasure, says so once, and nothing is left.
func TestErasureSurvivesKills(t *testing.T) {
	if testing.Short() {
		t.Skip("kills processes")
	}
	w := newWipe(t, crashGroup)
	n := len(imageSteps) + len(transactionSteps)
	people := make([]int, n+1) // the last one stays
	for i := range people {
		people[i] = i
		w.live(i)
	}
	p := w.startQuick(victim{})
	w.awaitLives(crashGroup, people...)
	before := w.standing(people[n:])
	p.stops(0)
	for i, step := range imageSteps {
		w.erasedDespite(i, string(step), func() *process { return w.startQuick(victim{Step: step}) })
	}
	i := len(imageSteps)
	for name, key := range transactionSteps {
		if w.embedded != nil {
			w.erasedDespite(i, name, func() *process { return w.startKilledAt(key) })
		}
		i++
	}
	p = w.startQuick(victim{})
	w.until("it serves", func() bool { return ready(w.http) })
	if d := cmp.Diff(before, w.standing(people[n:])); d != "" {
		t.Errorf("a bystander stands otherwise (-before +after)\n%s", d)
	}
	p.stops(0)
	w.verifies()
}

// erasedDespite lets somebody ask to be erased, and a process die of it.
func (w *wipe) erasedDespite(n int, step string, start func() *process) {
	w.t.Helper()
	request := fmt.Sprintf("killed-%d", n)
	w.asksToBeErased(n, request)
	p := start()
	select {
	case <-p.ended:
	case <-time.After(time.Minute):
		w.t.Fatalf("not killed at %s:\n%s", step, p.log.String())
	}
	if status, _ := p.cmd.ProcessState.Sys().(syscall.WaitStatus); !status.Signaled() || status.Signal() != syscall.SIGKILL {
		w.t.Fatalf("at %s it ended by itself: %v\n%s", step, p.err, p.log.String())
	}
	p = w.startQuick(victim{})
	w.awaitCompleted(crashGroup, request)
	w.isGone(p, "killed at "+step, n)
	p.stops(0)
}

// isGone demands that nothing of people is in what a process has and says.
func (w *wipe) isGone(p *process, when string, people ...int) {
	w.t.Helper()
	cs, _ := w.sought(people)
	w.expect(when, w.look(p, cs), map[string][]string{})
}

// startKilledAt starts a process that the embedded broker kills with the first
// request of a kind.
func (w *wipe) startKilledAt(key kmsg.Key) *process {
	cluster := w.embedded.Embedded().Cluster()
	started := make(chan *process, 1)
	changelog := processor.Topics{Group: crashGroup}.Changelog()
	cluster.ControlKey(int16(key), func(req kmsg.Request) (kmsg.Response, error, bool) {
		if r, ok := req.(*kmsg.ProduceRequest); ok && !slices.ContainsFunc(r.Topics, func(t kmsg.ProduceRequestTopic) bool { return t.Topic == changelog }) {
			cluster.KeepControl()
			return nil, nil, false
		}
		p := <-started
		p.kill()
		return nil, errors.New("it is dead"), true
	})
	p := w.startQuick(victim{})
	started <- p
	return p
}

// The same erasure is asked for by two producers at once, each again and again, and
// by another request: each is completed once, and recipients are told once.
func TestErasureAskedForByMany(t *testing.T) {
	if testing.Short() {
		t.Skip("starts processes")
	}
	w := newWipe(t, crashGroup)
	people := []int{0, 1, 2}
	for _, n := range people {
		w.live(n)
	}
	p := w.startQuick(victim{})
	w.awaitLives(crashGroup, people...)
	requests := map[string]stream.Message{}
	for _, n := range people[:2] {
		for _, request := range []string{"same", "other"} {
			name, id := fmt.Sprintf("%s-%d", request, n), personOf(n)
			partition, _ := kafka.Murmur2.Partition([]byte(id), crashPartitions)
			requests[name] = stream.Message{Topic: "requests", Partition: partition, Key: []byte(id), Value: []byte(eraseRequest(n, name))}
		}
	}
	var group errgroup.Group
	for range 2 {
		producer := w.client.NewProducer(kafka.ProducerConfig{})
		group.Go(func() error {
			for range 20 {
				for _, m := range requests { // in another order each time
					m.Timestamp = subject.FromTime(time.Now())
					if _, err := producer.Send(t.Context(), []stream.Message{m}); err != nil {
						return err
					}
				}
			}
			return nil
		})
	}
	w.must(group.Wait())
	w.awaitCompleted(crashGroup, slices.Sorted(maps.Keys(requests))...)
	w.isGone(p, "asked for by many", 0, 1)
	want := map[string]int{personOf(0): 1, personOf(1): 1}
	if d := cmp.Diff(want, w.erasedChanges(crashGroup)); d != "" {
		t.Errorf("told to recipients (-want +got)\n%s", d)
	}
	p.stops(0)
	w.verifies()
}

// While instances come and go people are erased: each is completed by who has its
// partition, and no instance keeps anything for long.
func TestErasureWhileInstancesComeAndGo(t *testing.T) {
	if testing.Short() {
		t.Skip("starts processes")
	}
	w := newWipe(t, crashGroup)
	const n = 12
	people, requests := make([]int, n), make([]string, n)
	for i := range n {
		people[i], requests[i] = i, fmt.Sprintf("moving-%d", i)
		w.live(i)
	}
	brief := victim{KeepUnowned: time.Second}
	first := w.startQuick(brief)
	w.awaitLives(crashGroup, people...)
	address, data := freeAddress(t), filepath.Join(w.dir, "data", "second")
	second := w.startQuick(brief, "--data", data, "--listen", address)
	for i := range n / 2 {
		w.asksToBeErased(i, requests[i])
		<-time.After(50 * time.Millisecond)
	}
	w.until("there are two", func() bool { return ready(address) && ready(w.http) })
	stopped := make(chan struct{})
	go func() { defer close(stopped); _ = second.cmd.Process.Signal(syscall.SIGTERM); <-second.ended }()
	for i := n / 2; i < n; i++ {
		w.asksToBeErased(i, requests[i])
		<-time.After(50 * time.Millisecond)
	}
	<-stopped
	w.awaitCompleted(crashGroup, requests...)
	// The second one's images are as it left them, until it is back.
	second = w.startQuick(brief, "--data", data, "--listen", address)
	cs, _ := w.sought(people)
	w.expectSoon("in no instance's data directory", map[string][]string{}, func() map[string][]string {
		found := w.look(first, cs)
		finds, err := spelling.ScanProcess(fmt.Sprint(second.cmd.Process.Pid), cs)
		w.must(err)
		for _, f := range finds {
			found[f.Canary] = append(found[f.Canary], "files of the second")
		}
		return found
	})
	want := map[string]int{}
	for _, n := range people {
		want[personOf(n)] = 1
	}
	if d := cmp.Diff(want, w.erasedChanges(crashGroup)); d != "" {
		t.Errorf("told to recipients (-want +got)\n%s", d)
	}
	first.stops(0)
	second.stops(0)
	w.verifies()
}

// What was erased does not come back: not from an older copy of the data directory,
// nor without one, nor to a group that reads everything from the start. Who consents anew
// comes back with nothing of before.
func TestErasureIsForGood(t *testing.T) {
	if testing.Short() {
		t.Skip("starts processes")
	}
	w := newWipe(t, crashGroup)
	people := []int{0, 1, 2}
	for _, n := range people {
		w.live(n)
	}
	data, earlier := filepath.Join(w.dir, "data"), filepath.Join(w.dir, "earlier")
	p := w.startQuick(victim{})
	w.awaitLives(crashGroup, people...)
	before := w.standing(people[2:])
	p.stops(0)
	w.must(os.CopyFS(earlier, os.DirFS(data)))
	gone, _ := w.sought(people[:2])
	finds, err := spelling.Scan(gone, earlier)
	if w.must(err); len(finds) == 0 {
		t.Fatal("the copy holds nothing: it tests nothing")
	}
	p = w.startQuick(victim{})
	w.asksToBeErased(0, "for-good-0")
	w.asksToBeErased(1, "for-good-1")
	w.awaitCompleted(crashGroup, "for-good-0", "for-good-1")
	w.isGone(p, "erased", 0, 1)
	p.stops(0)

	for name, change := range map[string]func(){
		"the data directory is deleted": func() { w.must(os.RemoveAll(data)) },
		"an older copy is put back":     func() { w.must(errors.Join(os.RemoveAll(data), os.CopyFS(data, os.DirFS(earlier)))) },
	} {
		change()
		p = w.startQuick(victim{})
		w.until("it serves", func() bool { return ready(w.http) })
		w.expectSoon(name, map[string][]string{}, func() map[string][]string { return w.look(p, gone) })
		if d := cmp.Diff(before, w.standing(people[2:])); d != "" {
			t.Errorf("%s: a bystander stands otherwise (-before +after)\n%s", name, d)
		}
		w.inNothing(name, 0, 1)
		p.stops(0)
	}

	w.must(os.RemoveAll(data))
	w.write("c.yaml", w.config("fresh", "data"))
	p = w.startQuick(victim{})
	w.awaitCompleted("fresh", "for-good-0", "for-good-1")
	w.awaitLives("fresh", 2)
	w.isGone(p, "a group that read all from the start", 0, 1)
	w.inNothing("a group that read all from the start", 0, 1)

	w.send("decisions", personOf(0), fmt.Sprintf(`{"type":"decision","userId":%q,"purpose":"marketing","status":"given"}`, personOf(0)))
	w.send("events", personOf(0), fmt.Sprintf(`{"type":"track","event":"Order","userId":%q,"messageId":"back","properties":{"total":1}}`, personOf(0)))
	var text string
	w.until("who consents anew is back", func() bool {
		text, err = get("http://" + w.http + "/v1/subjects/" + personOf(0))
		return err == nil && strings.Contains(text, `"segment":"buyer"`)
	})
	if strings.Count(text, `"segment"`) != 1 {
		t.Errorf("who is back is in more than what was done since: %s", text)
	}
	cs, _ := w.traces(0)
	w.expect("who is back", w.look(p, cs[1:]), map[string][]string{}) // the first is the id
	p.stops(0)
}

// inNothing demands that people are in no segment.
func (w *wipe) inNothing(when string, people ...int) {
	w.t.Helper()
	for _, n := range people {
		text, err := get("http://" + w.http + "/v1/subjects/" + personOf(n))
		if err == nil && strings.Contains(text, `"segment"`) {
			w.t.Errorf("%s: an erased person is in segments: %s", when, text)
		}
	}
}

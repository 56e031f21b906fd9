package main

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/segmentd/segmentd/cmd/segmentd/internal/shop"
	"github.com/segmentd/segmentd/processor"
)

// onHistory is a broker with a history of n records, and a processor's
// configuration so slow that what is done to the machine finds it at work.
func onHistory(t *testing.T, n int, linger string) (*crash, []shop.Record) {
	t.Helper()
	if testing.Short() {
		t.Skip("starts and kills processes")
	}
	c := newCrash(t)
	c.startBroker()
	history := c.history(n)
	c.createInputs()
	c.write("c.yaml", c.config("{linger: "+linger+", batch_bytes: 64KiB}"))
	c.produce(history)
	return c, history
}

// startAtWork starts a processor and waits until it works off the history.
func (c *crash) startAtWork() *process {
	c.t.Helper()
	p := c.startProcessor()
	c.until("it is at work", func() bool {
		c.alive(p, 0)
		return strings.Contains(p.log.String(), "all assigned partitions are ready")
	})
	if c.lag() == 0 {
		c.t.Error("there is nothing left to do")
	}
	return p
}

// heals lets a processor work off what is left, at full speed, and compares all
// that was published with a replay.
func (c *crash) heals(history []shop.Record) {
	c.t.Helper()
	c.write("c.yaml", c.config("{}"))
	p := c.startProcessor()
	c.awaitEnd()
	p.stops(0)
	c.must(c.client.WaitTopics(c.t.Context(), processor.Topics{Group: crashGroup}.Changes("")))
	c.compare(history)
	c.verifies()
}

// mount puts a file system of its own under a directory until the test ends.
func mount(t *testing.T, dir, size string) {
	t.Helper()
	err := errors.Join(os.MkdirAll(dir, 0o700), syscall.Mount("tmpfs", dir, "tmpfs", 0, "size="+size))
	if errors.Is(err, fs.ErrPermission) {
		t.Skip("mounting needs privileges")
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
}

// A disk that fills up ends the process with a clear message, before a write
// could meet the end of it; nothing is lost, and with room again all is done.
func TestCrashOnAFullDisk(t *testing.T) {
	c, history := onHistory(t, 20_000, "700ms")
	data := filepath.Join(c.dir, "data")
	mount(t, data, "1000m")
	p := c.startAtWork()
	other := filepath.Join(data, "other")
	var left syscall.Statfs_t
	c.must(syscall.Statfs(data, &left))
	c.fill(other, int(left.Bavail)*int(left.Bsize)-(100<<20))
	p.ends(3, "no room left for the image")
	c.startProcessor().ends(3, "make room")
	c.must(os.Remove(other))
	c.heals(history)
}

// So does one that is full to its last byte at once: what Badger would write at the
// stop finds no room, and the image is left as a kill leaves it.
func TestCrashOnADiskWithoutRoom(t *testing.T) {
	c, history := onHistory(t, 20_000, "700ms")
	data := filepath.Join(c.dir, "data")
	mount(t, data, "1000m")
	p := c.startAtWork()
	c.must(p.cmd.Process.Signal(syscall.SIGSTOP))
	other := filepath.Join(data, "other")
	if err := os.WriteFile(other, make([]byte, 1000<<20), 0o600); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("the disk is not full: %v", err)
	}
	c.must(p.cmd.Process.Signal(syscall.SIGCONT))
	p.ends(3, "no room left for the image")
	c.must(os.Remove(other))
	c.heals(history)
}

// fill writes a file of so many bytes.
func (c *crash) fill(name string, bytes int) {
	c.t.Helper()
	f, err := os.Create(name)
	c.must(err)
	block := make([]byte, 1<<20)
	for ; bytes > 0 && err == nil; bytes -= len(block) {
		_, err = f.Write(block[:min(bytes, len(block))])
	}
	c.must(errors.Join(err, f.Close()))
}

// A data directory that cannot be written ends the process; once it can, all is done.
func TestCrashOnAReadOnlyDirectory(t *testing.T) {
	c, history := onHistory(t, 20_000, "700ms")
	data := filepath.Join(c.dir, "data")
	mount(t, data, "1000m")
	c.startAtWork().kill()
	c.must(syscall.Mount("", data, "", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""))
	c.startProcessor().ends(3, "read-only file system")
	c.must(syscall.Mount("", data, "", syscall.MS_REMOUNT, ""))
	c.heals(history)
}

// Whatever is done to the image between a kill -9 and the next start, the
// processor finds out and has the state again that it had.
func TestCrashAndDamage(t *testing.T) {
	c, history := onHistory(t, 80_000, "10s") // each start does a batch and leaves the rest
	image := filepath.Join(c.dir, "data", "image")
	c.startAtWork().stops(0)
	earlier := filepath.Join(c.dir, "earlier")
	c.must(os.CopyFS(earlier, os.DirFS(image)))
	p := c.startAtWork()
	c.alive(p, 1500*time.Millisecond)
	p.kill()
	for _, d := range []struct {
		name   string
		damage func()
		says   string // in the log of the next start
	}{
		{"newest log", func() { c.spoil("badger/*.mem", flipped) }, ""}, // what is before the damage is used
		{"tables", func() { c.spoil("badger/*.sst", flipped) }, "it is damaged"},
		{"manifest", func() { c.spoil("badger/MANIFEST", cut) }, "it is damaged"},
		{"key registry", func() { c.spoil("badger/KEYREGISTRY", cut) }, "it is damaged"},
		{"marker", func() { c.spoil("segmentd.json", cut) }, "thrown away"},
		{"power loss", func() {
			c.spoil("segmentd.json", func(b []byte) []byte {
				return []byte(strings.Replace(string(b), `"boot":"`, `"boot":"another `, 1))
			})
		}, "the machine was restarted without a clean stop"},
		{"deleted", func() { c.must(os.RemoveAll(image)) }, ""},
		{"everything deleted", func() { c.must(os.RemoveAll(filepath.Join(c.dir, "data"))) }, ""},
		{"an old copy", func() { c.must(errors.Join(os.RemoveAll(image), os.CopyFS(image, os.DirFS(earlier)))) }, ""},
	} {
		d.damage()
		p := c.startAtWork()
		c.alive(p, time.Second+time.Duration(c.rng.Int64N(int64(500*time.Millisecond)))) // its batch is in the image
		p.kill()
		if !strings.Contains(p.log.String(), d.says) {
			t.Errorf("%s: the log does not say %q:\n%s", d.name, d.says, p.log.String())
		}
	}
	c.heals(history)
}

// spoil changes the files of the image that match a pattern.
func (c *crash) spoil(pattern string, change func([]byte) []byte) {
	c.t.Helper()
	names, err := filepath.Glob(filepath.Join(c.dir, "data", "image", pattern))
	c.must(err)
	if len(names) == 0 {
		c.t.Fatalf("no file %s", pattern)
	}
	for _, name := range names {
		b, err := os.ReadFile(name)
		c.must(err)
		c.must(os.WriteFile(name, change(b), 0o600))
	}
}

// flipped has another bit in the first kilobyte, where every file has content.
func flipped(b []byte) []byte {
	b[min(len(b)-1, 100)] ^= 0x10
	return b
}

func cut(b []byte) []byte { return b[:len(b)-3] }

// A second process on one data directory ends at once, and the first runs on.
func TestCrashOfASecondProcess(t *testing.T) {
	c, history := onHistory(t, 20_000, "700ms")
	p := c.startAtWork()
	second := c.start("run", "--config", filepath.Join(c.dir, "c.yaml"), "--listen", freeAddress(t))
	second.ends(2, "in use")
	c.alive(p, 0)
	p.stops(0)
	c.heals(history)
}

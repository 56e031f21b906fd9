package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// instance is one of the processes of a live group.
type instance struct {
	live   *live
	config string
	cmd    *exec.Cmd  // nil: it is away
	still  bool       // by SIGSTOP
	next   time.Time  // when its next turn is due
	ending chan error // of the process that was stopped last; nil: none was
}

// newInstance writes the configuration of the n-th instance: with a data
// directory and an address of its own.
func (l *live) newInstance(n int) *instance {
	i := &instance{live: l, config: filepath.Join(l.dir, "segmentd.yaml")}
	if n > 0 {
		address := freeAddress(l.t)
		l.others = append(l.others, address)
		i.config = filepath.Join(l.dir, "segmentd-"+strconv.Itoa(n)+".yaml")
		data := filepath.Join(l.dir, "data")
		text := strings.NewReplacer(strconv.Quote(l.http), strconv.Quote(address), data, data+"-"+strconv.Itoa(n)).Replace(l.rig.config)
		l.must(os.WriteFile(i.config, []byte(text), 0o600))
	}
	return i
}

// startAll lets every instance run.
func (l *live) startAll() {
	for _, i := range l.instances {
		if i.still || i.cmd == nil {
			i.turn()
		}
	}
}

// turn lets an instance that is away, or stands still, run for an eighth of the
// group's pace or longer, up to all of it, and takes one that runs away: killed (the
// first of all) or, where there are others, stopped or made to stand still for up to
// l.away.
func (i *instance) turn() {
	l := i.live
	upTo := func(d time.Duration) time.Duration { return time.Duration(l.rng.Int64N(int64(d))) }
	i.next = time.Now().Add(l.pace/8 + upTo(l.pace*7/8))
	switch {
	case i.still:
		l.must(i.cmd.Process.Signal(syscall.SIGCONT))
		i.still = false
		return
	case i.cmd == nil:
		if i.ending != nil {
			if err := <-i.ending; err != nil {
				l.t.Errorf("an instance that was stopped ended with %v", err)
			}
			i.ending = nil
		}
		i.cmd = l.start("run", "--config", i.config, "--log-level", "warn")
		return
	}
	if len(l.instances) == 1 {
		i.kill()
		i.turn()
		return
	}
	i.next = time.Now().Add(upTo(l.away))
	switch way := l.rng.IntN(4); {
	case l.troubles["kills"] == 0: // a short test has few turns
		i.kill()
	case way == 0:
		l.troubles["stops"]++
		l.must(i.cmd.Process.Signal(syscall.SIGTERM))
		cmd, ending := i.cmd, make(chan error, 1)
		go func() { ending <- cmd.Wait() }() // the shop goes on meanwhile
		i.cmd, i.ending = nil, ending
	case way == 1:
		l.troubles["standstills"]++
		l.must(i.cmd.Process.Signal(syscall.SIGSTOP))
		i.still = true
	default:
		i.kill()
	}
}

func (i *instance) kill() {
	i.live.troubles["kills"]++
	i.live.must(i.cmd.Process.Kill())
	_ = i.cmd.Wait() // it was killed
	i.cmd = nil
}

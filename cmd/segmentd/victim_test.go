package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/spf13/pflag"

	"github.com/segmentd/segmentd/config"
	"github.com/segmentd/segmentd/state"
)

// victimVariable makes the test binary segmentd run, with what the configuration
// does not allow. Its value is a victim.
const victimVariable = "VICTIM_OF_TESTS"

// victim is segmentd run that scrubs sooner than can be configured, and that ends
// (SIGKILL) when its image comes to a step for the first time.
type victim struct {
	EraseWithin, KeepUnowned time.Duration
	Step                     state.Step // "": it lives
}

// beVictim runs the service by the arguments of run.
func beVictim(text string) {
	var v victim
	err := json.Unmarshal([]byte(text), &v)
	if err == nil {
		err = v.run()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	os.Exit(status(err))
}

func (v *victim) run() error {
	fs := pflag.NewFlagSet("run", pflag.ContinueOnError)
	config.AddFlags(fs)
	if err := fs.Parse(os.Args[1:]); err != nil {
		return err
	}
	cfg, err := config.Load(config.Sources{Environ: os.Environ(), Flags: fs, Needs: config.NeedAll})
	if err != nil {
		return err
	}
	cfg.Privacy.EraseWithin, cfg.Privacy.KeepUnowned = v.EraseWithin, v.KeepUnowned
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	return serve(ctx, &invocation{streams: streams{err: os.Stderr}, reached: v.killer()}, cfg, nil)
}

func (v *victim) killer() func(state.Step) {
	var dying atomic.Bool
	return func(step state.Step) {
		if step == v.Step && dying.CompareAndSwap(false, true) {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		}
		for dying.Load() { // it goes no further meanwhile
			time.Sleep(time.Second)
		}
	}
}
